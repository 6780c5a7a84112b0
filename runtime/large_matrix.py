"""A large matrix on tiles of phase-change or perfect devices: mapped, programmed and read by compiled loops.

The formulas are aihwkit's (`lhc.runtime.pcm_kernels`), as are mapping and drift compensation. Random numbers are
others, so a chip is another one of the same distribution. aihwkit takes 170 ns a weight to map, 230 to program and 200
for a read, more than products with thousands of vectors take. Nothing is kept between reads: what was programmed is
computed again from its key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.hardware import Hardware
from lhc.hardware.adc_mismatch import capacitor_levels, found_codes
from lhc.hardware.device_model import LEAST_MAGNITUDE, LEAST_READOUT
from lhc.hardware.devices import Pcm
from lhc.hardware.geometry import split_sizes
from lhc.hardware.sensing import totals_of
from lhc.hardware.weight_slices import slice_factors, slice_signs, weight_slices
from lhc.runtime.engines.compiled.converter_constants import RowConverters
from lhc.runtime.engines.compiled.readout_kernels import add_noise, round_codes
from lhc.runtime.engines.counter_rng import NoiseStream, Words, normal_levels
from lhc.runtime.faulty_tiles import ChipTile, Lines, noise_factor, on_chip
from lhc.runtime.pcm_kernels import STEPS, drift, program
from lhc.seeds import device_entropy
from lhc.support.held_bytes import forget_pages

__all__ = ["LEAST_WEIGHTS", "LargeMatrix", "computed", "summed", "takes"]

LEAST_WEIGHTS = 2**16
"""Of a matrix that is programmed so; smaller ones keep the devices that aihwkit's generator gives them."""
_LEAST_BOUND = 2.0
"""An ADC with this bound, in units of the full scale, never saturates on a single weight."""


def computed(hardware: Hardware) -> bool:
    """Whether devices follow the formulas of `lhc.runtime.pcm_kernels`, or are perfect, and no read-out saturates."""
    bound = hardware.adc.bound
    devices = hardware.devices
    known = devices is None or (type(devices) is Pcm and devices.plain)
    # Its read-outs have no currents, and no weight is greater than the full scale.
    scaled = hardware.mapping.omega > 0
    return known and scaled and not hardware.currents.any and (bound is None or bound >= _LEAST_BOUND)


def takes(weights: int, hardware: Hardware) -> bool:
    """Whether a matrix of so many weights is programmed here."""
    return weights >= LEAST_WEIGHTS and computed(hardware)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a tile lies in the matrix.

    Attributes:
        number: of the tile.
        split: number of the row split.
        part: number of the slice of the weights.
        outputs: of the matrix.
        start: first input of the row split.
        inputs: input of the row split that drives each row of the tile.
    """

    number: int
    split: int
    part: int
    outputs: slice
    start: int
    inputs: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Devices:
    """A tile's devices after programming.

    Attributes:
        pcm: their model.
        held: what the tile holds then.
        nu: drift exponents of the devices that conduct.
        magnitude: the tile's greatest target.
        greatest: the greatest magnitude in ``held``, in units of that.
    """

    pcm: Pcm
    held: Floats
    nu: Floats
    magnitude: np.float32
    greatest: np.float32

    @classmethod
    def of(cls, pcm: Pcm, target: Floats, key: Words) -> "_Devices":
        """Program them."""
        magnitude = np.float32(max(float(np.abs(target).max(initial=0.0)), LEAST_MAGNITUDE))
        held, nu = np.empty_like(target), np.empty_like(target)
        greatest = program(target, 1 / magnitude, key, normal_levels(1.0), _device_tables(pcm), held, nu)
        held *= magnitude
        return cls(pcm, held, nu, magnitude, np.float32(greatest))

    def at(self, t_s: float, key: Words) -> Floats:
        """What the tile holds later, as a read finds it."""
        now = np.empty_like(self.held)
        time = np.float32(self.pcm.drift_scale * np.log1p(t_s / self.pcm.t_0_s))
        # The loop divides by the greatest magnitude, and gives what it is given: both in the tile's own units.
        greatest = self.greatest * self.magnitude
        drift(self.held, self.nu, greatest, time, key, normal_levels(1.0), _read_table(self.pcm, t_s), now)
        return now


class LargeMatrix:
    """Tiles of one chip that hold one matrix."""

    nbytes = 0
    """Kept between reads."""

    def __init__(
        self,
        weight: np.ndarray,
        groups: int,
        hardware: Hardware,
        devices: str,
        ranges: Sequence[float] | None = None,
        copies: int = 1,
    ) -> None:
        """A matrix to be programmed; arguments as those of `AnalogMatrix`."""
        assert hardware.devices is None or isinstance(hardware.devices, Pcm)
        self._hardware, self._pcm = hardware, hardware.devices
        self._signs, self._groups, self._copies = slice_signs(hardware), groups, copies
        parts = zip(weight_slices(weight, hardware), self._signs, strict=True)
        self._slices = [part if sign > 0 else -part for part, sign in parts]
        self._ranges = ranges if hardware.needs_calibration else None
        self._io = RowConverters.of(hardware)
        self._devices = devices
        self._stream = (0, devices, 0)
        self._t_s, self._read = 0.0, 0
        self._lines: dict[int, Lines] = {}

    def program(self, seed: int, draw: int) -> None:
        """Program all devices anew; no drift yet."""
        self._stream = (seed, self._devices, draw)
        self._lines = {}
        self.drift_to(0.0)

    def drift_to(self, t_s: float, read: int = 0) -> None:
        """Let the devices drift to ``t_s`` seconds after the first read, for a read with noise of its own."""
        self._t_s, self._read = t_s, read

    def programmed(self) -> ProgrammedMatrix:
        """What the tiles hold now; the copies in a tile as their sum, which its columns form."""
        return self.reads(self._t_s, (self._read,))[0]

    def reads(self, t_s: float, numbers: Sequence[int]) -> list[ProgrammedMatrix]:
        """The same at a time, as each of some reads finds it; devices are programmed once for all of them."""
        devices = NoiseStream(device_entropy(*self._stream, "program"))
        later = [
            NoiseStream(device_entropy(*self._stream, "drift", round(t_s * 1000), *((n,) if n else ())))
            for n in numbers
        ]
        found: list[dict[int, list[ProgrammedTile]]] = [{} for _ in numbers]
        starts: list[int] = []
        for place in self._places():
            first, *others = (_keys(stream, place) for stream in (devices, *later))
            row = int(place.number // self._columns)
            starts += [] if row < len(starts) else [place.start]
            for rows, tile in zip(found, self._tile(place, t_s, first, others), strict=True):
                rows.setdefault(row, []).append(tile)
        for weights in self._slices:
            forget_pages(weights)
        matrices = [
            ProgrammedMatrix(tuple(map(tuple, rows.values())), tuple(starts), self._groups, self._devices, number)
            for number, rows in zip(numbers, found, strict=True)
        ]
        shares = self._hardware.adc.columns
        return matrices if shares is None else [one.with_adc_ranges(np.array(shares, np.float32)) for one in matrices]

    @property
    def _columns(self) -> int:
        """Tiles side by side."""
        return len(split_sizes(len(self._slices[0]), self._hardware.tiles.cols))

    def _places(self) -> Iterator[_Place]:
        """The tiles, row of tiles by row of tiles, as `AnalogMatrix` has them."""
        rows, cols = self._hardware.tiles.rows, self._hardware.tiles.cols
        outputs, inputs = self._slices[0].shape
        number = start = 0
        for split, size in enumerate(split_sizes(inputs, rows)):
            for part in range(len(self._slices)):
                first = 0
                for height in split_sizes(self._copies * size, rows):
                    driven = np.arange(first, first + height) % size
                    top = 0
                    for width in split_sizes(outputs, cols):
                        yield _Place(number, split, part, slice(top, top + width), start, driven)
                        top, number = top + width, number + 1
                    first += height
            start += size

    def _tile(
        self, place: _Place, t_s: float, first: tuple[Words, Words], later: Sequence[tuple[Words, Words]]
    ) -> Iterator[ProgrammedTile]:
        """Program a tile, and read it some times.

        Args:
            place: of the tile.
            t_s: seconds after the first read.
            first: keys of the devices, and of the read-out after programming.
            later: of drift and read noise, and of the read-out, for every read.
        """
        weights = self._slices[place.part]
        size = split_sizes(weights.shape[1], self._hardware.tiles.rows)[place.split]
        block = np.asarray(weights[place.outputs, place.start : place.start + size], np.float32)
        target, scales = self._mapped(np.ascontiguousarray(block[:, place.inputs]), place)
        chip = self._tested(place, target, scales) if self._hardware.faults.any else None
        wanted, offset = (target, None) if chip is None else (chip.target, chip.faults.offset)
        input_range = None if self._ranges is None else float(self._ranges[place.split])
        factor = np.float32(self._signs[place.part] * (1.0 if input_range is None else input_range) / self._copies)
        live = scales != 0
        entropy = device_entropy(*self._stream, "adc", place.number)
        levels = capacitor_levels(self._hardware.adc, len(target), entropy)
        devices = None if self._pcm is None else _Devices.of(self._of_tile(self._pcm, place.number), wanted, first[0])
        before = None
        if devices is not None and self._hardware.compensation.drift != "none":
            exact = self._hardware.compensation.drift == "global-exact"
            held = devices.held if chip is None else chip.held(devices.held)
            before = np.abs(target) if exact else self._read_out(held, first[1], live, offset, levels)
        for drifting, read_out in later:
            now = wanted if devices is None else devices.at(t_s, drifting)
            now, gain = now if chip is None else chip.held(now), np.ones(len(target))
            if before is not None:
                gain = self._gain(before, self._read_out(now, read_out, live, offset, levels))
            total = now if self._copies == 1 else summed(now, int(place.inputs[0]), size)
            tile = ProgrammedTile(total, scales * factor, gain, input_range, offset, levels)
            yield tile.in_units_of(totals_of(target, self._hardware))

    def _of_tile(self, pcm: Pcm, number: int) -> Pcm:
        """The devices of a tile, with the noise that its quality gives them."""
        if not self._hardware.faults.differ:
            return pcm
        factor = noise_factor(self._hardware, number, self._stream[0], self._stream[2])
        return pcm.model_copy(update={"programming_noise_scale": factor * pcm.programming_noise_scale})

    def _tested(self, place: _Place, target: Floats, scales: Floats) -> ChipTile:
        """A tile with the faults of its chip; its lines are chosen once."""
        entropy = device_entropy(*self._stream, "faults", place.number)
        known = self._lines.get(place.number)
        chip = on_chip(self._hardware, entropy, target, scales, place.inputs, place.number, known)
        self._lines[place.number] = chip.lines
        return chip

    def _mapped(self, block: Floats, place: _Place) -> tuple[Floats, Floats]:
        """Weights in units of the full scale, and what they were divided by, ``(outputs,)``; 0 without any weight."""
        mapping = self._hardware.mapping
        greatest = np.abs(block).max(axis=1, initial=0.0)
        live = greatest > 0
        if not mapping.columnwise:
            greatest = np.full_like(greatest, greatest.max(initial=0.0))
        if not self._hardware.adc.zero_skipping:
            greatest = greatest if live.any() else np.full_like(greatest, self._without_bits(place))
            live = greatest > 0
        scales = np.where(live, mapping.scales(greatest), 1).astype(np.float32)
        return block / scales[:, None], scales * live

    def _without_bits(self, place: _Place) -> float:
        """Full scale of a slice without a bit on a tile."""
        rows = slice(place.start, place.start + place.inputs.max() + 1)
        whole = sum(sign * part[place.outputs, rows] for part, sign in zip(self._slices, self._signs, strict=True))
        return float(slice_factors(self._hardware)[place.part] * np.abs(whole).max(initial=0.0))

    def _gain(self, before: Floats, after: Floats) -> npt.NDArray[np.float64]:
        """Of drift compensation, per output: read-out after programming over that of now."""
        axis = 1 if self._hardware.compensation.drift == "per-column" else None
        means = [np.maximum(outputs.mean(axis=axis, dtype=np.float64), LEAST_READOUT) for outputs in (before, after)]
        return np.broadcast_to(np.asarray(means[0] / means[1]), len(before)).copy()

    def _read_out(
        self,
        weights: Floats,
        key: Words,
        live: npt.NDArray[np.bool_],
        offset: Floats | None,
        levels: Floats | None,
    ) -> Floats:
        """Magnitudes of what the ADC gives for every input alone."""
        read = weights if offset is None else weights + offset[:, None]
        codes = read / np.float32(self._io.output_step)
        shift, limit = self._io.output_shift if levels is None else np.float32(0), np.float32(np.inf)
        if self._io.noise > 0:
            add_noise(codes, key, normal_levels(self._io.noise), 0, 0, codes.shape[1], shift, limit)
        else:
            round_codes(codes, shift, limit)
        if levels is not None:
            codes = np.ascontiguousarray(found_codes(codes.T, levels).T)
        codes[~live] = 0
        if self._io.unipolar:
            np.maximum(codes, 0, out=codes)
        result: Floats = np.abs(codes) * np.float32(self._io.output_step)
        return result


def summed(rows: Floats, first: int, size: int) -> Floats:
    """Copies in a tile, one below the other from an input on, as the sum that its columns form: ``(outputs, size)``."""
    total = np.zeros((len(rows), size), np.float32)
    start = 0
    while start < rows.shape[1]:
        part = rows[:, start : start + size - first]
        total[:, first : first + part.shape[1]] += part
        start, first = start + part.shape[1], 0
    return total


def _keys(stream: NoiseStream, place: _Place) -> tuple[Words, Words]:
    """Of two uses of a stream of random numbers in a tile."""
    return stream.key(2 * place.number), stream.key(2 * place.number + 1)


def _conductances() -> npt.NDArray[np.float64]:
    return np.arange(STEPS + 2) / STEPS


@lru_cache(maxsize=8)
def _device_tables(pcm: Pcm) -> Floats:
    """Deviation of programming, mean and deviation of drift exponents by conductance, ``(3, STEPS + 2)``."""
    x = _conductances()
    sigma = np.polynomial.Polynomial(pcm.programming_coefficients_us)(x) / pcm.programming_g_max_us
    logarithm = np.log(np.maximum(x, LEAST_MAGNITUDE))
    mean = np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1)
    spread = np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)
    return np.stack([pcm.programming_noise_scale * sigma, mean, spread]).astype(np.float32)


@lru_cache(maxsize=64)
def _read_table(pcm: Pcm, t_s: float) -> Floats:
    """Deviation of read noise, relative, by conductance, ``(STEPS + 2,)``."""
    t = t_s + pcm.t_0_s
    q = np.minimum(0.0088 / np.maximum(_conductances() ** 0.65, 1e-3), 0.2)
    return np.asarray(pcm.read_noise_scale * q * np.sqrt(np.log((t + pcm.t_read_s) / (2 * pcm.t_read_s))), np.float32)
