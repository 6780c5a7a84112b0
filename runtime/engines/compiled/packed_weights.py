"""Packed weights of a matrix on some chips, in the order and the units of the kernels."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.engines.compiled.converter_constants import RowConverters
from lhc.runtime.engines.compiled.kernels.adc_and_noise import Integers, PackedTiles
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.noise_keys_and_counters import counters_of, segments_of

__all__ = ["packed_numbers", "parts_by_segment"]


def packed_numbers(matrices: Sequence[ProgrammedMatrix], io: RowConverters, by_rows: bool) -> PackedTiles:
    """All but what products take (weights and places, which are empty) and the keys of noise.

    Args:
        matrices: on every chip; split alike.
        by_rows: outputs lie in lanes, and a segment's noise has counters enough for any number of them.
    """
    first = matrices[0]
    rows = [(start, start + row[0].weights.shape[1]) for start, row in zip(first.starts, first.tiles, strict=True)]
    segments = segments_of(first)
    ranges = [0.0 if io.scales_vectors else tiles[0].input_range or 0.0 for tiles in first.tiles]
    scales = _per_output(matrices, lambda tile: tile.scales * (tile.gain * io.output_step).astype(np.float32))
    return PackedTiles(
        np.zeros(0, np.float32),
        np.zeros((0, 0, 0, 0), np.int64),
        segments,
        counters_of(segments, by_rows),
        np.array(rows),
        scales,
        # A vector of the last outputs may reach beyond them.
        np.append(_per_output(matrices, partial(_offset, io)), np.zeros(LANES, np.float32)),
        np.zeros((0, 0, 2), np.uint32),
        np.array(ranges, np.float32),
        np.array([reduction * io.input_step for reduction in io.reductions], np.float32),
        _currents([stop - start for start, stop in rows], io),
        _variances(first, io),
    )


def parts_by_segment(matrix: ProgrammedMatrix, segments: Integers) -> Iterator[tuple[int, int, int, Floats]]:
    """The weights of every segment that has any, ``(outputs, inputs)``, by row of tiles, group and column of tiles."""
    ends = np.cumsum([0, *(len(tile.weights) for tile in matrix.tiles[0])])
    for row, tiles in enumerate(matrix.tiles):
        for group, column in zip(*np.nonzero(np.diff(segments)), strict=True):
            first, last = segments[group, column : column + 2] + group * matrix.outputs - ends[column]
            yield row, int(group), int(column), tiles[column].weights[first:last]


def _currents(heights: Sequence[int], io: RowConverters) -> Floats:
    """See `RowConverters.in_codes`; none where products have none."""
    found = [io.in_codes(height) for height in heights] if io.currents.by_weight else []
    return np.array(found, np.float32).reshape(-1, 4)


def _variances(first: ProgrammedMatrix, io: RowConverters) -> Floats:
    """See `PackedTiles`; none where products have no constant read noise."""
    if not io.currents.constant:
        return np.zeros((0, 0), np.float32)
    inputs = [row[0].weights.shape[1] for row in first.tiles]
    found = np.zeros((len(inputs), max(inputs) + 1), np.float32)
    for line, count, row in zip(found, inputs, first.tiles, strict=True):
        driven = row[0].driven
        line[: count + 1] = io.by_vector(np.ones(count, np.float32) if driven is None else driven)
    return found


def _offset(io: RowConverters, tile: ProgrammedTile) -> Floats:
    """Offset of a tile's ADCs, in output codes."""
    return np.zeros_like(tile.scales) if tile.offset is None else tile.offset / np.float32(io.output_step)


def _per_output(matrices: Sequence[ProgrammedMatrix], of: Callable[[ProgrammedTile], Floats]) -> Floats:
    """Numbers of all outputs, ``(chips, rows of tiles, groups · outputs)``."""
    rows = [[np.concatenate([of(tile) for tile in row]) for row in matrix.tiles] for matrix in matrices]
    return np.array(rows, np.float32)
