"""Mapping of a weight matrix onto tiles, as aihwkit's ``TileModuleArray`` maps it.

A matrix larger than a tile is split as aihwkit splits it: inputs over tiles whose partial sums are added, outputs
over tiles whose outputs are joined. The groups of a grouped Conv lie side by side in the columns of the same tiles.

With copies, every row split (a block of inputs that fits a tile) is stacked that many times before it is split over
tiles, so that a tile holds every weight of its block once or more, perhaps one part of the block once more than the
other. The same inputs drive all copies, and the digital scale divides the sum by their number. Slices of weights lie
on rows of tiles of their own, which the same inputs drive too; their scales shift them.

Weights are divided by the greatest magnitude of their column of the tile (or of the tile) over omega: aihwkit's
``apply_weight_scaling``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.hardware import Hardware
from lhc.hardware.devices.weight_slices import slice_factors, slice_signs, weight_slices
from lhc.hardware.tile_geometry import split_sizes
from lhc.programmed_matrix import Floats


@dataclass(frozen=True, eq=False)
class TilePlace:
    """Place of a tile in the matrix.

    Attributes:
        number: of the tile, in the order of row splits, slices of weights, rows of tiles and column splits.
        row: of tiles.
        split: number of the row split.
        part: number of the slice of the weights.
        outputs: of the matrix.
        start: first input of the row split.
        size: inputs of the row split.
        inputs: input of the row split that drives each row of the tile, ``(rows,)``.
    """

    number: int
    row: int
    split: int
    part: int
    outputs: slice
    start: int
    size: int
    inputs: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MappedTile:
    """The weights that a tile is to hold.

    Attributes:
        target: in units of the full scale, ``(outputs, rows)``, C-contiguous.
        scales: what one unit of an output is worth, ``(outputs,)``; 0 of a column that is not read.
        sign: in which the tile holds the weights of its slice.
    """

    place: TilePlace
    target: Floats
    scales: Floats
    sign: int

    @property
    def read(self) -> npt.NDArray[np.bool_]:
        """Mask of the columns that are read, ``(outputs,)``: those with any weight, or all that have a scale."""
        return np.asarray(self.scales != 0)


class MatrixMapping:
    """The tiles of one matrix, whichever chip they are on."""

    def __init__(self, weight: npt.NDArray[np.floating], hardware: Hardware, copies: int) -> None:
        """Split a matrix ``(groups · outputs, inputs)``; ``copies`` of every weight, each on devices of its own."""
        self._hardware, self._copies = hardware, copies
        self._signs = slice_signs(hardware)
        parts = zip(weight_slices(weight, hardware), self._signs, strict=True)
        self.slices = [part if sign > 0 else -part for part, sign in parts]

    def __iter__(self) -> Iterator[MappedTile]:
        return map(self._mapped, self._places())

    def _places(self) -> Iterator[TilePlace]:
        rows, cols = self._hardware.tiles.rows, self._hardware.tiles.cols
        outputs, inputs = self.slices[0].shape
        number = row = start = 0
        for split, size in enumerate(split_sizes(inputs, rows)):
            for part in range(len(self.slices)):
                first = 0
                for height in split_sizes(self._copies * size, rows):
                    driven = np.arange(first, first + height) % size
                    top = 0
                    for width in split_sizes(outputs, cols):
                        yield TilePlace(number, row, split, part, slice(top, top + width), start, size, driven)
                        top, number = top + width, number + 1
                    first, row = first + height, row + 1
            start += size

    def _mapped(self, place: TilePlace) -> MappedTile:
        weights = self.slices[place.part][place.outputs, place.start : place.start + place.size]
        block = np.ascontiguousarray(np.asarray(weights, np.float32)[:, place.inputs])
        sign, mapping = self._signs[place.part], self._hardware.mapping
        greatest = np.abs(block).max(axis=1, initial=0.0)
        live = greatest > 0
        if not mapping.columnwise:
            greatest = np.full_like(greatest, greatest.max(initial=0.0))
        if not self._hardware.adc.zero_skipping:
            greatest = greatest if live.any() else np.full_like(greatest, self._full_scale_without_bits(place))
            live = greatest > 0
        scales = np.where(live, mapping.scales(greatest), 1).astype(np.float32)
        np.divide(block, scales[:, None], out=block)
        return MappedTile(place, block, scales * live, sign)

    def _full_scale_without_bits(self, place: TilePlace) -> float:
        """The full scale that a slice without a bit on a tile would have with bits."""
        rows = slice(place.start, place.start + place.inputs.max() + 1)
        whole = sum(sign * part[place.outputs, rows] for part, sign in zip(self.slices, self._signs, strict=True))
        return float(slice_factors(self._hardware)[place.part] * np.abs(whole).max(initial=0.0))


def summed_copies(rows: Floats, place: TilePlace) -> Floats:
    """Copies in a tile, one below the other, as the sum that its columns form: ``(outputs, inputs of the split)``."""
    size, first = place.size, int(place.inputs[0])
    if first == 0 and rows.shape[1] == size:
        return rows
    total = np.zeros((len(rows), size), np.float32)
    start = 0
    while start < rows.shape[1]:
        part = rows[:, start : start + size - first]
        total[:, first : first + part.shape[1]] += part
        start, first = start + part.shape[1], 0
    return total
