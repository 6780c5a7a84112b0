"""Products as aihwkit's torch tile computes them, each vector by itself, on any device of PyTorch.

Of a row of tiles, with `AnalogMVM` aihwkit's own class and its `IOParameters`:

    x = _prepare_input(inputs, 1 / scale / reduction)        DAC
    z = _matmul(x, weights)
    z = z + effects + noise                                  `effects`; deviates of `lhc.runtime.engines.noise`
    y = _finalize_output(z) · scale · reduction              ADC and bounds
    y = y · column scale · drift compensation

aihwkit draws its noise within `_finalize_output` from PyTorch's generator. Here its parameters have none, and deviates
of a counter are added right before, so that a chip is the same chip under every engine and on every device. Bound
management acts on each vector: it takes the first round in which no output of its tile saturates, or the last.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from aihwkit.simulator.parameters.enums import WeightNoiseType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.tiles.analog_mvm import AnalogMVM
from aihwkit.simulator.tiles.utils import UniformQuantize
from torch import Tensor

from lhc.errors import DataError
from lhc.hardware import Hardware
from lhc.hardware.converters import Converters
from lhc.onnx_io.operators.matrix_product import POINTWISE, ConvGeometry
from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.engines.counter_rng import OutputPlaces, by_rows, noise_streams, row_address, sample_keys
from lhc.runtime.engines.noise import standard_deviates
from lhc.runtime.engines.protocol import LEAST_PEAK, Digital, Position
from lhc.runtime.operators.im2col import padded, window_layout
from lhc.runtime.tiles.circuit_effects import (
    driven_slice,
    ir_drop_loss,
    mismatched,
    read_noise_deviation,
    widened,
)

_VALUES = {"cpu": 2**20, "cuda": 2**25}
"""Aimed number of values in a block: where the caches hold some such tensors, and a GPU's memory some dozens."""


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Where vectors of a block stand in the stream: number of their sample, and their place in it."""

    samples: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, images: range, per_sample: int, places: int) -> "_Vectors":
        """Addresses of images of the stream: images per sample, and vectors per image."""
        image = np.arange(images.start, images.stop)
        place = (image % per_sample * places)[:, None] + np.arange(places)
        return cls(np.repeat(image // per_sample, places), place.reshape(-1).astype(np.uint32))

    def some(self, which: Tensor) -> "_Vectors":
        """Some of them."""
        chosen = which.cpu().numpy()
        return _Vectors(self.samples[chosen], self.places[chosen])


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of tiles on some chips.

    Attributes:
        inputs: of the matrix.
        weights: ``(chips, groups, outputs, inputs)``.
        scales: digital factors of outputs, drift compensation included, ``(chips, groups, outputs, 1)``.
        input_range: static one, or None.
        offsets: of the ADCs, as scales; None where there are none.
        unit: what one unit of every output is, likewise.
        base: what is subtracted for each unit of the inputs' sum, likewise.
        driven: rows of tiles that every input drives; None: one each.
        levels: of ADCs whose steps differ, by chip and group; None where they are alike.
    """

    inputs: slice
    weights: Tensor
    scales: Tensor
    input_range: float | None
    offsets: Tensor | None
    unit: Tensor | None
    base: Tensor | None
    driven: Tensor | None
    levels: list[list[Floats]] | None

    def alone(self, chip: int) -> "_Row":
        """The matrix as one of the chips holds it."""
        one = slice(chip, chip + 1)
        return replace(
            self,
            weights=self.weights[one],
            scales=self.scales[one],
            offsets=None if self.offsets is None else self.offsets[one],
            unit=None if self.unit is None else self.unit[one],
            base=None if self.base is None else self.base[one],
            levels=None if self.levels is None else self.levels[one],
        )


class AihwkitMatrix:
    """Products with one matrix as several chips hold it, by aihwkit's functions."""

    completes = completes_epilogue = False

    def __init__(
        self,
        chips: Sequence[ProgrammedMatrix],
        draws: Sequence[int],
        seed: int,
        hardware: Hardware,
        convolves: bool,
        device: torch.device,
    ) -> None:
        """Lay out a matrix on a device; the other arguments are those of `lhc.runtime.engines.protocol.Engine`."""
        first = chips[0]
        self.chips = len(chips)
        self._device, self._hardware, self._converters = device, hardware, Converters.of(hardware)
        self._io = _quiet(hardware)
        self._groups, self._outputs = first.groups, first.outputs
        size = sum(tile.weights.size for row in first.tiles for tile in row)
        self._places = OutputPlaces.of(first, not convolves and by_rows(size))
        self._held = torch.from_numpy(self._places.held).to(device)
        self._streams = noise_streams(first, seed, draws)
        self._rows = tuple(_rows(chips, device))

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that products read."""
        return sum(row.weights.nbytes for row in self._rows)

    def alone(self, chip: int) -> "AihwkitMatrix":
        """The matrix on one of the chips, without another copy of its weights."""
        one = copy(self)
        one.chips, one._streams = 1, self._streams[chip : chip + 1]
        one._rows = tuple(row.alone(chip) for row in self._rows)
        return one

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `lhc.runtime.engines.protocol.Products`."""
        return self._convolve(x, geometry, position, use, False)[0]

    def convolve_with_steps(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int
    ) -> tuple[Tensor, Tensor]:
        """Outputs, and what one step of the ADC is in each, the greatest over rows of tiles; 0 where nothing rounds."""
        return self._convolve(x, geometry, position, use, True)

    def _convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, steps: bool
    ) -> tuple[Tensor, Tensor]:
        out, images, (samples, first) = geometry.output_sizes(tuple(x.shape[2:])), len(x), position.of(len(x))
        per_sample, places = images // samples, prod(out)
        self._check(x.shape[1] // geometry.groups * prod(geometry.kernel))
        found = torch.empty((self.chips, images, self._groups * self._outputs, *out))
        worth = torch.empty_like(found) if steps else found
        together = self._together(places)
        for start in range(0, images, together):
            image = padded(x[start : start + together].to(self._device), geometry)
            vectors = image.as_strided(*window_layout(image, geometry)).reshape(
                geometry.groups, -1, len(image) * places
            )
            stream = start + first * per_sample
            where = _Vectors.of(range(stream, stream + len(image)), per_sample, places)
            products, step = self._products(vectors, where, use, steps)
            for whole, part in ((found, products), (worth, step)):
                if part is not None:
                    laid_out = part.reshape(self.chips, -1, len(image), *out).transpose(1, 2)
                    whole[:, start : start + len(image)] = laid_out.cpu()
        return found, worth

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `lhc.runtime.engines.protocol.Products`."""
        self._check(rows.shape[-1])
        points, (samples, first) = rows.reshape(-1, rows.shape[-1], 1), position.of(len(rows))
        found = self.convolve(points, POINTWISE, Position(first, samples), use)
        return found.view(self.chips, *rows.shape[:-1], -1)

    def _check(self, inputs: int) -> None:
        if inputs != self._rows[-1].inputs.stop:
            raise DataError(f"vectors of {inputs} inputs do not fit a matrix that takes {self._rows[-1].inputs.stop}")

    def _together(self, places: int) -> int:
        """Images of so many vectors a group whose tensors a block may hold."""
        longest = max(row.inputs.stop - row.inputs.start for row in self._rows)
        values = places * self._groups * max(longest, self.chips * self._outputs)
        return int(max(1, _VALUES[self._device.type] // values))

    def _products(self, vectors: Tensor, where: _Vectors, use: int, steps: bool) -> tuple[Tensor, Tensor | None]:
        """Products of vectors ``(groups, inputs, vectors)`` by all tiles, ``(chips, groups, outputs, vectors)``.

        With them, on request, what one step of the ADC is in each.
        """
        counts = self._hardware.dac.reads
        total: Tensor | None = None
        worth: Tensor | None = None
        for number, row in enumerate(self._rows):
            x = vectors[:, row.inputs]
            peaks = x.abs().amax(1, keepdim=True)
            scales = None
            if self._converters.scaling == "vector":
                peaks = torch.where(peaks < float(LEAST_PEAK), 0.0, peaks)
                scales = torch.where(peaks == 0, 1.0, peaks)
            x = self._limited(x, row)
            read: Tensor | None = None
            for index, count in enumerate(counts):
                address = row_address(use, number * len(counts) + index)
                part, taken = self._read(row, index, address, x, scales, where)
                if steps:
                    step = row.scales.abs() * (taken * abs(count) * (self._converters.adc_step or 0.0))
                    step = (step if scales is None else step * scales).expand_as(part)
                    worth = step if worth is None else torch.maximum(worth, step)
                part = part if count == 1 else part.mul_(count)
                read = part if read is None else read.add_(part)
            assert read is not None
            output = read.mul_(row.scales)
            if row.base is not None:
                output -= row.base * self._sums(x, scales)
            if not self._converters.reads_zeros and bool((peaks == 0).any()):
                output = torch.where(peaks == 0, 0.0, output)
            total = output if total is None else total.add_(output)
        assert total is not None
        return total, worth

    def _limited(self, x: Tensor, row: _Row) -> Tensor:
        """Inputs in a static range, as aihwkit's tile has them before its product; without those below 0."""
        if row.input_range is not None:
            x = x.clamp(-row.input_range, row.input_range) / row.input_range
        return x.clamp(min=0) if self._converters.unsigned else x

    def _sums(self, x: Tensor, scales: Tensor | None) -> Tensor:
        """Sums of the DAC outputs, ``(groups, 1, vectors)``."""
        sums = self._prepared(x, scales, 1.0).sum(1, keepdim=True)
        return sums if scales is None else sums * scales

    def _prepared(self, x: Tensor, scales: Tensor | None, reduction: float) -> Tensor:
        scale, scaling = _factor(scales, reduction)
        prepared: Tensor = AnalogMVM._prepare_input(x, scale, scaling, False, self._io)
        return prepared

    def _read(
        self, row: _Row, index: int, address: int, x: Tensor, scales: Tensor | None, where: _Vectors
    ) -> tuple[Tensor, Tensor | float]:
        """ADC outputs of a read, from the first round without saturation, or from the last.

        With it by what inputs were divided in that round.
        """
        output, saturated = self._round(row, index, address, x, scales, where, 0)
        if saturated is None or len(self._converters.reductions) == 1:
            return output, 1.0
        pending, taken = self._any_of_tile(saturated), torch.ones_like(output)
        for round_ in range(1, len(self._converters.reductions)):
            some = pending.flatten(0, 2).any(0).nonzero()[:, 0]
            if len(some) == 0:
                break
            of_some = None if scales is None else scales[..., some]
            again, saturated = self._round(row, index, address, x[..., some], of_some, where.some(some), round_)
            waits = pending[..., some]
            output[..., some] = torch.where(waits, again, output[..., some])
            taken[..., some] = torch.where(waits, self._converters.reductions[round_], taken[..., some])
            pending = torch.zeros_like(pending)
            if saturated is not None:
                pending[..., some] = waits & self._any_of_tile(saturated)
        return output, taken

    def _any_of_tile(self, saturated: Tensor) -> Tensor:
        """Whether any output saturates that lies on the same tile, ``(chips, groups, outputs, vectors)``."""
        if self._held.shape[2] == 1:
            return saturated.any(2, keepdim=True).expand_as(saturated)
        tiles = self._held.mT @ saturated.to(torch.float32) > 0
        return self._held @ tiles.to(torch.float32) > 0

    def _round(
        self,
        row: _Row,
        index: int,
        address: int,
        x: Tensor,
        scales: Tensor | None,
        where: _Vectors,
        round_: int,
    ) -> tuple[Tensor, Tensor | None]:
        """A round of bound management: outputs, and which saturate; None where none does."""
        converters, currents, reduction = self._converters, self._hardware.currents, self._converters.reductions[round_]
        driven = self._prepared(x, scales, reduction)
        if converters.slices is not None:
            assert converters.dac_step is not None
            driven = driven_slice(driven, index, converters.slices, converters.dac_step)
        z = self._matmul(driven, row.weights)
        noise = self._noise(row, address, driven, z, where, round_)
        if currents.ir_drop > 0:
            z -= ir_drop_loss(driven, row.weights, currents)
        if row.offsets is not None:
            z += row.offsets
        if noise is not None:
            z += noise
        if converters.unipolar:
            z.clamp_(min=0)
        output, saturated = self._converted(z, row)
        scale, scaling = _factor(scales, reduction)
        return output.div_(scale) if scaling else output, saturated

    def _matmul(self, x: Tensor, weights: Tensor) -> Tensor:
        """``(chips, groups, outputs, vectors)``."""
        if self._groups == 1:
            products: Tensor = AnalogMVM._matmul(x[0], weights.flatten(0, 2), trans=True)
            return products.view(len(weights), 1, weights.shape[2], -1)
        return torch.stack([AnalogMVM._matmul(x, chip, trans=True) for chip in weights])

    def _converted(self, z: Tensor, row: _Row) -> tuple[Tensor, Tensor | None]:
        """ADC outputs, and which of them saturate, judged by equal steps."""
        io, bound = self._io, self._io.out_bound or float("inf")
        within, output = AnalogMVM._finalize_output(z, io)
        saturated = None
        if len(self._converters.reductions) > 1 and not within:
            exact = UniformQuantize.apply(z, io.out_res, io.out_bound) if io.out_res > 0 else z
            saturated = exact.abs() > bound
        if row.levels is not None:
            assert self._converters.adc_step is not None
            output = mismatched(z, self._converters.adc_step, row.levels).clamp_(-bound, bound)
        return output, saturated

    def _noise(
        self, row: _Row, address: int, driven: Tensor, products: Tensor, where: _Vectors, round_: int
    ) -> Tensor | None:
        """Noise of the products, read noise of devices included."""
        converters, currents = self._converters, self._hardware.currents
        if converters.noise_sigma == currents.read_noise == 0:
            return None
        noise = self._deviates(address, where, round_)
        if currents.read_noise > 0:
            deviation = read_noise_deviation(driven, row.weights, currents, row.driven, row.unit)
            if converters.noise_sigma > 0:
                deviation = (deviation.square() + converters.noise_sigma**2).sqrt_()
            noise = noise.mul_(deviation)
        else:
            noise = noise.mul_(converters.noise_sigma)
        return widened(noise, products, converters.cell_mismatch) if converters.cell_mismatch > 0 else noise

    def _deviates(self, address: int, where: _Vectors, round_: int) -> Tensor:
        """Standard deviates of a round, ``(chips, groups, outputs, vectors)``."""
        samples, of_vectors = np.unique(where.samples, return_inverse=True)
        rows = np.array([stream.key(address) for stream in self._streams], np.int64).T[..., None]
        keys = sample_keys(rows[0], rows[1], round_, samples, samples >> 32)
        k0, k1 = (key[:, of_vectors].astype(np.uint32) for key in keys)
        found = standard_deviates(k0, k1, where.places, self._places, self._groups * self._outputs, self._device)
        return found.view(self.chips, self._groups, self._outputs, -1)


def _factor(scales: Tensor | None, reduction: float) -> tuple[Any, bool]:
    """Factor on the inputs, in aihwkit's order of operations, and whether there is one."""
    scale = 1.0 if scales is None else 1.0 / scales
    return (scale if reduction == 1 else scale / reduction), scales is not None or reduction != 1


def _quiet(hardware: Hardware) -> IOParameters:
    """aihwkit's parameters of a layer's converters; noise and currents are computed beside them."""
    forward: IOParameters = hardware.to_rpu_config().forward
    return replace(forward, out_noise=0.0, w_noise=0.0, w_noise_type=WeightNoiseType.NONE, ir_drop=0.0)


def _rows(chips: Sequence[ProgrammedMatrix], device: torch.device) -> Iterator[_Row]:
    first = chips[0]

    def on_device(values: Any, *shape: int) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32).reshape(len(chips), first.groups, -1, *shape)).to(device)

    for number, start in enumerate(first.starts):
        rows = [chip.tiles[number] for chip in chips]
        one = rows[0][0]

        def joined(values: Any, rows: Sequence[Sequence[ProgrammedTile]] = rows) -> list[Floats]:
            """Values of every chip, joined over the outputs of its tiles."""
            return [np.concatenate([np.asarray(values(tile)) for tile in row], axis=-1) for row in rows]

        weights = [np.concatenate([tile.weights for tile in row]) for row in rows]
        yield _Row(
            slice(start, start + one.weights.shape[1]),
            on_device(weights, one.weights.shape[1]),
            on_device(joined(lambda tile: tile.scales * tile.gain.astype(np.float32)), 1),
            one.input_range,
            None if one.offset is None else on_device(joined(lambda tile: tile.offset), 1),
            None if one.unit is None else on_device(joined(lambda tile: tile.unit), 1),
            on_device(joined(lambda tile: tile.base * tile.scales), 1)
            if any(t.base for r in rows for t in r)
            else None,
            None if one.driven is None else torch.from_numpy(np.array(one.driven, np.float32)).to(device),
            None if one.levels is None else [np.split(of, first.groups, axis=-1) for of in joined(lambda t: t.levels)],
        )
