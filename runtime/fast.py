"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, in cache-sized parts.

Vectors lie in columns, so that unfolding copies whole image rows and every pass runs over contiguous memory. A part
takes four passes: unfold, scale and round; multiply; add noise and round; scale. Inputs are converted once for all
chips, whose weights form one product. Converter steps are folded into the weights: in between, inputs and outputs are
integer codes. Against aihwkit's order of operations this moves last bits, hence an output that lies on a rounding edge
by one code; docs/emulation.md has the formulas, docs/performance.md what each step costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.hardware import Hardware
from lhc.runtime.kernels import ROUNDS, accumulate, add_noise, quantise, round_codes
from lhc.runtime.normals import LevelStream, normal_levels
from lhc.runtime.rounds import reductions
from lhc.runtime.stream import Unit
from lhc.runtime.vectors import INFINITE, Vectors
from lhc.seeds import device_entropy

__all__ = ["FastMatrix"]

PART_VECTORS = 1024
"""Vectors that are computed together: what a tile of 256 inputs takes of them is a MB, a usual second-level cache."""


@dataclass(frozen=True)
class _Converters:
    """Numbers of DAC and ADC, as aihwkit's IOParameters has them; a step is 1 where nothing is quantised.

    Attributes:
        input_step, output_step: in units of the full scale.
        input_clip, output_clip: greatest magnitudes in codes, infinite where nothing clips.
        output_limit: greatest magnitude in codes that does not count as saturated.
        input_shift, output_shift: what rounds codes, 0 where nothing is quantised.
        noise: standard deviation of the output noise, in output codes.
        scales_vectors: every vector is divided by its greatest magnitude.
        reductions: of the inputs, by round of bound management.
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

    @classmethod
    def of(cls, hardware: Hardware) -> "_Converters":
        dac, adc = hardware.dac, hardware.adc
        input_step = 1.0 if dac.bits is None else 2 * (dac.bound or 0.0) / (2**dac.bits - 2)
        output_step = 1.0 if adc.bits is None else 2 * (adc.bound or 0.0) / (2**adc.bits - 2)
        # Scaled vectors and ranges end at 1: only a lower bound clips them.
        clips = dac.bound is not None and (dac.bound < 1 or dac.scaling == "none")
        output_clip = float(INFINITE) if adc.bound is None else adc.bound / output_step
        # aihwkit compares code · step with the bound in float32, where the last code may lie beyond it.
        last_saturates = adc.bound is not None and np.float32(output_clip) * np.float32(output_step) > np.float32(
            adc.bound
        )
        return cls(
            input_step=input_step,
            input_clip=np.float32((dac.bound or 0.0) / input_step) if clips else INFINITE,
            input_shift=ROUNDS if dac.bits is not None else np.float32(0),
            output_step=output_step,
            output_clip=output_clip,
            output_limit=output_clip - 0.5 if last_saturates and adc.bits is not None else output_clip,
            output_shift=ROUNDS if adc.bits is not None else np.float32(0),
            noise=adc.noise / output_step,
            scales_vectors=dac.scaling == "abs_max",
            reductions=reductions(adc.bound_management == "iterative", 0.0 if dac.bits is None else input_step),
        )


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
        self._io = _Converters.of(hardware)
        self._noise = [LevelStream(device_entropy(seed, first.tile_set, draw, "noise")) for draw in draws]
        self._splits: list[_RowSplit] = []
        for tiles in zip(*(chip.tiles for chip in chips), strict=True):
            start = self._splits[-1].stop if self._splits else 0
            self._splits.append(_RowSplit(tiles, first.groups, start, self._io, device))

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """See `Products`."""
        levels = normal_levels(self._io.noise) if self._io.noise > 0 else None
        noise = _Noise(self._noise, levels, first_group, unit)
        calls = [_Call(split, number, vectors, first_group, noise) for number, split in enumerate(self._splits)]
        result = np.empty((vectors.groups, self.chips * self._outputs, vectors.count), np.float32)
        for part in range(-(-vectors.count // PART_VECTORS)):
            where = _columns(part, vectors.count)
            if where.stop > unit.wanted.start and where.start < unit.wanted.stop:
                for call in calls:
                    call.add_outputs(part, where, result)
        grouped = torch.from_numpy(result).view(vectors.groups, self.chips, self._outputs, vectors.count)
        return grouped.transpose(0, 1)


def _columns(part: int, count: int) -> slice:
    """The vectors of a part."""
    return slice(part * PART_VECTORS, min((part + 1) * PART_VECTORS, count))


@dataclass(frozen=True)
class _Noise:
    """Output noise of the products of one unit.

    Attributes:
        streams: a chip's.
        levels: in ADC codes, of which every deviate is one; None without noise.
        first_group: of those that are driven.
        unit: where it stands.
    """

    streams: Sequence[LevelStream]
    levels: Floats | None
    first_group: int
    unit: Unit

    def of(self, chip: int, split: int, part: int, round_: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint16]:
        """Numbers of levels for a part of the vectors in one round, ``(groups, outputs of a group, vectors)``."""
        # Bits: 12 for the use, 36 unit, 16 part, 12 row split, 20 group, 4 round.
        address = ((((self.unit.use << 36) + self.unit.number << 16) + part << 12) + split << 20) + self.first_group
        return self.streams[chip].at((address << 4) + round_, shape[0] * shape[1] * shape[2]).reshape(shape)


class _RowSplit:
    """The tiles that share their inputs, of all chips side by side."""

    def __init__(
        self,
        tiles: Sequence[tuple[ProgrammedTile, ...]],
        groups: int,
        start: int,
        io: _Converters,
        device: str,
    ) -> None:
        self.io = io
        self.device = device
        self.chips = len(tiles)
        self.start, self.stop = start, start + tiles[0][0].weights.shape[1]
        self.range = tiles[0][0].input_range

        def joined(of_tile: Callable[[ProgrammedTile], Floats]) -> Floats:
            """``(groups, chips · outputs of a group, ...)``."""
            chips = np.stack([np.concatenate([of_tile(tile) for tile in row]) for row in tiles])
            grouped = chips.reshape(self.chips, groups, -1, *chips.shape[2:]).swapaxes(0, 1)
            return np.ascontiguousarray(grouped).reshape(groups, -1, *chips.shape[2:])

        step = np.float32(io.input_step / io.output_step)
        self.weights = torch.from_numpy(joined(lambda tile: tile.weights * step)).to(device)
        self.scales = joined(lambda tile: tile.scales * tile.live * np.float32(tile.gain * io.output_step))
        columns = np.concatenate([np.full(len(tile.weights), n) for n, tile in enumerate(tiles[0])])
        self.tile_of = columns.reshape(groups, -1)


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

    def __init__(self, split: _RowSplit, number: int, vectors: Vectors, first_group: int, noise: _Noise) -> None:
        self._split = split
        self._number = number
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
        accumulate(z, self._scales, self._drive(0).scales, where.start, self._number > 0, result)

    def _drive(self, round_: int) -> _Drive:
        if round_ not in self._drives:
            self._drives[round_] = self._driven(self._split.io.reductions[round_])
        return self._drives[round_]

    def _driven(self, reduction: float) -> _Drive:
        split, io = self._split, self._split.io
        peaks = self._vectors.peaks(split.start, split.stop)
        step = np.float32(reduction * io.input_step)
        if io.scales_vectors:
            factors = np.float32(1) / (np.where(peaks == 0, np.float32(1), peaks) * step)
            return _Drive(self._vectors, factors, peaks, io.input_shift, io.input_clip)
        limit = io.input_clip
        if split.range is not None:
            full_scale = np.float32(1) / step
            limit = min(limit, np.rint(full_scale) if io.input_shift else full_scale)
            step *= np.float32(split.range)
        codes = np.empty_like(self._vectors.data)
        quantise(self._vectors.data, np.float32(1) / step, io.input_shift, limit, codes)
        driven = (peaks != 0).astype(np.float32)
        return _Drive(self._vectors.with_data(codes), np.ones_like(peaks), driven, np.float32(0), INFINITE)

    def _read(self, part: int, where: slice, round_: int) -> tuple[Floats, int]:
        """ADC codes, ``(groups, chips · outputs, vectors)``, and how many of them saturate."""
        split, io, drive = self._split, self._split.io, self._drive(round_)
        groups, rows, inputs = self._weights.shape
        codes = torch.empty(groups, inputs, where.stop - where.start)
        place = (split.start, split.stop, where.start)
        drive.vectors.unfold(*place, drive.factors[:, where], codes.numpy(), drive.shift, drive.clip)
        z = _multiplied(self._weights, codes).numpy()
        shift, limit = io.output_shift, np.float32(io.output_limit)
        if self._noise.levels is None:
            return z, round_codes(z, shift, limit)
        beyond, outputs = 0, rows // split.chips
        for chip in range(split.chips):
            levels = self._noise.of(chip, self._number, part, round_, (groups, outputs, z.shape[2]))
            beyond += add_noise(z, levels, self._noise.levels, chip * outputs, shift, limit)
        return z, beyond

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
