"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, fused into one pass.

Padding, greatest magnitudes, unfolding, DAC, product, noise, ADC, bound management, scaling and layout of one block of
vectors follow each other while it lies in the first-level cache (`lhc.runtime.image_kernel`,
`lhc.runtime.depthwise_kernel`, `lhc.runtime.row_kernel`).
Inputs are converted once for all chips. Converter steps are folded into the weights: in between, inputs and outputs
are integer codes. Against aihwkit's order of operations this moves last bits, hence an output that lies on a rounding
edge by one code; docs/emulation.md has the formulas, docs/performance.md what each step costs.

Every value is a sum in a fixed order, and every deviate has a counter: results do not depend on what else is in a call.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.errors import DataError
from lhc.hardware import Adc, Hardware
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.depthwise_kernel import convolve_channels, takes_channels
from lhc.runtime.depthwise_places import depthwise_memory, depthwise_places
from lhc.runtime.image_kernel import convolve
from lhc.runtime.image_places import image_cuts, image_memory, image_outputs
from lhc.runtime.lanes import LANES
from lhc.runtime.normals import NoiseStream
from lhc.runtime.output_kernels import Digital
from lhc.runtime.paired_weights import check_pairs, put_pairs, steps_of
from lhc.runtime.product_kernels import ROWS
from lhc.runtime.row_kernel import multiply_rows
from lhc.runtime.row_memory import row_memory
from lhc.runtime.rowsplit import RowConverters
from lhc.runtime.stream import Position
from lhc.runtime.tile_kernels import PackedTiles
from lhc.runtime.unfold import padded
from lhc.seeds import device_entropy
from lhc.support.held_bytes import give_back
from lhc.support.large_arrays import large_empty

__all__ = ["FastMatrix"]

_COUNTERS = 2**16
"""Of noise for a segment of a matrix that is multiplied by rows."""
LEAST_BY_ROWS = 2**16
"""Weights of a matrix for which the kernel of rows is worth compiling: convolutions often end in a small one."""
_LARGE = 2**24
"""Bytes of a matrix whose tiles, held in many pieces until it is laid out, are to leave nothing behind."""
_POINT = ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", 1)


_NOTHING = Digital(np.zeros(0, np.float32), False, False)


class FastMatrix:
    """Products with one matrix as several chips hold it."""

    def __init__(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        pairs: bool = False,
    ) -> None:
        """Prepare a matrix.

        Args:
            chips: the matrix on every chip; split alike.
            draws: numbers of their programmings, for their noise.
            pairs: multiply 16-bit integers (`lhc.runtime.paired_weights`), but for depthwise convolutions.

        Raises:
            UsageError: they cannot stand for what the hardware's DAC gives, or for what its products depend on.
        """
        first = chips[0]
        self._pairs = pairs and not (first.groups > 1 and first.outputs == 1)
        self.chips = len(chips)
        self._outputs = first.outputs
        self._weights = sum(tile.weights.size for row in first.tiles for tile in row)
        self._matrices: Sequence[ProgrammedMatrix] | None = chips
        self._io = RowConverters.of(hardware)
        reads = (first.read,) if first.read else ()
        self._streams = [NoiseStream(device_entropy(seed, first.devices, draw, "noise", *reads)) for draw in draws]
        self._inputs = np.array(
            [(start, start + row[0].weights.shape[1]) for start, row in zip(first.starts, first.tiles, strict=True)]
        )
        self._converters = self._io.codes()
        self._reads = len(self._io.reads)
        if self._pairs:
            check_pairs(hardware)
        self._laid_out: PackedTiles | None = None
        self._lanes = 0
        self._packed: dict[int, PackedTiles] = {}
        self._whole: tuple[FastMatrix, int] | None = None
        self._subtracted = _DigitalOffset.of(chips, hardware) if hardware.offset else None

    @property
    def nbytes(self) -> int:
        """Of the weights that products take."""
        return 4 * self._weights * self.chips if self._laid_out is None else self._laid_out.operands.nbytes

    @property
    def stores_outputs(self) -> bool:
        """Whether kernels store what products are, of which nothing is subtracted behind them."""
        return self._subtracted is None

    def lay_out(self, convolves: bool) -> "FastMatrix":
        """Lay out the weights as products take them, of images or of rows, and forget what the tiles hold."""
        self._tiles(ROWS if convolves or self._weights < LEAST_BY_ROWS else LANES, 0)
        return self

    def alone(self, chip: int) -> "FastMatrix":
        """The matrix on one of the chips, without another copy of its weights."""
        one = copy(self)
        one.chips, one._whole, one._packed = 1, (self, chip), {}
        if self._subtracted is not None:
            one._subtracted = replace(self._subtracted, worth=self._subtracted.worth[chip : chip + 1])
        return one

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `Products`; ``digital`` is done while outputs are at hand."""
        tiles = self._tiles(ROWS, use)
        images, groups, outputs = len(x), geometry.groups, self._outputs
        out, crops = image_outputs(geometry, tuple(x.shape[2:]))
        if crops:
            x, geometry = padded(x, geometry), geometry.without_padding()
        samples, first = position.of(images)
        result = large_empty((self.chips, images, groups * outputs, *out))
        flat, data, per_sample = result.reshape(-1), x.contiguous().numpy().reshape(-1), images // samples
        shape, stream, after = tuple(x.shape[1:]), (first * per_sample, per_sample), digital or _NOTHING
        self._check(shape[0] // groups * prod(geometry.kernel))
        if takes_channels(tiles, self._converters, shape[0] // groups, outputs):
            channel = depthwise_places(geometry, shape[1:])
            scratch = depthwise_memory(channel, tiles)
            convolve_channels(data, channel, tiles, self._converters, scratch, images, *stream, after, flat)
        else:
            for cut in image_cuts(geometry, shape, images):
                memory, some = image_memory(geometry, shape, cut, tiles), (cut.first, cut.size)
                convolve(data, cut.places, tiles, self._converters, memory, images, some, *stream, after, flat)
        found = torch.from_numpy(result)
        if self._subtracted is not None:
            sums = self._subtracted.sums.convolve(x, geometry, position, use)[0]
            self._subtracted.subtract(
                found.view(self.chips, images, -1, prod(out)), sums.view(images, -1, prod(out)), after
            )
        return found

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `Products`; ``digital`` as there, which has no bias."""
        self._check(rows.shape[-1])
        if self._weights < LEAST_BY_ROWS:
            samples, first = position.of(len(rows))
            points = self.convolve(rows.reshape(-1, rows.shape[-1], 1), _POINT, Position(first, samples), use, digital)
            return points.view(self.chips, *rows.shape[:-1], -1)
        tiles = self._tiles(LANES, use)
        samples, first = position.of(len(rows))
        vectors = prod(rows.shape[:-1])
        per_sample = vectors // samples
        result = large_empty((self.chips, *rows.shape[:-1], self._outputs))
        data = rows.contiguous().numpy().reshape(-1)
        place = (vectors, per_sample, first * per_sample)
        after = digital or _NOTHING
        multiply_rows(data, tiles, self._converters, row_memory(tiles), *place, after, result.reshape(-1))
        found = torch.from_numpy(result)
        if self._subtracted is not None:
            sums = self._subtracted.sums.multiply(rows, position, use)[0]
            self._subtracted.subtract(found.view(self.chips, vectors, -1, 1), sums.reshape(vectors, -1, 1), after)
        return found

    def _check(self, inputs: int) -> None:
        """Compiled loops do not look."""
        if inputs != self._inputs[-1, 1]:
            raise DataError(f"vectors of {inputs} inputs do not fit a matrix that takes {self._inputs[-1, 1]}")

    def _tiles(self, lanes: int, use: int) -> PackedTiles:
        """The tiles, packed for blocks of so many outputs; by which node reads them, for noise of its own."""
        if self._whole is not None:
            whole, chip = self._whole
            if use not in self._packed:
                self._packed[use] = whole._tiles(lanes, use).of_chip(chip)
            return self._packed[use]
        if use not in self._packed:
            if self._laid_out is None:
                self._lanes, self._laid_out = lanes, self._pack(lanes)
                if self.nbytes >= _LARGE:
                    give_back()
            assert self._lanes == lanes  # no operator is both a convolution and a product of matrices
            # Bits: 12 for the use, 12 row of tiles.
            keys = [
                [stream.key((use << 12) + row) for row in range(self._reads * len(self._inputs))]
                for stream in self._streams
            ]
            self._packed[use] = self._laid_out._replace(keys=np.array(keys, np.uint32))
        return self._packed[use]

    def _pack(self, lanes: int) -> PackedTiles:
        assert self._matrices is not None
        matrices, self._matrices = self._matrices, None
        first = matrices[0]
        ends = np.cumsum([0, *(len(tile.weights) for tile in first.tiles[0])])
        segments = np.array(
            [np.clip(ends, group * first.outputs, (group + 1) * first.outputs) for group in range(first.groups)]
        )
        segments -= np.arange(first.groups)[:, None] * first.outputs
        counts = np.diff(segments)
        used = -(-counts // 4) if lanes == ROWS else np.full_like(counts, _COUNTERS)
        blocks = -(-counts // lanes) * lanes  # (groups, columns of tiles)
        heights = np.diff(self._inputs)[:, 0]
        lines = (heights + 1) // 2 if self._pairs else heights
        sizes = np.broadcast_to(lines[None, :, None, None] * blocks, (self.chips, len(heights), *blocks.shape))
        places = np.concatenate([[0], np.cumsum(sizes)[:-1]]).reshape(sizes.shape)
        operands: npt.NDArray[Any] = np.zeros(int(sizes.sum()), np.uint32 if self._pairs else np.float32)
        step, units = np.float32(self._io.drive_step / self._io.output_step), np.ones(self.chips, np.float32)
        for chip, matrix in enumerate(matrices):
            steps = steps_of([tile for row in matrix.tiles for tile in row]) if self._pairs else 1.0
            units[chip] = step / np.float32(steps)
            for row, tiles in enumerate(matrix.tiles):
                for group, column in zip(*np.nonzero(counts), strict=True):
                    low = segments[group, column] + group * first.outputs - ends[column]
                    part = tiles[column].weights[low : low + counts[group, column]]
                    target = operands[places[chip, row, group, column] :][: lines[row] * blocks[group, column]]
                    if self._pairs:
                        put_pairs(part, steps, lanes, target)
                    else:
                        _put_blocks(part, step, lanes, target)
        limits = [[self._io.input_codes(r, tiles[0].input_range) for r in self._io.reductions] for tiles in first.tiles]
        pairs = np.array(limits, np.float32)
        scales = self._per_output(
            matrices, lambda tile: tile.scales * (tile.gain * self._io.output_step).astype(np.float32)
        )
        counts = np.tile(np.array(self._io.reads, np.float32), len(heights))
        return PackedTiles(
            np.zeros(0, np.float32) if self._pairs else operands,
            operands,
            units,
            self._by_read(places, 1),
            segments,
            (np.cumsum(used) - used.reshape(-1)).reshape(used.shape),
            self._by_read(self._inputs),
            self._by_read(scales, 1) * counts[:, None],
            # A vector of the last outputs may reach beyond them.
            np.append(self._by_read(self._per_output(matrices, self._offset), 1), np.zeros(LANES, np.float32)),
            np.zeros((0, 0, 2), np.uint32),
            self._by_read(pairs[..., 0]),
            self._by_read(pairs[..., 1]),
            np.tile(np.array(self._io.slices, np.float32).reshape(-1, 2), (len(heights), 1)),
            self._by_read(self._currents(heights)),
            self._variances(first),
            self._shares(matrices),
            self._levels(matrices),
        )

    def _currents(self, heights: npt.NDArray[np.int64]) -> Floats:
        """See `RowConverters.in_codes`; none where products have none."""
        found = [self._io.in_codes(int(height)) for height in heights] if self._io.currents.by_weight else []
        return np.array(found, np.float32).reshape(-1, 4)

    def _variances(self, first: ProgrammedMatrix) -> Floats:
        """See `PackedTiles`; none where products have no constant read noise."""
        if not self._io.currents.constant:
            return np.zeros((0, 0), np.float32)
        inputs = [row[0].weights.shape[1] for row in first.tiles]
        found = np.zeros((len(inputs), max(inputs) + 1), np.float32)
        for line, count, row in zip(found, inputs, first.tiles, strict=True):
            driven = row[0].driven
            line[: count + 1] = self._io.by_vector(np.ones(count, np.float32) if driven is None else driven)
        return self._by_read(found)

    def _shares(self, matrices: Sequence[ProgrammedMatrix]) -> Floats:
        """Of constant read noise in the unit of every output, as `PackedTiles` has them."""
        if not self._io.currents.constant or matrices[0].tiles[0][0].unit is None:
            return np.zeros(0, np.float32)
        found = self._per_output(matrices, lambda tile: np.asarray(1 / np.asarray(tile.unit), np.float32))
        return np.asarray(np.append(self._by_read(found, 1), np.zeros(LANES)), np.float32)

    def _levels(self, matrices: Sequence[ProgrammedMatrix]) -> Floats:
        """Of ADCs whose steps differ, as `PackedTiles` has them."""
        first = matrices[0].tiles[0][0].levels
        if first is None:
            return np.zeros((0, 0), np.float32)
        found = [self._per_output(matrices, partial(_level, k)) for k in range(len(first))]
        lines = [self._by_read(one, 1).reshape(-1) for one in found]
        return np.pad(np.array(lines, np.float32), ((0, 0), (0, LANES)))

    def _by_read(self, values: npt.NDArray[Any], axis: int = 0) -> npt.NDArray[Any]:
        """Numbers of rows of tiles; every read of one, with another slice of the inputs, is a row by itself."""
        return np.repeat(values, self._reads, axis)

    def _per_output(self, matrices: Sequence[ProgrammedMatrix], of: Callable[[ProgrammedTile], Floats]) -> Floats:
        """Numbers of all outputs, ``(chips, rows of tiles, groups · outputs)``."""
        rows = [[np.concatenate([of(tile) for tile in row]) for row in matrix.tiles] for matrix in matrices]
        return np.array(rows, np.float32)

    def _offset(self, tile: ProgrammedTile) -> Floats:
        """Of a tile's ADCs, in output codes."""
        return np.zeros_like(tile.scales) if tile.offset is None else tile.offset / np.float32(self._io.output_step)


@dataclass(frozen=True, eq=False)
class _DigitalOffset:
    """What is subtracted from products whose devices hold an offset: it times the sum of the inputs behind the DAC.

    Attributes:
        sums: of the inputs of every row of tiles, as products without noise and ADC.
        worth: of a sum in every output, ``(chips, groups, outputs, rows of tiles)``.
    """

    sums: FastMatrix
    worth: Tensor

    @classmethod
    def of(cls, chips: Sequence[ProgrammedMatrix], hardware: Hardware) -> "_DigitalOffset":
        """Of a matrix on some chips."""
        first, rows = chips[0], len(chips[0].tiles)
        tiles = []
        for number, (tile, *_) in enumerate(first.tiles):
            one = np.zeros((first.groups, rows, tile.weights.shape[1]), np.float32)
            one[:, number] = 1
            flat, count = one.reshape(first.groups * rows, -1), first.groups * rows
            tiles.append((ProgrammedTile(flat, np.ones(count, np.float32), np.ones(count), tile.input_range),))
        exact = Adc(bits=None, bound=None, noise=0.0, bound_management="none")
        machine = hardware.model_copy(update={"adc": exact, "devices": None, "dac": hardware.dac.driven_at_once})
        matrix = ProgrammedMatrix(tuple(tiles), first.starts, first.groups, first.devices)
        worth = [[np.concatenate([tile.base * tile.scales for tile in row]) for row in chip.tiles] for chip in chips]
        shaped = np.array(worth, np.float32).reshape(len(chips), rows, first.groups, -1).transpose(0, 2, 3, 1)
        return cls(FastMatrix([matrix], [0], 0, machine), torch.from_numpy(shaped.copy()))

    def subtract(self, found: Tensor, sums: Tensor, digital: Digital) -> None:
        """Take it from outputs, ``(chips, items, groups · outputs, positions)``, corrected by ``digital`` already.

        Args:
            sums: ``(items, groups · rows of tiles, positions)``.
        """
        chips, groups, outputs, rows = self.worth.shape
        worth = self.worth
        if digital.corrects:
            gains = torch.from_numpy(digital.numbers).view(chips, 3, groups, outputs)[:, 0]
            worth = worth * gains[..., None]
        total = torch.einsum("cgor,igrp->cigop", worth, sums.view(len(sums), groups, rows, -1))
        found -= total.reshape(found.shape)


def _level(k: int, tile: ProgrammedTile) -> Floats:
    assert tile.levels is not None
    return np.asarray(tile.levels[k])


def _put_blocks(part: Floats, step: np.float32, lanes: int, target: Floats) -> None:
    """Weights ``(outputs, inputs)`` times a factor as ``(blocks, inputs, lanes)``; what a block has more stays 0."""
    blocks = target.reshape(-1, part.shape[1], lanes)
    whole = len(part) // lanes
    np.multiply(part[: whole * lanes].reshape(whole, lanes, part.shape[1]).swapaxes(1, 2), step, out=blocks[:whole])
    if whole < len(blocks):
        np.multiply(part[whole * lanes :].T, step, out=blocks[whole, :, : len(part) - whole * lanes])
