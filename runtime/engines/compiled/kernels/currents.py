"""Effects of currents on the products of a block: `lhc.runtime.tiles.circuit_effects`, fused and in codes.

Numbers are as `RowConverters` gives them.
"""

from typing import Any

import numpy as np

from lhc.runtime.engines.compiled.kernels.adc_and_noise import TileSpans
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import item, loaded, number, stored
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, fused, magnitude, root, spread

__all__ = ["vector_noise", "with_currents"]


@compiled(inner=True)
def with_currents(
    tiles: TileSpans,
    row: int,
    inputs: int,
    a: Any,
    a0: int,
    step: int,
    b: Any,
    b0: int,
    codes_in_lanes: bool,
    z: Any,
    place: int,
) -> Any:
    """Take from a vector of products what is lost along wires; the deviation of their noise.

    Args:
        tiles: what multiplies.
        row: of tiles.
        inputs: of that row of tiles.
        a: weights or codes that are the same for all lanes.
        a0: place of the first.
        step: between them.
        b: what they are multiplied by, `LANES` side by side.
        b0: place of the first.
        codes_in_lanes: ``b`` has the codes.
        z: takes the products.
        place: where they are.
    """
    lost, current, variance = spread(np.float32(0)), spread(np.float32(0)), spread(np.float32(0))
    share = np.float32(1) / np.float32(inputs)
    for k in range(inputs):
        one, lanes = item(a, a0 + k * step), loaded(b, b0 + k * LANES)
        part = one * lanes
        far = np.float32(1) - np.float32(k) * share
        lost = fused(part, spread(np.float32(1) - far * far), lost)
        current = current + magnitude(part)
        variance = fused(magnitude(part), magnitude(lanes) if codes_in_lanes else magnitude(one), variance)
    first = 4 * row
    current = current * spread(number(tiles.currents, first + 2))
    drop = (current * spread(np.float32(0.05)) - spread(np.float32(0.2))) * current + spread(np.float32(0.5))
    drop = drop * current * spread(number(tiles.currents, first + 3))
    stored(z, place, loaded(z, place) - drop * lost)
    return root(fused(variance, spread(number(tiles.currents, first + 1)), spread(number(tiles.currents, first))))


@compiled(inner=True, within=True)
def vector_noise(tiles: TileSpans, row: int, inputs: int, codes: Any, codes0: int) -> Any:
    """Deviation of the noise of vectors, which lie in lanes, where read noise is constant; ``row`` of tiles."""
    first = row * tiles.vector_pitch
    variance = spread(number(tiles.variances, first))
    for k in range(inputs):
        code = loaded(codes, codes0 + k * LANES)
        variance = fused(code * code, spread(number(tiles.variances, first + 1 + k)), variance)
    return root(variance)
