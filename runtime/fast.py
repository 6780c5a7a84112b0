"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, in cache-sized parts.

Vectors lie in columns, so that unfolding copies whole image rows and every pass runs over contiguous memory. A part
takes four passes: unfold, scale and round; multiply; add noise and round; scale. Inputs are converted once for all
chips, whose weights form one product. Converter steps are folded into the weights: in between, inputs and outputs are
integer codes. Against aihwkit's order of operations this moves last bits, hence an output that lies on a rounding edge
by one code; docs/emulation.md has the formulas, docs/performance.md what each step costs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix
from lhc.hardware import Hardware
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.fixed_range import FixedRangeConv
from lhc.runtime.kernels import accumulate, quantise
from lhc.runtime.normals import NoiseStream, normal_levels
from lhc.runtime.rowsplit import Noise, RowConverters, RowSplit
from lhc.runtime.stream import Unit
from lhc.runtime.vectors import INFINITE, Vectors
from lhc.seeds import device_entropy

__all__ = ["FastMatrix"]

PART_VECTORS = 1024
"""Vectors that are computed together: what a tile of 256 inputs takes of them is a MB, a usual second-level cache."""
PIECE_VALUES = 2**17
"""Aimed number of products that are computed before noise is added."""


class FastMatrix:
    """Products with one matrix as several chips hold it."""

    def __init__(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        device: str = "cpu",
    ) -> None:
        """Prepare a matrix.

        Args:
            chips: the matrix on every chip; split alike.
            draws: numbers of their programmings, for their noise.
            seed: of the run.
            hardware: that of the layer.
            device: torch device that multiplies; converters and noise are computed on the CPU.
        """
        first = chips[0]
        self.chips = len(chips)
        self._outputs = first.outputs
        self._io = RowConverters.of(hardware)
        reads = (first.read,) if first.read else ()
        self._streams = [NoiseStream(device_entropy(seed, first.devices, draw, "noise", *reads)) for draw in draws]
        self._splits: list[RowSplit] = []
        rows = zip(first.starts, zip(*(chip.tiles for chip in chips), strict=True), strict=True)
        for number, (start, tiles) in enumerate(rows):
            self._splits.append(RowSplit(tiles, first.groups, start, number, self._io, device))
        quantises = self._io.input_shift != 0 and self._io.fixed_range
        self._convolves = quantises and device == "cpu"
        self._convolutions: dict[ConvGeometry, FixedRangeConv] = {}

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """See `Products`."""
        vectors.check(self._splits[-1].stop)
        noise = self._noise(unit, first_group)
        stop = -(-unit.wanted.stop // PART_VECTORS) * PART_VECTORS
        codes = _SharedCodes(vectors.up_to(stop))
        calls = [_Call(split, codes, first_group, noise) for split in self._splits]
        rows = self.chips * self._outputs
        result = np.empty((vectors.groups, rows, vectors.count), np.float32)
        for piece in _pieces(vectors.count, unit.wanted, PIECE_VALUES // (PART_VECTORS * rows * vectors.groups)):
            for call in calls:
                call.add_outputs(piece, result)
        grouped = torch.from_numpy(result).view(vectors.groups, self.chips, self._outputs, vectors.count)
        return grouped.transpose(0, 1)

    def convolution(self, geometry: ConvGeometry) -> FixedRangeConv | None:
        """See `Products`."""
        if not self._convolves:
            return None
        if geometry not in self._convolutions:
            self._convolutions[geometry] = FixedRangeConv(self._splits, geometry, self._noise)
        return self._convolutions[geometry]

    def _noise(self, unit: Unit, first_group: int = 0) -> Noise:
        levels = normal_levels(self._io.noise) if self._io.noise > 0 else None
        return Noise(self._streams, levels, unit, first_group)


@dataclass(frozen=True)
class _Piece:
    """Parts of a unit that are computed one after the other.

    Attributes:
        first: number of the first part.
        parts: how many.
        width: vectors of a part.
    """

    first: int
    parts: int
    width: int

    def __getitem__(self, part: int) -> "_Piece":
        """One part alone."""
        return _Piece(self.first + part, 1, self.width)


def _pieces(count: int, wanted: range, most: int) -> Iterator[_Piece]:
    """The parts that hold wanted vectors, up to ``most`` at once; the last one of a unit may be short."""
    whole, stop = count // PART_VECTORS, -(-wanted.stop // PART_VECTORS)
    for first in range(wanted.start // PART_VECTORS, min(stop, whole), max(most, 1)):
        yield _Piece(first, min(max(most, 1), min(stop, whole) - first), PART_VECTORS)
    if stop > whole:
        yield _Piece(whole, 1, count - whole * PART_VECTORS)


@dataclass(frozen=True, eq=False)
class _Drive:
    """A unit's vectors as one row split's DACs are given them in a round of bound management.

    Attributes:
        vectors: inputs, or codes where the DAC's range is the same for all.
        factors: from inputs to codes, ``(groups, vectors)``.
        scales: of the outputs, 0 for zero vectors, ``(groups, vectors)``.
        shift, clip: round and clip, or do nothing to what are codes already.
    """

    vectors: Vectors
    factors: Floats
    scales: Floats
    shift: np.float32
    clip: np.float32


class _SharedCodes:
    """A unit's vectors as codes of DACs whose range is the same for all vectors: once for all row splits of a range."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self._codes: dict[tuple[float, ...], Vectors] = {}

    def of(self, factor: np.float32, shift: np.float32, limit: np.float32) -> Vectors:
        """Inputs times a factor, rounded and clipped (`quantise`)."""
        if factor == 1 and shift == 0 and limit == INFINITE:
            return self.vectors
        key = (float(factor), float(shift), float(limit))
        if key not in self._codes:
            codes = np.empty_like(self.vectors.data)
            quantise(self.vectors.data, factor, shift, limit, codes)
            self._codes[key] = self.vectors.with_data(codes)
        return self._codes[key]


class _Call:
    """Products of one unit with the tiles of one row split."""

    def __init__(self, split: RowSplit, codes: _SharedCodes, first_group: int, noise: Noise) -> None:
        self._split = split
        self._codes = codes
        self._vectors = vectors = codes.vectors
        self._noise = noise
        groups = slice(first_group, first_group + vectors.groups)
        self._weights, self._scales = split.weights[groups], split.scales[groups]
        self._tile_of = split.tile_of[groups]
        self._offsets = None if split.offsets is None else split.offsets[groups]
        self._drives: dict[int, _Drive] = {}

    def add_outputs(self, piece: _Piece, result: Floats) -> None:
        """Put the outputs of a piece there, ``(groups, chips · outputs, vectors)``; the first row split starts it."""
        z, beyond = self._read(piece, 0)
        for part in range(piece.parts if beyond else 0):
            z[part] = self._managed(z[part], piece[part])
        first = piece.first * PART_VECTORS
        accumulate(z, self._scales, self._drive(0).scales, first, self._split.number > 0, result)

    def _drive(self, round_: int) -> _Drive:
        if round_ not in self._drives:
            self._drives[round_] = self._driven(self._split.io.reductions[round_])
        return self._drives[round_]

    def _driven(self, reduction: float) -> _Drive:
        split, io = self._split, self._split.io
        peaks = self._vectors.peaks(split.start, split.stop)
        if io.scales_vectors:
            step = np.float32(reduction * io.input_step)
            factors = np.float32(1) / (np.where(peaks == 0, np.float32(1), peaks) * step)
            return _Drive(self._vectors, factors, peaks, io.input_shift, io.input_clip)
        factor, limit = split.input_codes(reduction)
        codes = self._codes.of(factor, io.input_shift, limit)
        driven = (peaks != 0).astype(np.float32)
        return _Drive(codes, np.ones_like(peaks), driven, np.float32(0), INFINITE)

    def _read(self, piece: _Piece, round_: int) -> tuple[Floats, int]:
        """ADC codes, ``(parts, groups, chips · outputs, vectors)``, and how many of them saturate."""
        split, drive, width = self._split, self._drive(round_), piece.width
        groups, rows, inputs = self._weights.shape
        codes, z = torch.empty(groups, inputs, width), torch.empty(piece.parts, groups, rows, width)
        unfolded = codes.numpy()
        for part in range(piece.parts):
            start = (piece.first + part) * PART_VECTORS
            factors = drive.factors[:, start : start + width]
            drive.vectors.unfold(split.start, split.stop, start, factors, unfolded, drive.shift, drive.clip)
            _multiply(self._weights, codes, z[part])
        result = z.numpy()
        if self._offsets is not None:
            result += self._offsets[..., None]
        lines = result.reshape(piece.parts * groups, rows, width)
        return result, self._noise.read(lines, split, piece.first * groups, round_)

    def _managed(self, z: Floats, piece: _Piece) -> Floats:
        """Codes after bound management, in units of the first round's.

        A vector that saturates a tile takes that tile's outputs from the first round in which none does, or the last.
        """
        clip = np.float32(self._split.io.output_clip)
        pending = self._saturated(z)
        result = np.clip(z, -clip, clip)
        for round_, reduction in enumerate(self._split.io.reductions[1:], start=1):
            if not pending.any():
                break
            again = self._read(piece, round_)[0][0]
            saturated = self._saturated(again)
            result = np.where(pending, np.clip(again, -clip, clip) * np.float32(reduction), result)
            pending &= saturated
        return result

    def _saturated(self, z: Floats) -> npt.NDArray[np.bool_]:
        """For every output whether its tile saturates under its vector, ``(groups, chips · outputs, vectors)``."""
        groups, _, vectors = z.shape
        over = (np.abs(z) > self._split.io.output_limit).reshape(groups, self._split.chips, -1, vectors)
        result = np.empty_like(over)
        for group, tiles in enumerate(self._tile_of):
            for tile in np.unique(tiles):
                columns = tiles == tile
                result[group][:, columns] = over[group][:, columns].any(axis=1, keepdims=True)
        return result.reshape(z.shape)


def _multiply(weights: Tensor, codes: Tensor, out: Tensor) -> None:
    """``(groups, rows, inputs)`` times ``(groups, inputs, vectors)``, by the weights' device."""
    if weights.is_cpu:
        if len(weights) == 1:
            torch.mm(weights[0], codes[0], out=out[0])
        else:
            torch.bmm(weights, codes, out=out)
    else:
        out.copy_(torch.bmm(weights, codes.to(weights.device)))
