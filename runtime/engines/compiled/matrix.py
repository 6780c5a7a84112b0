"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, fused into one pass.

Padding, greatest magnitudes, unfolding, DAC, product, noise, ADC, bound management, scaling and layout of one block of
vectors follow each other while it lies in the first-level cache (`conv.kernel`, `depthwise`, `matmul`).
Inputs are converted once for all chips. Converter steps are folded into the weights: in between, inputs and outputs
are integer codes. Against aihwkit's order of operations this moves last bits, hence an output that lies on a rounding
edge by one code; docs/emulation.md has the formulas, docs/performance.md what each step costs.

Every value is a sum in a fixed order, and every deviate has a counter: results do not depend on what else is in a call.

Weights are packed in the order and the units of the kernels (`packed_numbers`).
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor

from lhc.errors import DataError
from lhc.hardware import Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.converters import Converters
from lhc.onnx_io.operators.matrix_product import POINTWISE, ConvGeometry
from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.engines.compiled.conv.kernel import convolve
from lhc.runtime.engines.compiled.conv.layout import image_cuts, image_memory, image_outputs
from lhc.runtime.engines.compiled.depthwise import convolve_channels, depthwise_memory, depthwise_places, takes_channels
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import ConverterCodes, Integers, PackedTiles
from lhc.runtime.engines.compiled.kernels.products import ROWS
from lhc.runtime.engines.compiled.matmul import matmul_memory, multiply_rows
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.counter_rng import by_rows, counters_of, deviate_terms, noise_streams, row_address, segments_of
from lhc.runtime.engines.protocol import Digital, Position
from lhc.runtime.operators.im2col import padded
from lhc.support.memory import give_back, large_empty

INFINITE = np.float32(np.inf)
ROUNDS = np.float32(1.5 * 2**23)
"""Added and taken away again in float32, this rounds half to even below 2^22, as the processor's rounding mode does."""


@dataclass(frozen=True)
class RowConverters:
    """`Converters` as compiled loops take them; a step is 1 where nothing is quantised.

    Attributes:
        input_step, output_step: in units of the full scale, as all steps are.
        input_clip, output_clip: greatest magnitudes in codes, infinite where nothing clips.
        output_limit: greatest magnitude in codes that does not count as saturated.
        input_shift, output_shift: what rounds codes, 0 where nothing is quantised.
        noise: standard deviation of the output noise, in output codes.
        scales_vectors: every vector is divided by its greatest magnitude.
        reductions: of the inputs, by round of bound management.
        currents: what they do to products.
    """

    input_step: float
    input_clip: np.float32
    input_shift: np.float32
    output_step: float
    output_clip: float
    output_limit: float
    output_shift: np.float32
    noise: float
    scales_vectors: bool
    reductions: tuple[float, ...]
    currents: Currents

    @classmethod
    def of(cls, hardware: Hardware) -> "RowConverters":
        io, clip = Converters.of(hardware), hardware.dac.clip
        input_step, output_step = io.dac_step or 1.0, io.adc_step or 1.0
        return cls(
            input_step=input_step,
            input_clip=INFINITE if clip is None else np.float32(clip / input_step),
            input_shift=np.float32(0) if io.dac_step is None else ROUNDS,
            output_step=output_step,
            output_clip=float(INFINITE) if io.adc_limit is None else io.adc_limit,
            output_limit=float(INFINITE) if io.adc_saturated is None else io.adc_saturated,
            output_shift=np.float32(0) if io.adc_step is None else ROUNDS,
            noise=io.noise_sigma / output_step,
            scales_vectors=io.scaling == "vector",
            reductions=io.reductions,
            currents=hardware.currents,
        )

    def codes(self) -> ConverterCodes:
        """Converter constants in the form that kernels take."""
        deviation = self.noise
        if self.currents.any:  # the kernels' factor is that of every product, or vector
            deviation = float(self.noise > 0 or self.currents.read_noise > 0)
        return ConverterCodes(
            self.scales_vectors,
            self.input_shift,
            self.input_clip,
            self.output_shift,
            np.float32(self.output_limit),
            np.float32(self.output_clip),
            np.array(self.reductions, np.float32),
            deviate_terms(deviation) if deviation > 0 else np.zeros(0, np.float32),
        )

    def in_codes(self, inputs: int) -> tuple[float, float, float, float]:
        """Numbers of `lhc.hardware.circuits.currents` for a tile with so many rows.

        p is weights times codes, in output codes. Variance of the output noise; variance by ``Σ |p| |code|``; ``a`` by
        ``Σ |p|``; factor on the drop. Where read noise is constant, the variances are those of `by_vector`.
        """
        current = inputs * self.output_step / self.currents.ir_drop_g_ratio
        if self.currents.constant:
            return 1.0, 0.0, current, self.currents.ir_drop
        read = self.currents.read_noise**2 * self.input_step / self.output_step
        return self.noise**2, read, current, self.currents.ir_drop

    def by_vector(self, driven: Floats) -> Floats:
        """Variance of the output noise, and of constant read noise by the square of each input's code, in codes.

        Args:
            driven: rows of the tile that each input drives, ``(inputs,)``.
        """
        read = (self.currents.read_noise * self.input_step / self.output_step) ** 2
        return np.append(self.noise**2, read * driven).astype(np.float32)


def packed_numbers(matrices: Sequence[ProgrammedMatrix], io: RowConverters, by_rows: bool) -> PackedTiles:
    """Packed tiles without what products take (weights and places, which are empty) and the keys of noise.

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
        max(stop - start for start, stop in rows),
        int(np.diff(segments).max()),
        scales,
        # A vector of the last outputs may reach beyond them.
        np.append(_per_output(matrices, partial(_offset, io)), np.zeros(LANES, np.float32)),
        np.zeros((0, 0, 2), np.uint32),
        np.array(ranges, np.float32),
        _codes_per_unit(io),
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


def _codes_per_unit(io: RowConverters) -> Floats:
    """See `PackedTiles`."""
    exact = 1 / np.array([reduction * io.input_step for reduction in io.reductions], np.float32).astype(np.float64)
    nearest = exact.astype(np.float32)
    return np.stack([nearest, (exact - nearest).astype(np.float32)], axis=1)


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


_LARGE = 2**24
"""Bytes of a matrix whose tiles, held in many pieces until it is laid out, are to leave nothing behind."""


_NOTHING = Digital(np.zeros(0, np.float32), False, False)


class CompiledMatrix:
    """Products with one matrix as several chips hold it."""

    completes = completes_epilogue = True

    def __init__(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
    ) -> None:
        """Prepare a matrix.

        Args:
            chips: the matrix on every chip; split alike.
            draws: numbers of their programmings, for their noise.
        """
        first = chips[0]
        self.chips = len(chips)
        self._outputs = first.outputs
        self._weights = sum(tile.weights.size for row in first.tiles for tile in row)
        self._matrices: Sequence[ProgrammedMatrix] | None = chips
        self._io = RowConverters.of(hardware)
        self._streams = noise_streams(first, seed, draws)
        self._inputs = np.array(
            [(start, start + row[0].weights.shape[1]) for start, row in zip(first.starts, first.tiles, strict=True)]
        )
        self._converters = self._io.codes()
        self._laid_out: PackedTiles | None = None
        self._lanes = 0
        self._packed: dict[int, PackedTiles] = {}
        self._whole: tuple[CompiledMatrix, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that products read."""
        return 4 * self._weights * self.chips if self._laid_out is None else self._laid_out.weights.nbytes

    def lay_out(self, convolves: bool) -> "CompiledMatrix":
        """Lay out the weights as products take them, of images or of rows, and forget what the tiles hold."""
        self._tiles(LANES if not convolves and by_rows(self._weights) else ROWS, 0)
        return self

    def alone(self, chip: int) -> "CompiledMatrix":
        """The matrix on one of the chips, without another copy of its weights."""
        one = copy(self)
        one.chips, one._whole, one._packed = 1, (self, chip), {}
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
        if takes_channels(tiles, shape[0] // groups, outputs):
            channel = depthwise_places(geometry, shape[1:])
            scratch = depthwise_memory(channel, tiles)
            convolve_channels(data, channel, tiles, self._converters, scratch, images, *stream, after, flat)
        else:
            for cut in image_cuts(geometry, shape, images):
                memory, some = image_memory(geometry, shape, cut, tiles), (cut.first, cut.size)
                convolve(data, cut.places, tiles, self._converters, memory, images, some, *stream, after, flat)
        return torch.from_numpy(result)

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `Products`; ``digital`` as there, which has no bias."""
        self._check(rows.shape[-1])
        if not by_rows(self._weights):
            samples, first = position.of(len(rows))
            points = self.convolve(
                rows.reshape(-1, rows.shape[-1], 1), POINTWISE, Position(first, samples), use, digital
            )
            return points.view(self.chips, *rows.shape[:-1], -1)
        tiles = self._tiles(LANES, use)
        samples, first = position.of(len(rows))
        vectors = prod(rows.shape[:-1])
        per_sample = vectors // samples
        result = large_empty((self.chips, *rows.shape[:-1], self._outputs))
        data = rows.contiguous().numpy().reshape(-1)
        place = (vectors, per_sample, first * per_sample)
        after = digital or _NOTHING
        multiply_rows(data, tiles, self._converters, matmul_memory(tiles), *place, after, result.reshape(-1))
        return torch.from_numpy(result)

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
            keys = [[stream.key(row_address(use, row)) for row in range(len(self._inputs))] for stream in self._streams]
            self._packed[use] = self._laid_out._replace(keys=np.array(keys, np.uint32))
        return self._packed[use]

    def _pack(self, lanes: int) -> PackedTiles:
        assert self._matrices is not None
        matrices, self._matrices = self._matrices, None
        io = self._io
        numbers = packed_numbers(matrices, io, by_rows=lanes != ROWS)
        counts = np.diff(numbers.segments)
        blocks = -(-counts // lanes) * lanes  # (groups, columns of tiles)
        heights = np.diff(self._inputs)[:, 0]
        sizes = np.broadcast_to(heights[None, :, None, None] * blocks, (self.chips, len(heights), *blocks.shape))
        places = np.concatenate([[0], np.cumsum(sizes)[:-1]]).reshape(sizes.shape)
        weights = np.zeros(int(sizes.sum()), np.float32)
        step = np.float32(io.input_step / io.output_step)
        for chip, matrix in enumerate(matrices):
            for row, group, column, part in parts_by_segment(matrix, numbers.segments):
                target = weights[places[chip, row, group, column] :][: heights[row] * blocks[group, column]]
                _put_blocks(part, step, lanes, target)
        return numbers._replace(weights=weights, places=places)


def _put_blocks(part: Floats, step: np.float32, lanes: int, target: Floats) -> None:
    """Weights ``(outputs, inputs)`` times a factor as ``(blocks, inputs, lanes)``; what a block has more stays 0."""
    blocks = target.reshape(-1, part.shape[1], lanes)
    whole = len(part) // lanes
    np.multiply(part[: whole * lanes].reshape(whole, lanes, part.shape[1]).swapaxes(1, 2), step, out=blocks[:whole])
    if whole < len(blocks):
        np.multiply(part[whole * lanes :].T, step, out=blocks[whole, :, : len(part) - whole * lanes])
