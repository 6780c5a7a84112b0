"""aihwkit noise models of devices that aihwkit itself does not have, as its tiles ask for them.

- `RegimeNoise`: weights with a deviation in regimes (`lhc.hardware.devices.noise_by_weight_magnitude`).
- `MeasuredNoise`: what aihwkit's noise models do, by the tables of `lhc.hardware.devices.measured.Measured`.
- `CellNoise`: several pairs of devices a weight, or a reference column (`lhc.hardware.devices.unit_cell`).

With N pairs a weight w of a tile, whose greatest one is m, is

    w = m Σ (g⁺ - g⁻) / (N Δ),    Δ = g_max - g_min (half of it with a reference column)

g⁺ and g⁻ being what the devices of each pair hold, and g⁻ of a reference column the same device for all weights of a
row of the tile. Where an offset is subtracted digitally there is no g⁻: a weight is what the
ADC sees, with the offset. Every device is programmed, drifts and is read by itself, by the functions of aihwkit's noise
model.
Its ``NPairConductanceConverter`` fills a pair when those before it are full, and joins devices before they drift; here
all pairs of a weight are programmed alike, as in multi-device synapses (Boybat et al., Nat. Commun. 9, 2514, 2018).

Beside stuck cells each pair is programmed to what the test of a chip makes of it; stuck cells hold their own. So one
pair goes too, where a device that holds nothing of its weight has a conductance: aihwkit drifts a pair as what its
difference would be programmed to, and a stuck cell has no part in that.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from aihwkit.inference.noise.base import BaseNoiseModel

from lhc.hardware.devices.device_base import LEAST_MAGNITUDE, Tensor
from lhc.hardware.devices.measured import Floats, Measured
from lhc.hardware.devices.noise_by_weight_magnitude import Regimes
from lhc.hardware.devices.unit_cell import PairedDevices

Weights = npt.NDArray[np.float32]


class FaultyCells(Protocol):
    """Stuck cells of a tile (`lhc.runtime.tiles.faults_and_remapping`); arrays ``(outputs, pairs · inputs)``."""

    @property
    def target(self) -> Weights:
        """Weights that the pairs are programmed to."""

    @property
    def full(self) -> float:
        """The weight that one pair at g_max stands for."""

    def joined(self, positive: Weights, negative: Weights) -> Weights:
        """The weights of a tile where healthy cells hold so much above g_min, ``(outputs, inputs)``."""


class RegimeNoise(BaseNoiseModel):  # type: ignore[misc]  # aihwkit is untyped
    """aihwkit noise model of weights whose deviation depends on their magnitude, in regimes.

    Random numbers come from torch's global generator.
    """

    def __init__(self, devices: Regimes) -> None:
        """Devices by their regimes."""
        super().__init__()
        self.devices = devices

    def apply_programming_noise(self, weights: Tensor) -> tuple[Tensor, None]:
        """Program a tile's weights, ``(outputs, inputs)``."""
        said = self.devices
        values = weights.detach().cpu().numpy().astype(np.float64)
        unit = float(np.abs(values).max(initial=0.0)) / said.full_scale
        magnitudes = np.abs(values) / (unit or 1.0)
        place = np.searchsorted([regime.up_to for regime in said.regimes[:-1]], magnitudes)
        found = [np.polynomial.Polynomial(regime.coefficients)(magnitudes) for regime in said.regimes]
        of_regime = np.take_along_axis(np.stack(found), place[None], axis=0)[0]
        sigma = said.programming_noise_scale * np.maximum(of_regime, 0)
        noisy = values + unit * sigma * weights.new_empty(weights.shape).normal_().cpu().numpy()
        return weights.new_tensor(np.where(magnitudes < said.dead_zone, 0.0, noisy)), None

    def apply_drift_noise(self, weights: Tensor, drift_noise_parameters: None, t_inference: float) -> Tensor:
        """Programmed weights, at any time: there is no drift."""
        return weights


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells of one sign of a tile's weights.

    Attributes:
        full: the tile's greatest weight.
        sign: of the weights, 1 or -1.
        targets: in µS, ``(outputs, inputs)``, or ``(1, inputs)`` of a reference column.
        independent: see `Measured.conductances`.
    """

    full: float
    sign: int
    targets: Floats
    independent: Floats


class MeasuredNoise(BaseNoiseModel):  # type: ignore[misc]  # aihwkit is untyped
    """aihwkit noise model of measured devices; random numbers come from torch's global generator."""

    def __init__(self, devices: Measured, chip: FaultyCells | None = None) -> None:
        """Devices by their tables; those of ``chip`` on a tile with faults."""
        super().__init__()
        self.devices = devices
        self.chip = chip

    def on(self, chip: FaultyCells) -> "MeasuredNoise":
        """The noise model on a tile with faults, where what a pair holds is not the weight alone."""
        return MeasuredNoise(self.devices, chip)

    def apply_programming_noise(self, weights: Tensor) -> tuple[Tensor, list[_Cells]]:
        """Program a tile's weights, ``(outputs, inputs)``: what it holds at the first read, and its cells."""
        values = weights.detach().cpu().numpy().astype(np.float64)
        full = max(float(np.abs(values).max(initial=0.0)), LEAST_MAGNITUDE)
        cells, count = [], self.devices.pairs_per_weight
        pairs = self.devices.cells(values / full) * count
        if self.chip is not None:
            full, each = self.chip.full, np.split(self.chip.target.astype(np.float64), count, axis=1)
            pairs = tuple(side for one in each for side in self.devices.cells(one / full))
        for number, targets in enumerate(pairs):
            sign = 1 if self.devices.pair == "digital-offset" else (-1) ** number
            shape = (len(self.devices.times_s), *targets.shape)
            normal = weights.new_empty(shape).normal_().cpu().numpy()
            cells.append(_Cells(full, sign, targets, normal.astype(np.float64)))
        return self._weights(weights, cells, 0.0, reads=False), cells

    def apply_drift_noise(self, weights: Tensor, drift_noise_parameters: list[_Cells], t_inference: float) -> Tensor:
        """Weights at a read ``t_inference`` seconds after the first one, ``(outputs, inputs)``."""
        return self._weights(weights, drift_noise_parameters, t_inference, reads=True)

    def _weights(self, like: Tensor, cells: list[_Cells], t_s: float, reads: bool) -> Tensor:
        found = []
        for one in cells:
            held = self.devices.conductances(one.targets, one.independent, t_s)
            if reads and any(self.devices.read_us) and self.devices.read_noise_scale > 0:
                noise = like.new_empty(one.targets.shape).normal_().cpu().numpy()
                held = np.maximum(held + self.devices.read_noise(one.targets) * noise, 0)
            found.append(held * (one.full / self.devices.span_us))
        if self.chip is not None:
            least = self.devices.g_min_us * cells[0].full / self.devices.span_us
            sides = (np.concatenate([g - least for g in found[s::2]], axis=1, dtype=np.float32) for s in (0, 1))
            return like.new_tensor(self.chip.joined(*sides))
        total = np.zeros(like.shape)
        for one, held in zip(cells, found, strict=True):
            total += one.sign * held / self.devices.pairs_per_weight
        return like.new_tensor(total)


@dataclass(frozen=True, eq=False)
class _HeldCells:
    """The devices of a tile.

    Attributes:
        greatest: weight of the tile.
        programmed: what they hold, in µS, g⁺ and g⁻ of one pair after the other, ``(outputs, inputs)`` or
            ``(1, inputs)``.
        drift: what their drift follows, as aihwkit's model has it.
    """

    greatest: Tensor
    programmed: tuple[Tensor, ...]
    drift: tuple[Tensor, ...]


class CellNoise(BaseNoiseModel):  # type: ignore[misc]  # aihwkit is untyped
    """aihwkit noise model of cells; random numbers come from torch's global generator."""

    def __init__(self, devices: PairedDevices, model: Any, chip: FaultyCells | None = None) -> None:  # noqa: ANN401 - aihwkit is untyped
        """Cells of devices, of which ``model`` is aihwkit's noise model; those of ``chip`` have one side a weight."""
        super().__init__(model.g_converter)
        self.devices = devices
        self.model = model
        self.chip = chip

    def on(self, chip: FaultyCells) -> "CellNoise":
        """The same noise model on a tile with faults."""
        return CellNoise(self.devices, self.model, chip)

    def apply_programming_noise(self, weights: Tensor) -> tuple[Tensor, _HeldCells]:
        """Program a tile's weights, ``(outputs, inputs)``: what it holds at the first read, and its devices."""
        weights = weights.detach()
        greatest = weights.abs().max().clamp(min=LEAST_MAGNITUDE)
        targets = self.devices.cells(weights / greatest) * self.devices.pairs_per_weight
        if self.chip is not None:
            greatest = weights.new_tensor(self.chip.full)
            each = np.split(self.chip.target, self.devices.pairs_per_weight, axis=1)
            targets = tuple(g for one in each for g in self.devices.cells(weights.new_tensor(one) / greatest))
        programmed, drift = zip(*map(self._programmed, targets), strict=True)
        return self._weights(programmed, greatest), _HeldCells(greatest, programmed, drift)

    def apply_drift_noise(self, weights: Tensor, drift_noise_parameters: _HeldCells, t_inference: float) -> Tensor:
        """Weights at a read ``t_inference`` seconds after the first one, ``(outputs, inputs)``."""
        cells = drift_noise_parameters
        devices = zip(cells.programmed, cells.drift, strict=True)
        later = tuple(self.model.apply_drift_noise_to_conductance(g, nu, t_inference) for g, nu in devices)
        return self._weights(later, cells.greatest)

    def _programmed(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Programmed conductances and drift exponents, drawn in aihwkit's order."""
        return self.model.apply_programming_noise_to_conductance(target), self.model.generate_drift_coefficients(target)

    def _weights(self, conductances: tuple[Tensor, ...], greatest: Tensor) -> Tensor:
        if self.chip is not None:
            sides = (conductances[::2], conductances[1::2])
            one = greatest / self.devices.span_us
            least = self.devices.g_min_us
            held = (np.concatenate([((g - least) * one).numpy() for g in side], axis=1) for side in sides)
            return conductances[0].new_tensor(self.chip.joined(*held))
        if self.devices.pair == "digital-offset":
            difference = sum(conductances)
        else:
            difference = sum(conductances[::2]) - sum(conductances[1::2])
        return difference * (greatest / (self.devices.span_us * self.devices.pairs_per_weight))
