"""A programmed matrix as a compiled model multiplies by it: row splits, each with arrays in the order it is driven in.

A row split is the tiles that share their inputs. They form one product, since what a column gives does not depend on
the tile it lies on; where bound management may act, it is told which columns are read again together.

The inputs of a Conv's matrix run over channels, then over the taps of the kernel. A split can begin and end inside a
channel: its *pieces* are the channels it has all taps of, and the taps it has of the one before and the one after.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile

_BLOCK = 16
"""Channels that onnxruntime's fast kernels of Conv take at a time with AVX-512 (8 with AVX2); a rest is filled up."""
_NEARLY_WHOLE = 13
"""Rests from here on may as well be filled up; smaller ones are faster as a Conv of their own."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Tile of a compiled model: columns that are read together.

    Attributes:
        weights: ``(groups, outputs of a group, inputs)``, in units of the full scale.
        scales: digital factor of each output, gain of drift compensation included, 0 for columns without weights,
            ``(groups, outputs of a group)``.
        numbers: which tile an output lies on, ``(groups, outputs of a group)``.
        shares: of constant read noise in the unit of every output, likewise; None where all are 1.
        levels: of ADCs whose steps differ, see `ProgrammedTile`, ``(bits - 1, groups, outputs of a group)``; else None.
        offsets: of ADCs, in units of the full scale, ``(groups, outputs of a group)``; None where there are none.
        bases: what is subtracted digitally, of the sum of the inputs, likewise.
    """

    weights: Floats
    scales: Floats
    numbers: np.ndarray
    shares: Floats | None = None
    levels: Floats | None = None
    offsets: Floats | None = None
    bases: Floats | None = None

    @property
    def straddles(self) -> bool:
        """Whether the outputs of a group lie on more than one tile."""
        return bool((self.numbers != self.numbers[:, :1]).any())

    @property
    def memberships(self) -> Floats:
        """Tile of every output, one-hot: ``(groups, outputs of a group, tiles)``."""
        return np.asarray(self.numbers[:, :, None] == np.arange(self.numbers.max() + 1), np.float32)


@dataclass(frozen=True, eq=False)
class LoweredRowSplit:
    """The tiles that share their inputs.

    Attributes:
        start, stop: their rows of the matrix.
        input_range: static range, or None.
        tile: all of them side by side, in the order of the columns.
        driven: rows that each input drives, ``(inputs,)``.
    """

    start: int
    stop: int
    input_range: float | None
    tile: Tile
    driven: Floats

    @property
    def near(self) -> Floats:
        """Share of the loss along wires that reaches each input (`lhc.hardware.circuits.currents`), ``(inputs,)``."""
        return np.asarray(1 - np.square(1 - np.arange(len(self.driven)) / len(self.driven)), np.float32)


def row_splits(matrix: ProgrammedMatrix) -> tuple[LoweredRowSplit, ...]:
    """The row splits of a matrix."""
    result = []
    for start, row in zip(matrix.starts, matrix.tiles, strict=True):
        inputs = row[0].weights.shape[1]
        driven = np.ones(inputs, np.float32) if row[0].driven is None else row[0].driven
        result.append(LoweredRowSplit(start, start + inputs, row[0].input_range, _joined(row, matrix.groups), driven))
    return tuple(result)


def _joined(tiles: Sequence[ProgrammedTile], groups: int) -> Tile:
    weights = np.concatenate([tile.weights for tile in tiles])
    scales = np.concatenate([tile.scales * tile.gain.astype(np.float32) for tile in tiles])
    numbers = np.concatenate([np.full(len(tile.weights), number) for number, tile in enumerate(tiles)])
    units = [tile.unit for tile in tiles if tile.unit is not None]
    offsets = [tile.offset for tile in tiles if tile.offset is not None]
    bases = [np.float32(tile.base) * tile.scales for tile in tiles if tile.base]
    levels = [tile.levels for tile in tiles if tile.levels is not None]
    return Tile(
        weights.reshape(groups, -1, weights.shape[1]),
        scales.reshape(groups, -1).astype(np.float32),
        numbers.reshape(groups, -1),
        (1 / np.concatenate(units)).reshape(groups, -1).astype(np.float32) if units else None,
        np.concatenate(levels, axis=1).reshape(len(levels[0]), groups, -1) if levels else None,
        np.concatenate(offsets).reshape(groups, -1) if offsets else None,
        np.concatenate(bases).reshape(groups, -1) if bases else None,
    )


@dataclass(frozen=True)
class Piece:
    """Some taps of some channels (of every group).

    Attributes:
        channels: first and last + 1.
        taps: first and last + 1, of the flattened kernel.
    """

    channels: tuple[int, int]
    taps: tuple[int, int]


def pieces(start: int, stop: int, taps: int) -> tuple[Piece, ...]:
    """Pieces of a Conv's input in a row split, rows ``start`` to ``stop``; ``taps`` is the kernel's size."""
    first, last = start // taps, (stop - 1) // taps
    if first == last and (start % taps or stop % taps):
        return (Piece((first, first + 1), (start % taps, (stop - 1) % taps + 1)),)
    whole = (-(-start // taps), stop // taps)
    found = [Piece((first, first + 1), (start % taps, taps))] if start % taps else []
    found += [Piece(whole, (0, taps))] if whole[0] < whole[1] else []
    found += [Piece((last, last + 1), (0, stop % taps))] if stop % taps else []
    return tuple(found)


def row_order(held: Sequence[Piece], start: int, taps: int) -> np.ndarray:
    """Rows of a split in the order in which unfolding gives them: piece by piece, taps first, then channels."""
    rows = [np.arange(*piece.channels)[None, :] * taps + np.arange(*piece.taps)[:, None] - start for piece in held]
    return np.concatenate([part.ravel() for part in rows])


def touched_channels(held: Sequence[Piece], channels: int) -> tuple[int, int]:
    """First and last + 1 of the channels that an ordinary Conv for a row split reads.

    A few more than it holds where that nearly fills onnxruntime's blocks.
    """
    first, last = held[0].channels[0], held[-1].channels[1]
    rest = (last - first) % _BLOCK
    wanted = last - first + (_BLOCK - rest if rest >= _NEARLY_WHOLE else 0)
    if wanted > channels:
        return first, last
    last = min(first + wanted, channels)
    return last - wanted, last


def channel_runs(channels: int) -> tuple[int, ...]:
    """Numbers of channels that a Conv for a row split is best computed in: whole blocks, then the rest."""
    whole = channels // _BLOCK * _BLOCK
    return (channels,) if whole in (0, channels) else (whole, channels - whole)


def image_weights(weights: Floats, split: LoweredRowSplit, kernel: tuple[int, ...], channels: int) -> Floats:
    """Weights of a split as those of an ordinary Conv; 0 for taps that it does not hold.

    Args:
        weights: ``(groups, outputs, inputs)``.
        kernel: spatial shape.
        channels: of a group.

    Returns:
        ``(groups · outputs, touched channels, *kernel)``.
    """
    taps = math.prod(kernel)
    groups, outputs, inputs = weights.shape
    first, last = touched_channels(pieces(split.start, split.stop, taps), channels)
    before = split.start - first * taps
    padded = np.zeros((groups, outputs, (last - first) * taps), np.float32)
    padded[:, :, before : before + inputs] = weights
    return padded.reshape(groups * outputs, last - first, *kernel)


def image_taps(split: LoweredRowSplit, kernel: tuple[int, ...], channels: int, grouped: bool) -> Floats:
    """1 for the taps that a split holds: ``(1, pieces, *kernel)``, or ``(1, touched channels, *kernel)`` of a group."""
    if grouped:
        return image_weights(np.ones((1, 1, split.stop - split.start), np.float32), split, kernel, channels)
    held = pieces(split.start, split.stop, math.prod(kernel))
    found = np.zeros((1, len(held), math.prod(kernel)), np.float32)
    for index, piece in enumerate(held):
        found[0, index, slice(*piece.taps)] = 1.0
    return found.reshape(1, len(held), *kernel)
