"""What both fused kernels do with a tile beside its products: its numbers, the keys of noise, the ADC."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats
from lhc.runtime.engines.compiled.counter_rng import threefry_lanes
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import item, loaded, number, span, stored
from lhc.runtime.engines.compiled.simd import LANES, alike, beyond, chosen, greater, magnitude, spread, spread_word
from lhc.runtime.engines.counter_rng import Words

__all__ = [
    "ConverterCodes",
    "PackedTiles",
    "TileSpans",
    "found",
    "noisy",
    "opened",
    "rounded",
    "sample_keys",
]

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
        scales: from codes to outputs, ``(chips, rows of tiles, groups · outputs)``.
        offsets: of the ADCs, in output codes, likewise, as one line, with `LANES` more behind.
        keys: of noise, ``(chips, rows of tiles, 2)``.
        factors: by round of bound management from inputs to codes, or, where every vector has its own, what a code is
            worth, ``(rows of tiles, rounds)``.
        limits: greatest codes, likewise.
        slices: of codes, by row of tiles, see `RowConverters`, ``(rows of tiles, 2)``; empty where inputs are driven at
            once. Rows of tiles that are the same but for it are reads of the same tiles.
        levels: of ADCs whose steps differ: what every capacitor adds, in codes, the least significant first, by output
            as ``offsets``, ``(capacitors, ...)``; empty where all are alike.
        currents: by row of tiles, see `RowConverters.in_codes`, ``(rows of tiles, 4)``; empty where none depend on
            weights.
        shares: of constant read noise in the unit of every output, as ``offsets``; empty where all are 1.
        variances: by row of tiles, see `RowConverters.by_vector`, ``(rows of tiles, inputs + 1)``; empty where no read
            noise is constant.
    """

    weights: Floats
    places: npt.NDArray[np.int64]
    segments: Integers
    counters: Integers
    inputs: Integers
    scales: Floats
    offsets: Floats
    keys: Words
    factors: Floats
    limits: Floats
    slices: Floats
    currents: Floats
    variances: Floats
    shares: Floats
    levels: Floats

    def of_chip(self, chip: int) -> "PackedTiles":
        """Those of one chip; views."""
        one = slice(chip, chip + 1)
        size = self.scales[0].size
        own = slice(chip * size, (chip + 1) * size + LANES)
        offsets, shares, levels = self.offsets[own], self.shares[own], np.ascontiguousarray(self.levels[:, own])
        alone = self._replace(places=self.places[one], scales=self.scales[one], keys=self.keys[one])
        return alone._replace(offsets=offsets, shares=shares, levels=levels)


class ConverterCodes(NamedTuple):
    """Numbers of the converters, see `RowConverters`.

    Attributes:
        scales_vectors: every vector is divided by its greatest magnitude.
        input_shift, output_shift: what rounds, or 0.
        output_limit: greatest magnitude that does not count as saturated.
        output_clip: greatest magnitude.
        reductions: of the inputs, by round of bound management.
        deviation: `lhc.runtime.engines.counter_rng.deviate_terms` of noise, of deviation 1 where products have
            currents; empty without noise.
        cell_mismatch, output_step: see `current_kernels.widened`; 0 where cells are alike.
        signed_from, unsigned, unipolar, reads_zeros: see `RowConverters`.
    """

    scales_vectors: bool
    input_shift: np.float32
    output_shift: np.float32
    output_limit: np.float32
    output_clip: np.float32
    reductions: Floats
    deviation: Floats
    cell_mismatch: np.float32
    output_step: np.float32
    signed_from: np.float32
    unsigned: bool
    unipolar: bool
    reads_zeros: bool


class TileSpans(NamedTuple):
    """Both, as spans and numbers."""

    weights: Any
    weight_count: int
    places: Any
    segments: Any
    counters: Any
    inputs: Any
    scales: Any
    offsets: Any
    keys: Any
    factors: Any
    limits: Any
    slices: Any
    currents: Any
    variances: Any
    shares: Any
    capacitors: Any
    capacitor_count: int
    pitch: int
    vector_pitch: int
    reductions: Any
    deviation: Any
    silent: bool
    sliced: bool
    has_currents: bool
    by_vector: bool
    by_output: bool
    rounds: int
    chips: int
    rows: int
    groups: int
    cuts: int
    outputs: int
    scales_vectors: bool
    input_shift: np.float32
    output_shift: np.float32
    output_limit: np.float32
    output_clip: np.float32
    cell_mismatch: np.float32
    output_step: np.float32
    signed_from: np.float32
    unsigned: bool
    unipolar: bool
    reads_zeros: bool


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
        span(tiles.factors),
        span(tiles.limits),
        span(tiles.slices),
        span(tiles.currents),
        span(tiles.variances),
        span(tiles.shares),
        span(tiles.levels),
        tiles.levels.shape[0],
        tiles.levels.shape[1],
        tiles.variances.shape[1],
        span(io.reductions),
        span(io.deviation),
        len(io.deviation) == 0,
        len(tiles.slices) > 0,
        len(tiles.currents) > 0,
        len(tiles.variances) > 0,
        len(tiles.shares) > 0,
        len(io.reductions),
        tiles.places.shape[0],
        tiles.places.shape[1],
        tiles.places.shape[2],
        tiles.places.shape[3],
        tiles.segments[0, -1],
        io.scales_vectors,
        io.input_shift,
        io.output_shift,
        io.output_limit,
        io.output_clip,
        io.cell_mismatch,
        io.output_step,
        io.signed_from,
        io.unsigned,
        io.unipolar,
        io.reads_zeros,
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


@compiled(inner=True)
def found(tiles: TileSpans, exact: Any, output: int, outputs_in_lanes: bool) -> Any:
    """Codes of ADCs whose steps differ, see `lhc.hardware.adc_mismatch`; ``output`` is that of the first lane."""
    size = magnitude(exact) + spread(np.float32(0.5))
    reached, code = spread(np.float32(0)), spread(np.float32(0))
    for k in range(tiles.capacitor_count - 1, -1, -1):
        place = k * tiles.pitch + output
        one = loaded(tiles.capacitors, place) if outputs_in_lanes else item(tiles.capacitors, place)
        level = reached + one
        code = chosen(level, size, code, code + spread(np.float32(1 << k)))
        reached = chosen(level, size, reached, level)
    # What is no number stays.
    return chosen(size, spread(np.float32(0)), alike(code, exact), exact)


@compiled(inner=True, within=True)
def rounded(z: Any, place: int, noise: Any, tiles: TileSpans, output: int, outputs_in_lanes: bool) -> Any:
    """Add noise to a vector of products and round; magnitudes, which saturate beyond the limit.

    Args:
        z: takes the codes.
        place: of the products.
        noise: offsets of ADCs included.
        tiles: whose ADCs they are.
        output: number of the first lane's.
        outputs_in_lanes: lanes are outputs, not vectors.
    """
    exact, shift = loaded(z, place) + noise, spread(tiles.output_shift)
    value = (exact + shift) - shift
    if tiles.unipolar:
        value = greater(spread(np.float32(0)), value)  # what is no number stays
    code = value
    if tiles.capacitor_count > 0:
        code = found(tiles, exact, output, outputs_in_lanes)
        if tiles.rounds > 1:  # told as if steps were alike: what saturates stays beyond the limit until it is clipped
            code = chosen(magnitude(value), spread(tiles.output_limit), value, code)
    stored(z, place, code)
    return magnitude(value)


@compiled(inner=True, within=True)
def noisy(z: Any, place: int, noise: Any, tiles: TileSpans, output: int, outputs_in_lanes: bool) -> int:
    """`rounded`, and how many saturate."""
    saturated: int = beyond(rounded(z, place, noise, tiles, output, outputs_in_lanes), spread(tiles.output_limit))
    return saturated
