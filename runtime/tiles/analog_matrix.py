"""One weight matrix on the tiles of one chip: programmed, drifted and read by aihwkit's own models.

Conductances, programming noise, drift and read noise are aihwkit's noise models and converters, drift compensation is
aihwkit's too, called on the mapped weights of one tile after the other: its converters divide by the greatest weight
of a tile. No tile objects are made. Random numbers come from torch's global generator, which is seeded for every tile
(`lhc.seeds`), so that a chip does not depend on what was programmed before, or beside it in another thread.

Nothing is held between reads: what was programmed is computed again from its seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.errors import ModelError
from lhc.hardware import Hardware, scaled_programming
from lhc.hardware.converters import capacitor_levels, totals_of
from lhc.hardware.devices.aihwkit_noise_models import CellNoise, MeasuredNoise
from lhc.hardware.devices.device_base import LEAST_MAGNITUDE
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.tiles.drift_compensation import TileReadOut
from lhc.runtime.tiles.faults_and_remapping import ChipTile, noise_factor, on_chip
from lhc.runtime.tiles.mapping import MappedTile, MatrixMapping, summed_copies
from lhc.runtime.torch_settings import isolated, seeded_generator
from lhc.seeds import Purpose, device_entropy, device_seed
from lhc.support.memory import forget_pages


@dataclass(frozen=True, eq=False)
class _Programmed:
    """A tile after programming.

    Attributes:
        weights: that its healthy devices hold then, ``(outputs, inputs)``.
        drift: what aihwkit's model remembers of its devices.
        read_out: for drift compensation; None without.
        baseline: of that.
    """

    weights: Tensor
    drift: Any
    read_out: TileReadOut | None
    baseline: Tensor | None


@dataclass(frozen=True)
class _Stream:
    """The random numbers of a matrix on one chip.

    Attributes:
        seed: of the run.
        devices: names the matrix's devices.
        draw: number of the chip.
        reseed: of torch's global generator.
    """

    seed: int
    devices: str
    draw: int
    reseed: Callable[[int], object]

    def start(self, purpose: Purpose, *indices: int) -> None:
        """Have torch draw the numbers for a purpose from the first one on."""
        self.reseed(device_seed(self.seed, self.devices, self.draw, purpose, *indices))

    def entropy(self, purpose: Purpose, *indices: int) -> np.random.SeedSequence:
        """Entropy of numpy's generators for a purpose."""
        return device_entropy(self.seed, self.devices, self.draw, purpose, *indices)


class AnalogMatrix:
    """A matrix on tiles; a chip of it is what `reads` gives for a seed and the number of a draw."""

    def __init__(
        self,
        weight: npt.NDArray[np.floating],
        groups: int,
        hardware: Hardware,
        devices: str,
        ranges: Sequence[float] | None = None,
        copies: int = 1,
    ) -> None:
        """Map a matrix onto tiles.

        Args:
            weight: ``(groups · outputs, inputs)``.
            groups: matrices that lie one below the other in ``weight``.
            hardware: that of the layer.
            devices: names the devices, for their seeds.
            ranges: static input range of each row split, for hardware that has them.
            copies: of every weight, each on devices of its own.
        """
        self._hardware, self._groups, self._devices, self._copies = hardware, groups, devices, copies
        self._ranges = ranges if hardware.needs_calibration else None
        self._mapping = MatrixMapping(weight, hardware, copies)
        self._config = hardware.to_rpu_config()
        of_pairs = isinstance(hardware.devices, PairedDevices) and not hardware.devices.plain
        self._by_cell = hardware.faults.any and of_pairs

    def read(self, seed: int, draw: int, t_s: float, number: int = 0) -> ProgrammedMatrix:
        """Matrix held by the tiles at one read; arguments as for `reads`."""
        return self.reads(seed, draw, t_s, (number,))[0]

    def reads(self, seed: int, draw: int, t_s: float, numbers: Sequence[int]) -> list[ProgrammedMatrix]:
        """Matrices held by the tiles at each of some reads; devices are programmed once for all of them.

        Args:
            seed: of the run.
            draw: number of the chip.
            t_s: when they are read, in seconds after the first read.
            numbers: of the reads, each with noise of its own; 0 is that of inference.

        Raises:
            ModelError: the noise model is not defined for these weights.
        """
        found: list[list[list[ProgrammedTile]]] = [[] for _ in numbers]
        starts: list[int] = []
        with isolated(), seeded_generator() as reseed:
            stream = _Stream(seed, self._devices, draw, reseed)
            for mapped in self._mapping:
                place = mapped.place
                if place.row == len(starts):
                    starts.append(place.start)
                    for rows in found:
                        rows.append([])
                for rows, tile in zip(found, self._tile(mapped, stream, t_s, numbers), strict=True):
                    rows[place.row].append(tile)
        for weights in self._mapping.slices:
            forget_pages(weights)
        matrices = [
            ProgrammedMatrix(tuple(map(tuple, rows)), tuple(starts), self._groups, self._devices, number)
            for number, rows in zip(numbers, found, strict=True)
        ]
        shares = self._hardware.adc.columns
        return matrices if shares is None else [one.with_adc_ranges(np.array(shares, np.float32)) for one in matrices]

    def _tile(
        self, mapped: MappedTile, stream: "_Stream", t_s: float, numbers: Sequence[int]
    ) -> Iterator[ProgrammedTile]:
        """Program a tile, and read it some times."""
        number = mapped.place.number
        chip = self._tested(mapped, stream) if self._hardware.faults.any else None
        adc = self._hardware.adc
        differ = adc.capacitor_mismatch > 0
        levels = capacitor_levels(adc, len(mapped.target), stream.entropy("adc", number)) if differ else None
        if self._hardware.devices is None:
            held = mapped.target if chip is None else chip.held(chip.target)
            for _ in numbers:
                yield self._found(mapped, chip, held, 1.0, levels)
            return
        model = self._noise_model(number, chip, stream)
        tile = self._program(model, mapped, chip, levels, stream)
        for read in numbers:
            stream.start("drift", number, round(t_s * 1000), *((read,) if read else ()))
            with np.errstate(invalid="ignore"):  # what becomes no number is refused
                drifted = model.apply_drift_noise(tile.weights, tile.drift, t_s)
            if not drifted.sum().isfinite():
                raise ModelError(
                    f"devices {getattr(self._hardware.devices, 'model', '')!r} drift to values that are no numbers:"
                    " aihwkit's model takes the logarithm of a conductance that noise made negative; give a greater"
                    " devices.g_min_us"
                )
            held = self._held(drifted, chip)
            gain: npt.NDArray[np.float32] | float = 1.0
            if tile.read_out is not None and tile.baseline is not None:
                tile.read_out.weights = torch.from_numpy(held)
                gain = tile.read_out.gain(tile.baseline).numpy()
            yield self._found(mapped, chip, held, gain, levels)

    def _program(
        self, model: Any, mapped: MappedTile, chip: ChipTile | None, levels: Floats | None, stream: "_Stream"
    ) -> _Programmed:
        """Program a tile's devices and measure the baseline of drift compensation."""
        target = torch.from_numpy(mapped.target if chip is None else chip.faults.mean(chip.target))
        stream.start("program", mapped.place.number)
        weights, drift = model.apply_programming_noise(target)
        if not weights.sum().isfinite():  # where one is not, their sum is not
            raise ModelError(
                f"devices {getattr(self._hardware.devices, 'model', '')!r} cannot be programmed with a tile whose"
                " weights are all equal: aihwkit's model divides by their range"
            )
        if self._config.drift_compensation is None:
            return _Programmed(weights, drift, None, None)
        offset = None if chip is None or chip.faults.offset is None else torch.from_numpy(chip.faults.offset)
        read = None if mapped.read.all() else torch.from_numpy(mapped.read.astype(np.float32))
        # The reference is the weights, not what devices are programmed to around faults.
        reference = torch.from_numpy(mapped.target)
        unipolar = self._hardware.adc.polarity == "unipolar"
        currents = self._hardware.currents if self._hardware.currents.any else None
        read_out = TileReadOut(self._config, reference, read, offset, levels, unipolar, currents)
        read_out.weights = torch.from_numpy(self._held(weights, chip))
        return _Programmed(weights, drift, read_out, read_out.baseline())

    def _held(self, weights: Tensor, chip: ChipTile | None) -> Floats:
        """Weights of a tile with its faults, from those that healthy devices hold."""
        held: Floats = weights.numpy()
        return held if chip is None or self._by_cell else chip.held(held)

    def _found(
        self,
        mapped: MappedTile,
        chip: ChipTile | None,
        held: Floats,
        gain: float | npt.NDArray[np.float32],
        levels: Floats | None,
    ) -> ProgrammedTile:
        place, hardware = mapped.place, self._hardware
        input_range = None if self._ranges is None else float(self._ranges[place.split])
        factor = np.float32(mapped.sign * (1.0 if input_range is None else input_range) / self._copies)
        aimed = mapped.target if chip is None else chip.faults.mean(chip.target)
        tile = ProgrammedTile(
            weights=summed_copies(held, place),
            scales=mapped.scales * factor,
            gain=np.full(len(held), gain, np.float64),
            input_range=input_range,
            offset=None if chip is None else chip.faults.offset,
            levels=levels,
            driven=None if self._copies == 1 else np.bincount(place.inputs, minlength=place.size).astype(np.float32),
            base=hardware.offset * max(float(np.abs(aimed).max(initial=0.0)), LEAST_MAGNITUDE)
            if hardware.offset
            else 0.0,
        )
        return tile.in_units_of(totals_of(mapped.target, hardware))

    def _tested(self, mapped: MappedTile, stream: "_Stream") -> ChipTile:
        """A tile with the faults of its chip."""
        place = mapped.place
        scales = np.where(mapped.read, mapped.scales, np.float32(1))
        return on_chip(
            self._hardware, stream.entropy("faults", place.number), mapped.target, scales, place.inputs, place.number
        )

    def _noise_model(self, number: int, chip: ChipTile | None, stream: "_Stream") -> Any:
        """aihwkit's model of a tile's devices, with the noise that its quality gives them.

        Where what a pair holds is not the weight alone the model of its cells knows the faults.
        """
        model = self._config.noise_model
        if self._hardware.faults.differ:
            factor = noise_factor(self._hardware, number, stream.seed, stream.draw)
            model = scaled_programming(self._hardware, factor).to_rpu_config().noise_model
        if not self._by_cell or chip is None:
            return model
        if isinstance(model, CellNoise | MeasuredNoise):
            return model.on(chip)
        assert isinstance(self._hardware.devices, PairedDevices)
        return CellNoise(self._hardware.devices, model, chip)
