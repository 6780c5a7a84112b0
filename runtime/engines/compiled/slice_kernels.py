"""What a read of some bits of the inputs is driven with, see `RowConverters`."""

from typing import Any

import numpy as np

from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import loaded, number, stored
from lhc.runtime.engines.compiled.readout_kernels import ROUNDS
from lhc.runtime.engines.compiled.simd import LANES, alike, chosen, fused, magnitude, spread
from lhc.runtime.engines.compiled.tile_kernels import TileSpans

__all__ = ["keep_slice"]


@compiled(inner=True)
def keep_slice(tiles: TileSpans, row: int, codes: Any, place: int, count: int) -> None:
    """Of codes that lie side by side, keep the bits that a row of tiles is driven with, and the sign."""
    low, high = number(tiles.slices, 2 * row), number(tiles.slices, 2 * row + 1)
    if tiles.signed_from > 0:
        _keep_digits(codes, place, count, low, high, tiles.signed_from)
        return
    for k in range(place, place + count, LANES):
        code = loaded(codes, k)
        size = magnitude(code)
        digits = _whole(size, low) - _whole(size, high) * spread(low / high)
        stored(codes, k, alike(digits, code))


@compiled(inner=True)
def _keep_digits(codes: Any, place: int, count: int, low: Any, high: Any, signed_from: Any) -> None:
    """The same in two's complement, where bits have no sign."""
    zero, one = spread(np.float32(0)), spread(np.float32(1))
    for k in range(place, place + count, LANES):
        code = loaded(codes, k)
        negative = chosen(zero, code, one, zero)
        if low == 0:
            stored(codes, k, negative * spread(high))
            continue
        size = fused(negative, spread(signed_from), code)
        stored(codes, k, _whole(size, low) - _whole(size, high) * spread(low / high))


@compiled(inner=True)
def _whole(size: Any, share: Any) -> Any:
    """Whole numbers times a power of two, rounded down: less almost a half, none lies on a rounding edge."""
    less = (np.float32(1) - share) * np.float32(0.5)
    return (size * spread(share) - spread(less) + spread(ROUNDS)) - spread(ROUNDS)
