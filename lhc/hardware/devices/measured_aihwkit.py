"""Measured devices as aihwkit's tiles ask for them: what its noise models do, by the tables of `Measured`."""

from dataclasses import dataclass

import numpy as np
from aihwkit.inference.noise.base import BaseNoiseModel

from lhc.hardware.devices.device_base import LEAST_MAGNITUDE, Tensor
from lhc.hardware.devices.measured import Floats, Measured
from lhc.hardware.devices.unit_cell_aihwkit import FaultyCells

__all__ = ["MeasuredNoise"]


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
        """The same on a tile with faults, where what a pair holds is not the weight alone."""
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
