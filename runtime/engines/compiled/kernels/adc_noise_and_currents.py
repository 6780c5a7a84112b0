"""Work on a tile beside its products: packed numbers, keys of noise, ADC, effects of currents.

Effects of currents are those of `lhc.runtime.tiles.circuit_effects`, fused and in codes. Numbers are as `RowConverters`
gives them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import item, loaded, number, span, stored
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    LANES,
    beyond,
    chosen,
    clipped,
    fused,
    magnitude,
    root,
    spread,
    spread_word,
)
from lhc.runtime.engines.counter_rng import Words
from lhc.runtime.engines.protocol import LEAST_PEAK

Integers = npt.NDArray[np.int64]


class PackedTiles(NamedTuple):
    """A matrix on some chips, as kernels take it.

    Attributes:
        weights: in blocks that a kernel multiplies by, one after the other: of every chip, row of tiles, group and
            segment.
        places: of the first block of every chip, row of tiles, group and segment.
        segments: first output of every group's segments, which are what a group has on one column of tiles, and the
            number of its outputs behind, ``(groups, segments + 1)``.
        counters: of every segment's noise, ``(groups, segments)``.
        inputs: first and last + 1 of every row of tiles, ``(rows of tiles, 2)``.
        most_inputs: of a row of tiles.
        most_outputs: of a segment.
        scales: from codes to outputs, ``(chips, rows of tiles, groups · outputs)``.
        offsets: of the ADCs, in output codes, likewise, as one line, with `LANES` more behind.
        keys: of noise, ``(chips, rows of tiles, 2)``.
        ranges: static ones of the inputs, ``(rows of tiles,)``; 0 where there is none.
        codes_per_unit: 1 over the DAC's step, in units of scaled inputs, by round of bound management: the nearest
            number, and the rest, ``(rounds, 2)``.
        currents: by row of tiles, see `RowConverters.in_codes`, ``(rows of tiles, 4)``; empty where none depend on
            weights.
        variances: by row of tiles, see `RowConverters.by_vector`, ``(rows of tiles, inputs + 1)``; empty where no read
            noise is constant.
    """

    weights: Floats
    places: npt.NDArray[np.int64]
    segments: Integers
    counters: Integers
    inputs: Integers
    most_inputs: int
    most_outputs: int
    scales: Floats
    offsets: Floats
    keys: Words
    ranges: Floats
    codes_per_unit: Floats
    currents: Floats
    variances: Floats

    def of_chip(self, chip: int) -> "PackedTiles":
        """Tiles of one chip, as views."""
        one = slice(chip, chip + 1)
        size = self.scales[0].size
        own = slice(chip * size, (chip + 1) * size + LANES)
        alone = self._replace(places=self.places[one], scales=self.scales[one], keys=self.keys[one])
        return alone._replace(offsets=self.offsets[own])


class ConverterCodes(NamedTuple):
    """Numbers of the converters, see `RowConverters`.

    Attributes:
        scales_vectors: every vector is divided by its greatest magnitude.
        input_shift, output_shift: what rounds, or 0.
        input_clip: greatest code of the DAC; infinite where it clips nothing.
        output_limit: greatest magnitude that does not count as saturated.
        output_clip: greatest magnitude.
        reductions: of the inputs, by round of bound management.
        deviation: `lhc.runtime.engines.counter_rng.deviate_terms` of noise, of deviation 1 where products have
            currents; empty without noise.
    """

    scales_vectors: bool
    input_shift: np.float32
    input_clip: np.float32
    output_shift: np.float32
    output_limit: np.float32
    output_clip: np.float32
    reductions: Floats
    deviation: Floats


class TileSpans(NamedTuple):
    """Packed tiles and numbers of the converters, as spans and numbers."""

    weights: Any
    weight_count: int
    places: Any
    segments: Any
    counters: Any
    inputs: Any
    scales: Any
    offsets: Any
    keys: Any
    ranges: Any
    codes_per_unit: Any
    currents: Any
    variances: Any
    vector_pitch: int
    reductions: Any
    deviation: Any
    silent: bool
    has_currents: bool
    by_vector: bool
    rounds: int
    chips: int
    rows: int
    groups: int
    cuts: int
    outputs: int
    scales_vectors: bool
    input_shift: np.float32
    input_clip: np.float32
    clips_inputs: bool
    output_shift: np.float32
    output_limit: np.float32
    output_clip: np.float32


@compiled(inner=True)
def opened(tiles: PackedTiles, io: ConverterCodes) -> TileSpans:
    """`TileSpans` of `PackedTiles` and `ConverterCodes`."""
    return TileSpans(
        span(tiles.weights),
        len(tiles.weights),
        span(tiles.places),
        span(tiles.segments),
        span(tiles.counters),
        span(tiles.inputs),
        span(tiles.scales),
        span(tiles.offsets),
        span(tiles.keys),
        span(tiles.ranges),
        span(tiles.codes_per_unit),
        span(tiles.currents),
        span(tiles.variances),
        tiles.variances.shape[1],
        span(io.reductions),
        span(io.deviation),
        len(io.deviation) == 0,
        len(tiles.currents) > 0,
        len(tiles.variances) > 0,
        len(io.reductions),
        tiles.places.shape[0],
        tiles.places.shape[1],
        tiles.places.shape[2],
        tiles.places.shape[3],
        tiles.segments[0, -1],
        io.scales_vectors,
        io.input_shift,
        io.input_clip,
        bool(io.input_clip < np.float32(np.inf)),
        io.output_shift,
        io.output_limit,
        io.output_clip,
    )


@compiled(inner=True)
def sample_keys(keys: Any, stream: int, low: Any, high: Any, round_: Any) -> tuple[Any, Any]:
    """Keys of the noise of samples in a round of bound management, from that of their chip and row of tiles.

    Args:
        keys: of all chips and rows of tiles.
        stream: number of the one.
        low: words of their numbers.
        high: upper words of them.
        round_: of bound management.
    """
    k0, k1 = spread_word(number(keys, 2 * stream)), spread_word(number(keys, 2 * stream + 1))
    k0, k1 = threefry_lanes(k0, k1, spread_word(np.uint32(round_)), high)
    return threefry_lanes(k0, k1, low, spread_word(np.uint32(0)))


@compiled(inner=True, within=True)
def unless_least(top: Any, tiles: TileSpans) -> Any:
    """Greatest magnitudes of vectors; 0 where they would divide the vector and are below `LEAST_PEAK`."""
    return chosen(spread(LEAST_PEAK), top, spread(np.float32(0)), top) if tiles.scales_vectors else top


@compiled(inner=True, within=True)
def _quotient(a: Any, b: Any, per_b: Any) -> Any:
    """Quotient: a product by 1 / b, and a step of Newton's method (Markstein, IBM J. Res. Dev. 1990).

    ``per_b`` is 1 / b, rounded; ``a`` is finite.
    """
    near = a * per_b
    minus_b = spread(np.float32(0)) - b  # which a loop has but once
    return fused(fused(near, minus_b, a), per_b, near)


@compiled(inner=True, within=True)
def input_codes(
    value: Any, scale: Any, range_: Any, has_range: bool, per_unit: Any, rest: Any, tiles: TileSpans
) -> Any:  # fmt: skip
    """DAC codes of inputs, with aihwkit's roundings: of inputs on a grid many lie on half a step.

    By a step that is known before, a product with 1 / step in two numbers divides as exactly (Brisebarre, Muller and
    Raina, IEEE Trans. Computers 2004).

    Args:
        scale: of the vectors, 1 over their greatest magnitude; that of a static range where there is one.
        range_: the static range, if there is one.
        per_unit, rest: `PackedTiles.codes_per_unit` of the round of bound management.
    """
    limit, shift = spread(tiles.input_clip), spread(tiles.input_shift)
    if has_range:
        scaled = _quotient(clipped(value, range_), range_, scale)
    else:
        scaled = value * scale
        if tiles.clips_inputs:
            scaled = clipped(scaled, (limit + spread(np.float32(1))) / per_unit)  # finite, and clipped below
    code = (fused(scaled, per_unit, scaled * rest) + shift) - shift
    return clipped(code, limit) if tiles.clips_inputs else code


@compiled(inner=True, within=True)
def rounded(z: Any, place: int, noise: Any, tiles: TileSpans) -> Any:
    """Add noise to a vector of products and round; magnitudes, which saturate beyond the limit.

    Args:
        z: takes the codes.
        place: of the products.
        noise: offsets of ADCs included.
        tiles: whose ADCs they are.
    """
    shift = spread(tiles.output_shift)
    code = (loaded(z, place) + noise + shift) - shift
    stored(z, place, code)
    return magnitude(code)


@compiled(inner=True, within=True)
def noisy(z: Any, place: int, noise: Any, tiles: TileSpans) -> int:
    """`rounded`, and how many saturate."""
    saturated: int = beyond(rounded(z, place, noise, tiles), spread(tiles.output_limit))
    return saturated


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
    """Take from a vector of products what is lost along wires, and return the deviation of their noise.

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
