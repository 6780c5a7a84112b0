"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, in cache-sized parts.

Vectors lie in columns, so that unfolding copies whole image rows and every pass runs over contiguous memory. A part
takes four passes: unfold, scale and round; multiply; add noise and round; scale. Inputs are converted once for all
chips, whose weights form one product. Converter steps are folded into the weights: in between, inputs and outputs are
integer codes. Against aihwkit's order of operations this moves last bits, hence an output that lies on a rounding edge
by one code; docs/emulation.md has the formulas, docs/performance.md what each step costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix
from lhc.hardware import Hardware
from lhc.runtime.fixed_range import FixedRangeConv
from lhc.runtime.kernels import accumulate, quantise
from lhc.runtime.normals import NoiseStream, normal_levels
from lhc.runtime.rowsplit import Converters, Noise, RowSplit
from lhc.runtime.stream import Unit
from lhc.runtime.unfold import ConvGeometry
from lhc.runtime.vectors import INFINITE, Vectors
from lhc.seeds import device_entropy

__all__ = ["FastMatrix"]

PART_VECTORS = 1024
"""Vectors that are computed together: what a tile of 256 inputs takes of them is a MB, a usual second-level cache."""


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
        self._io = Converters.of(hardware)
        self._streams = [NoiseStream(device_entropy(seed, first.tile_set, draw, "noise")) for draw in draws]
        self._splits: list[RowSplit] = []
        for number, tiles in enumerate(zip(*(chip.tiles for chip in chips), strict=True)):
            start = self._splits[-1].stop if self._splits else 0
            self._splits.append(RowSplit(tiles, first.groups, start, number, self._io, device))
        quantises = self._io.input_shift != 0 and self._io.fixed_range
        self._convolves = quantises and device == "cpu"
        self._convolutions: dict[ConvGeometry, FixedRangeConv] = {}

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """See `Products`."""
        noise = self._noise(unit, first_group)
        calls = [_Call(split, vectors, first_group, noise) for split in self._splits]
        result = np.empty((vectors.groups, self.chips * self._outputs, vectors.count), np.float32)
        for part in range(-(-vectors.count // PART_VECTORS)):
            where = _columns(part, vectors.count)
            if where.stop > unit.wanted.start and where.start < unit.wanted.stop:
                for call in calls:
                    call.add_outputs(part, where, result)
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


def _columns(part: int, count: int) -> slice:
    """The vectors of a part."""
    return slice(part * PART_VECTORS, min((part + 1) * PART_VECTORS, count))


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


class _Call:
    """Products of one unit with the tiles of one row split."""

    def __init__(self, split: RowSplit, vectors: Vectors, first_group: int, noise: Noise) -> None:
        self._split = split
        self._vectors = vectors
        self._noise = noise
        groups = slice(first_group, first_group + vectors.groups)
        self._weights, self._scales = split.weights[groups], split.scales[groups]
        self._tile_of = split.tile_of[groups]
        self._drives: dict[int, _Drive] = {}

    def add_outputs(self, part: int, where: slice, result: Floats) -> None:
        """Put the outputs of a part there, ``(groups, chips · outputs, vectors)``; the first row split starts it."""
        z, beyond = self._read(part, where, 0)
        if beyond:
            z = self._managed(z, part, where)
        accumulate(z, self._scales, self._drive(0).scales, where.start, self._split.number > 0, result)

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
        codes = np.empty_like(self._vectors.data)
        quantise(self._vectors.data, factor, io.input_shift, limit, codes)
        driven = (peaks != 0).astype(np.float32)
        return _Drive(self._vectors.with_data(codes), np.ones_like(peaks), driven, np.float32(0), INFINITE)

    def _read(self, part: int, where: slice, round_: int) -> tuple[Floats, int]:
        """ADC codes, ``(groups, chips · outputs, vectors)``, and how many of them saturate."""
        split, drive = self._split, self._drive(round_)
        groups, _, inputs = self._weights.shape
        codes = torch.empty(groups, inputs, where.stop - where.start)
        place = (split.start, split.stop, where.start)
        drive.vectors.unfold(*place, drive.factors[:, where], codes.numpy(), drive.shift, drive.clip)
        z = _multiplied(self._weights, codes).numpy()
        return z, self._noise.read(z, split, part=part, round_=round_)

    def _managed(self, z: Floats, part: int, where: slice) -> Floats:
        """Codes after bound management, in units of the first round's.

        A vector that saturates a tile takes that tile's outputs from the first round in which none does, or the last.
        """
        clip = np.float32(self._split.io.output_clip)
        pending = self._saturated(z)
        result = np.clip(z, -clip, clip)
        for round_, reduction in enumerate(self._split.io.reductions[1:], start=1):
            if not pending.any():
                break
            again, _ = self._read(part, where, round_)
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


def _multiplied(weights: Tensor, codes: Tensor) -> Tensor:
    """``(groups, rows, inputs)`` times ``(groups, inputs, vectors)``, by the weights' device."""
    if weights.device.type != "cpu":
        return torch.bmm(weights, codes.to(weights.device)).cpu()
    return torch.mm(weights[0], codes[0])[None] if weights.shape[0] == 1 else torch.bmm(weights, codes)
