"""The fast engine: aihwkit's arithmetic on the programmed state of one or more chips, in cache-sized blocks.

Vectors lie in columns, so that unfolding copies whole image rows and every pass runs over contiguous memory. Inputs
are converted once for all chips, whose weights form one product. Converter steps are folded into the weights: in
between, inputs and outputs are integer codes. Against aihwkit's order of operations this moves last bits, hence an
output that lies on a rounding edge by one code; docs/emulation.md has the formulas.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.hardware import Hardware
from lhc.runtime.normals import NormalStream
from lhc.runtime.rounds import reductions
from lhc.runtime.stream import Unit
from lhc.runtime.vectors import Part, Vectors
from lhc.seeds import device_entropy

__all__ = ["FastMatrix"]

NOISE_VECTORS = 4096
"""Vectors whose noise is drawn in one batch."""
PART_VECTORS = 1024
"""Vectors that are computed together: what a tile of 256 inputs takes of them is 1 MB, half a usual cache."""

_INFINITE = float("inf")


@dataclass(frozen=True)
class _Converters:
    """Numbers of DAC and ADC, as aihwkit's IOParameters has them; a step is 1 where nothing is quantised.

    Attributes:
        input_step, output_step: in units of the full scale.
        input_clip, output_clip: greatest magnitudes in codes, infinite where nothing clips.
        output_limit: greatest magnitude in codes that does not count as saturated.
        noise: standard deviation of the output noise, in output codes.
        scales_vectors: every vector is divided by its greatest magnitude.
        reductions: of the inputs, by round of bound management.
    """

    input_step: float
    input_clip: float
    quantises_inputs: bool
    output_step: float
    output_clip: float
    output_limit: float
    quantises_outputs: bool
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
        output_clip = _INFINITE if adc.bound is None else adc.bound / output_step
        # aihwkit compares code · step with the bound in float32, where the last code may lie beyond it.
        last_saturates = adc.bound is not None and np.float32(output_clip) * np.float32(output_step) > np.float32(
            adc.bound
        )
        return cls(
            input_step=input_step,
            input_clip=(dac.bound or 0.0) / input_step if clips else _INFINITE,
            quantises_inputs=dac.bits is not None,
            output_step=output_step,
            output_clip=output_clip,
            output_limit=output_clip - 0.5 if last_saturates and adc.bits is not None else output_clip,
            quantises_outputs=adc.bits is not None,
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
            device: torch device that computes.
        """
        first = chips[0]
        self.chips = len(chips)
        self._outputs = first.outputs
        self._io = _Converters.of(hardware)
        self._noise = [NormalStream(device_entropy(seed, first.tile_set, draw, "noise")) for draw in draws]
        self._splits: list[_RowSplit] = []
        for tiles in zip(*(chip.tiles for chip in chips), strict=True):
            start = self._splits[-1].stop if self._splits else 0
            self._splits.append(_RowSplit(tiles, first.groups, start, self._io, device))

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """See `Products`."""
        call = _Call(self._splits, vectors, _Noise(self._noise, self._io.noise, self._outputs, first_group, unit))
        groups = slice(first_group, first_group + vectors.groups)
        result = torch.empty(vectors.groups, self.chips * self._outputs, vectors.count)
        for part, columns in enumerate(call.columns):
            if columns.stop > unit.wanted.start and columns.start < unit.wanted.stop:
                total = self._splits[0].outputs(call, groups, 0, part)
                for number, split in enumerate(self._splits[1:], start=1):
                    total.add_(split.outputs(call, groups, number, part))
                result[:, :, columns] = total
        return result.view(vectors.groups, self.chips, self._outputs, vectors.count).transpose(0, 1)


@dataclass(frozen=True)
class _Noise:
    """Output noise of the products of one unit.

    Attributes:
        streams: a chip's.
        std: in ADC codes.
        outputs: of one group.
        first_group: of those that are driven.
        unit: where it stands.
    """

    streams: Sequence[NormalStream]
    std: float
    outputs: int
    first_group: int
    unit: Unit

    def draw(self, block: int, round_: int, splits: int, groups: int, count: int) -> Tensor | None:
        """Of a block of vectors in one round, ``(row splits, groups, chips · outputs, vectors)``."""
        if self.std == 0:
            return None
        shape = (splits, groups, self.outputs, count)
        # 16 bits for the use, 40 for the unit, 16 for the block, 20 for the group, 4 for the round.
        address = (((self.unit.use << 40) + self.unit.number << 16) + block << 20) + self.first_group << 4
        chips = [s.at(address + round_, math.prod(shape), self.std).view(shape) for s in self.streams]
        return chips[0] if len(chips) == 1 else torch.cat(chips, dim=2)


@dataclass(frozen=True)
class _Drive:
    """A unit's vectors as one row split's DACs are given them.

    Attributes:
        parts: inputs, or codes where ``factor`` is None.
        factor: from inputs to codes, ``(groups, 1, vectors)``.
        scale: of the outputs, 0 for zero vectors, ``(groups, 1, vectors)``.
    """

    parts: Sequence[Part]
    factor: Tensor | None
    scale: Tensor


class _Call:
    """Products of one unit: what its parts share, computed once."""

    def __init__(self, splits: "Sequence[_RowSplit]", vectors: Vectors, noise: _Noise) -> None:
        self._splits = splits
        self._vectors = vectors
        self._noise = noise
        self._drives = {(number, 0): split.drive(vectors, 0) for number, split in enumerate(splits)}
        counts = [part.count for part in self._drives[0, 0].parts]
        stops = list(accumulate(counts))
        self.columns = [slice(stop - count, stop) for stop, count in zip(stops, counts, strict=True)]
        self._together = max(1, NOISE_VECTORS // counts[0])
        self._drawn: dict[tuple[int, int], Tensor | None] = {}

    def drive(self, split: int, round_: int) -> _Drive:
        """How a row split is driven in a round of bound management."""
        if (split, round_) not in self._drives:
            self._drives[split, round_] = self._splits[split].drive(self._vectors, round_)
        return self._drives[split, round_]

    def noise(self, split: int, part: int, round_: int) -> Tensor | None:
        """Noise of a part in a round, drawn with that of its neighbours."""
        block = part // self._together
        first, last = block * self._together, min((block + 1) * self._together, len(self.columns)) - 1
        start, stop = self.columns[first].start, self.columns[last].stop
        if (block, round_) not in self._drawn:
            self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] == block}
            drawn = self._noise.draw(block, round_, len(self._splits), self._vectors.groups, stop - start)
            self._drawn[block, round_] = drawn
        drawn = self._drawn[block, round_]
        columns = self.columns[part]
        return None if drawn is None else drawn[split, :, :, columns.start - start : columns.stop - start]


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
        self._io = io
        self._device = device
        self._chips = len(tiles)
        self.start, self.stop = start, start + tiles[0][0].weights.shape[1]
        self._range = tiles[0][0].input_range

        def joined(of_tile: Callable[[ProgrammedTile], Floats]) -> Tensor:
            """``(groups, chips · outputs of a group, ...)``."""
            chips = np.stack([np.concatenate([of_tile(tile) for tile in row]) for row in tiles])
            grouped = chips.reshape(self._chips, groups, -1, *chips.shape[2:]).swapaxes(0, 1)
            merged = np.ascontiguousarray(grouped).reshape(groups, -1, *chips.shape[2:])
            return torch.from_numpy(merged).to(device)

        self._weights = joined(lambda tile: tile.weights) * (io.input_step / io.output_step)
        gains = joined(lambda tile: tile.scales * tile.live * np.float32(tile.gain)).to("cpu")
        self._scales = gains[..., None] * io.output_step
        columns = np.concatenate([np.full(len(tile.weights), n) for n, tile in enumerate(tiles[0])])
        self._tile_of = columns.reshape(groups, -1)

    def drive(self, vectors: Vectors, round_: int) -> _Drive:
        """A unit's vectors, scaled for a round of bound management."""
        peaks = vectors.peaks(self.start, self.stop)
        zero = peaks == 0
        reduction = self._io.reductions[round_]
        if self._io.scales_vectors:
            scales = peaks.masked_fill_(zero, 1.0)
            factor = 1.0 / (scales * (reduction * self._io.input_step))
            return _Drive(vectors.parts(PART_VECTORS), factor, scales.masked_fill_(zero, 0.0))
        step = reduction * self._io.input_step

        def convert(x: Tensor) -> Tensor:
            if self._range is not None:
                x = x.clamp_(-self._range, self._range).div_(self._range)
            return self._converted(x.mul_(1.0 / step))

        return _Drive(vectors.converted(convert).parts(PART_VECTORS), None, (~zero).to(torch.float32))

    def _converted(self, codes: Tensor) -> Tensor:
        """Rounded and clipped, in place."""
        if self._io.quantises_inputs:
            codes.round_()
        if self._io.input_clip < _INFINITE:
            codes.clamp_(-self._io.input_clip, self._io.input_clip)
        return codes

    def outputs(self, call: _Call, groups: slice, number: int, part: int) -> Tensor:
        """Scaled outputs.

        Args:
            call: the unit.
            groups: that are driven.
            number: of this row split.
            part: of the vectors.

        Returns:
            ``(groups, chips · outputs of a group, vectors)``.
        """
        z = self._read(call, groups, number, part, 0)
        low, high = (float(bound) for bound in torch.aminmax(z))
        # A vector that is not finite gives NaN here, and must not hide that others saturate.
        if not max(-low, high) <= self._io.output_limit:
            z = self._managed(z, call, groups, number, part)
        scale = call.drive(number, 0).scale[:, :, call.columns[part]]
        return z.mul_(self._scales[groups]).mul_(scale)

    def _read(self, call: _Call, groups: slice, number: int, part: int, round_: int) -> Tensor:
        """ADC codes, ``(groups, chips · outputs, vectors)``."""
        drive = call.drive(number, round_)
        if drive.factor is None:
            codes = drive.parts[part].rows(self.start, self.stop)
        else:
            factor = drive.factor[:, :, call.columns[part]]
            codes = self._converted(drive.parts[part].rows(self.start, self.stop, factor))
        noise = call.noise(number, part, round_)
        weights, codes = self._weights[groups], codes.to(self._device)
        z = torch.bmm(weights, codes) if noise is None else torch.baddbmm(noise.to(self._device), weights, codes)
        return (z.round_() if self._io.quantises_outputs else z).to("cpu")

    def _managed(self, z: Tensor, call: _Call, groups: slice, number: int, part: int) -> Tensor:
        """Codes after bound management, in units of the first round's.

        A vector that saturates a tile takes that tile's outputs from the first round in which none does, or the last.
        """
        result, pending = z, self._saturated(z, groups)
        result.clamp_(-self._io.output_clip, self._io.output_clip)
        for round_, reduction in enumerate(self._io.reductions[1:], start=1):
            if not pending.any():
                break
            again = self._read(call, groups, number, part, round_)
            saturated = self._saturated(again, groups)
            again.clamp_(-self._io.output_clip, self._io.output_clip).mul_(reduction)
            result = torch.where(pending, again, result)
            pending &= saturated
        return result

    def _saturated(self, z: Tensor, groups: slice) -> Tensor:
        """For every output whether its tile saturates under its vector, ``(groups, chips · outputs, vectors)``."""
        over = (z.abs() > self._io.output_limit).view(len(z), self._chips, -1, z.shape[2])
        result = torch.empty_like(over)
        for index, tiles in enumerate(self._tile_of[groups]):
            for tile in np.unique(tiles):
                columns = torch.from_numpy(np.flatnonzero(tiles == tile))
                result[index, :, columns] = over[index, :, columns].any(dim=1, keepdim=True)
        return result.view(z.shape)
