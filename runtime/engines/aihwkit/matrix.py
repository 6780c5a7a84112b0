"""The engine torch: the arithmetic of the fast engine in PyTorch, on a GPU where it has one.

Every row of tiles multiplies blocks of vectors at once. Noise is that of the fast engine, deviate by deviate, whatever
the device and however samples are cut into calls; products are summed in another order. So an output that lies on a
rounding edge may become the next code, and nothing else differs (docs/emulation.md).
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from lhc.conductances import Floats, ProgrammedMatrix
from lhc.errors import DataError
from lhc.hardware import Hardware
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.engines.aihwkit.effects import adc_codes, dac_codes, kept_slice, widened, with_currents
from lhc.runtime.engines.compiled.converter_constants import RowConverters
from lhc.runtime.engines.compiled.matmul_kernel import COUNTERS
from lhc.runtime.engines.compiled.matrix import by_rows
from lhc.runtime.engines.compiled.packing import packed_numbers
from lhc.runtime.engines.compiled.tile_kernels import Integers, PackedTiles
from lhc.runtime.engines.counter_rng import NoiseStream, deviate_table, threefry
from lhc.runtime.engines.digital_offset import DigitalOffset
from lhc.runtime.engines.protocol import Digital
from lhc.runtime.im2col import padded, window_layout
from lhc.runtime.stream import Position
from lhc.seeds import device_entropy

__all__ = ["AihwkitMatrix"]

_VALUES = {"cpu": 2**20, "cuda": 2**25}
"""Aimed number of values in a block: where the caches hold some such tensors, and a GPU's memory some dozens."""
_LOW = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Where vectors of a block stand.

    Attributes:
        samples: numbers of their samples.
        places: numbers of them in their sample.
        within: of which samples some are the block's.
    """

    samples: Tensor
    places: Tensor
    within: range

    @classmethod
    def of(cls, images: range, per_sample: int, places: int, device: torch.device) -> "_Vectors":
        """Of images of the stream, of which so many are a sample, with so many vectors each."""
        image = torch.arange(images.start, images.stop, device=device)[:, None]
        return cls(
            (image // per_sample).expand(-1, places).reshape(-1),
            (image % per_sample * places + torch.arange(places, device=device)).reshape(-1),
            range(images.start // per_sample, (images.stop - 1) // per_sample + 1),
        )

    def some(self, which: Tensor) -> "_Vectors":
        """Some of them."""
        return _Vectors(self.samples[which], self.places[which], self.within)


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of tiles on some chips; where inputs are driven in slices, one of its reads.

    Attributes:
        inputs: of the matrix.
        weights: output codes by code of an input, ``(chips, groups, outputs, inputs)``.
        scales, offsets, shares: of outputs, ``(chips, groups, outputs, 1)``, and all else as in `PackedTiles`.
    """

    inputs: slice
    weights: Tensor
    scales: Tensor
    offsets: Tensor
    shares: Tensor | None
    levels: Tensor | None
    factors: tuple[float, ...]
    limits: tuple[float, ...]
    slice_: tuple[float, float] | None
    currents: tuple[float, ...] | None
    variances: Tensor | None

    def alone(self, chip: int) -> "_Row":
        """That of one of the chips."""
        one = slice(chip, chip + 1)
        return replace(
            self,
            weights=self.weights[one],
            scales=self.scales[one],
            offsets=self.offsets[one],
            shares=None if self.shares is None else self.shares[one],
            levels=None if self.levels is None else self.levels[:, one],
        )


@dataclass(frozen=True, eq=False)
class _Segments:
    """What a group has on one column of tiles, on which a vector saturates, and where noise of outputs is drawn.

    Attributes:
        held: whether a segment holds an output, ``(groups, outputs, columns of tiles)``; None: one column holds all.
        counters: that noise is drawn from.
        drawn: of every output, its place in the quarters of the words of all counters, ``(groups · outputs,)``.
    """

    held: Tensor | None
    counters: Tensor
    drawn: Tensor

    @classmethod
    def of(cls, numbers: PackedTiles, in_lanes: bool, device: torch.device) -> "_Segments":
        """Those of a matrix, on a device; ``in_lanes``: compiled loops have its outputs there."""
        group, output, column = _outputs(numbers.segments)
        place = output - numbers.segments[group, column]
        # Words have quarters: the upper halves of both, then the lower ones.
        apart = COUNTERS if in_lanes else 1
        counter = numbers.counters[group, column] + place // (4 * apart) * apart + place % apart
        counters, which = np.unique(counter, return_inverse=True)
        drawn = place // apart % 4 * len(counters) + which
        columns = numbers.segments.shape[1] - 1
        held = np.zeros((len(numbers.segments), numbers.segments[0, -1], columns), np.float32)
        held[group, output, column] = 1
        return cls(
            None if columns == 1 else torch.from_numpy(held).to(device),
            torch.from_numpy(counters).to(device),
            torch.from_numpy(drawn).to(device),
        )

    def any_of(self, saturated: Tensor) -> Tensor:
        """Whether any output saturates that lies on the same tile, ``(chips, groups, outputs, vectors)``."""
        if self.held is None:
            return saturated.any(2, keepdim=True).expand_as(saturated)
        tiles = self.held.mT @ saturated.to(torch.float32) > 0
        return self.held @ tiles.to(torch.float32) > 0


class AihwkitMatrix:
    """Products with one matrix as several chips hold it."""

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
        """Lay out a matrix on a device.

        Args:
            chips: the matrix on every chip; split alike.
            draws: numbers of their programmings, for their noise.
            convolves: whether it multiplies images, or rows.
        """
        first, io = chips[0], RowConverters.of(hardware)
        self.chips = len(chips)
        self._device, self._io = device, io.codes()
        size = sum(tile.weights.size for row in first.tiles for tile in row)
        in_lanes = not convolves and by_rows(size)
        numbers = packed_numbers(chips, io, in_lanes)
        self._rows = tuple(_rows(chips, numbers, io, device))
        self._segments = _Segments.of(numbers, in_lanes, device)
        reads = (first.read,) if first.read else ()
        self._streams = [NoiseStream(device_entropy(seed, first.devices, draw, "noise", *reads)) for draw in draws]
        self._deviates = _table(self._io.deviation.tobytes(), device) if len(self._io.deviation) else None
        self._subtracted: DigitalOffset | None = None
        if hardware.offset:
            self._subtracted = DigitalOffset.of(
                chips, hardware, lambda matrix, machine: AihwkitMatrix([matrix], [0], 0, machine, convolves, device)
            )

    @property
    def nbytes(self) -> int:
        """Of the weights that products take."""
        return sum(row.weights.nbytes for row in self._rows)

    def alone(self, chip: int) -> "AihwkitMatrix":
        """The matrix on one of the chips, without another copy of its weights."""
        one = copy(self)
        one.chips, one._streams = 1, self._streams[chip : chip + 1]
        one._rows = tuple(row.alone(chip) for row in self._rows)
        one._subtracted = None if self._subtracted is None else self._subtracted.alone(chip)
        return one

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `lhc.runtime.engines.protocol.Products`."""
        out, images, (samples, first) = geometry.output_sizes(tuple(x.shape[2:])), len(x), position.of(len(x))
        per_sample, places = images // samples, prod(out)
        self._check(x.shape[1] // geometry.groups * prod(geometry.kernel))
        found: Tensor | None = None
        together = self._together(places * geometry.groups)
        for start in range(0, images, together):
            image = padded(x[start : start + together].to(self._device), geometry)
            vectors = image.as_strided(*window_layout(image, geometry)).reshape(
                geometry.groups, -1, len(image) * places
            )
            stream = start + first * per_sample
            where = _Vectors.of(range(stream, stream + len(image)), per_sample, places, self._device)
            products = self._products(vectors, where, use).reshape(self.chips, -1, len(image), *out).transpose(1, 2)
            if found is None:
                found = torch.empty((self.chips, images, *products.shape[2:]))
            found[:, start : start + len(image)] = products.cpu()
        assert found is not None
        if self._subtracted is not None:
            sums = self._subtracted.sums.convolve(x, geometry, position, use)[0]
            self._subtracted.subtract(found.view(self.chips, images, -1, places), sums.reshape(images, -1, places))
        return found

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `lhc.runtime.engines.protocol.Products`."""
        self._check(rows.shape[-1])
        points, (samples, first) = rows.reshape(-1, rows.shape[-1], 1), position.of(len(rows))
        found = self.convolve(points, _POINT, Position(first, samples), use)
        return found.view(self.chips, *rows.shape[:-1], -1)

    def _check(self, inputs: int) -> None:
        if inputs != self._rows[-1].inputs.stop:
            raise DataError(f"vectors of {inputs} inputs do not fit a matrix that takes {self._rows[-1].inputs.stop}")

    def _together(self, vectors: int) -> int:
        """Images of so many vectors whose tensors a block may hold."""
        weights = self._rows[0].weights
        values = vectors * max(self._rows[-1].inputs.stop, self.chips * weights.shape[2])
        return int(max(1, _VALUES[self._device.type] // values))

    def _products(self, vectors: Tensor, where: _Vectors, use: int) -> Tensor:
        """Of vectors ``(groups, inputs, vectors)``, over all rows of tiles, ``(chips, groups, outputs, vectors)``."""
        total: Tensor | None = None
        for number, row in enumerate(self._rows):
            inputs = vectors[:, row.inputs]
            peaks = inputs.abs().amax(1, keepdim=True)
            codes = self._read(row, (use << 12) + number, inputs, peaks, where)  # bits: 12 for the use, 12 for the row
            scales = peaks if self._io.scales_vectors else _read_vectors(peaks, self._io.reads_zeros)
            summand = codes * row.scales * scales
            total = summand if total is None else total.add_(summand)
        assert total is not None
        return total

    def _read(self, row: _Row, address: int, inputs: Tensor, peaks: Tensor, where: _Vectors) -> Tensor:
        """Codes of the ADC: of the first round in which a tile's outputs do not saturate, or of the last."""
        codes, saturated = self._round(row, address, inputs, peaks, where, 0)
        rounds = len(self._io.reductions)
        if rounds == 1:
            return codes
        pending = self._segments.any_of(saturated)
        for round_ in range(1, rounds):
            some = pending.flatten(0, 2).any(0).nonzero()[:, 0]
            if len(some) == 0:
                break
            again, saturated = self._round(row, address, inputs[..., some], peaks[..., some], where.some(some), round_)
            again, waits = again.mul_(float(self._io.reductions[round_])), pending[..., some]
            codes[..., some] = torch.where(waits, again, codes[..., some])
            pending = torch.zeros_like(pending)
            pending[..., some] = waits & self._segments.any_of(saturated)
        return codes

    def _round(
        self, row: _Row, address: int, inputs: Tensor, peaks: Tensor, where: _Vectors, round_: int
    ) -> tuple[Tensor, Tensor]:
        """A round of bound management: codes between their bounds, and which saturate."""
        io = self._io
        codes = dac_codes(inputs, peaks, row.factors[round_], row.limits[round_], io)
        if row.slice_ is not None:
            codes = kept_slice(codes, *row.slice_, io)
        products = row.weights @ codes
        noise = self._noise(address, where, round_)
        if noise is not None:
            if row.variances is not None:
                noise *= (row.variances[1:] @ codes.square() + row.variances[0]).sqrt_()[:, None]
            noise = noise if row.shares is None else noise.mul_(row.shares)
            noise = widened(noise, products, io) if io.cell_mismatch > 0 else noise
        if row.currents is not None:
            products, deviation = with_currents(products, row.weights, codes, row.currents)
            noise = None if noise is None else noise.mul_(deviation)
        added = row.offsets if noise is None else noise.add_(row.offsets)
        return adc_codes(products + added, row.levels, io)

    def _noise(self, address: int, where: _Vectors, round_: int) -> Tensor | None:
        """Deviates of a round, ``(chips, groups, outputs, vectors)``, as compiled loops draw them."""
        if self._deviates is None:
            return None
        samples = torch.arange(where.within.start, where.within.stop, device=self._device)
        keys = np.array([stream.key(address) for stream in self._streams], np.int64).T[..., None]
        of_chips = torch.from_numpy(keys.copy()).to(self._device)
        high, low = samples >> 32, samples & _LOW
        of_samples = threefry(*threefry(of_chips[0], of_chips[1], round_, high), low, 0)
        k0, k1 = (key[:, None, where.samples - where.within.start] for key in of_samples)
        words = threefry(k0, k1, where.places, self._segments.counters[:, None])
        quarters = torch.cat([*(word >> 16 for word in words), *(word & 0xFFFF for word in words)], 1)
        groups, outputs = self._rows[0].weights.shape[1:3]
        drawn = self._deviates[quarters[:, self._segments.drawn]]
        return drawn.view(self.chips, groups, outputs, -1)


_POINT = ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", 1)


@lru_cache(maxsize=16)
def _table(terms: bytes, device: torch.device) -> Tensor:
    return torch.from_numpy(deviate_table(np.frombuffer(terms, np.float32))).to(device)


def _read_vectors(peaks: Tensor, reads_zeros: bool) -> Tensor:
    """1 for every vector that is read, 0 for others."""
    return torch.ones_like(peaks) if reads_zeros else (peaks != 0).to(peaks.dtype)


def _outputs(segments: Integers) -> tuple[Integers, Integers, Integers]:
    """Group, output and column of tiles of all outputs, in order."""
    counts = np.diff(segments)
    group, column = np.nonzero(counts)
    sizes = counts[group, column]
    outputs = np.concatenate(
        [np.arange(segments[g, c], segments[g, c + 1]) for g, c in zip(group, column, strict=True)]
    )
    return np.repeat(group, sizes), outputs, np.repeat(column, sizes)


def _rows(
    chips: Sequence[ProgrammedMatrix], numbers: PackedTiles, io: RowConverters, device: torch.device
) -> Iterator[_Row]:
    reads, size = len(io.reads), numbers.scales.size
    step, shape = np.float32(io.drive_step / io.output_step), (*numbers.scales.shape[:2], chips[0].groups, -1, 1)

    def per_output(values: Floats) -> Tensor:
        return torch.from_numpy(values[..., :size].reshape(*values.shape[:-1], *shape).copy()).to(device)

    scales, offsets = per_output(numbers.scales.reshape(-1)), per_output(numbers.offsets)
    shares = per_output(numbers.shares) if len(numbers.shares) else None
    levels = per_output(numbers.levels) if len(numbers.levels) else None
    for row, (start, stop) in enumerate(numbers.inputs.tolist()):
        if row % reads == 0:
            held = [np.concatenate([tile.weights for tile in chip.tiles[row // reads]]) * step for chip in chips]
            weights = torch.from_numpy(np.stack(held).reshape(len(chips), chips[0].groups, -1, stop - start)).to(device)
        yield _Row(
            slice(start, stop),
            weights,
            scales[:, row],
            offsets[:, row],
            None if shares is None else shares[:, row],
            None if levels is None else levels[:, :, row],
            tuple(numbers.factors[row].tolist()),
            tuple(numbers.limits[row].tolist()),
            tuple(numbers.slices[row].tolist()) if len(numbers.slices) else None,
            tuple(numbers.currents[row].tolist()) if len(numbers.currents) else None,
            torch.from_numpy(numbers.variances[row, : stop - start + 1].copy()).to(device)
            if len(numbers.variances)
            else None,
        )
