"""Measured devices as aihwkit's tiles ask for them: what its noise models do, by the tables of `Measured`."""

from dataclasses import dataclass

import numpy as np

from lhc.hardware.device_model import LEAST_MAGNITUDE, Tensor
from lhc.hardware.measured_devices import Floats, Measured

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


class MeasuredNoise:
    """In the place of an aihwkit noise model; random numbers come from torch's global generator."""

    def __init__(self, devices: Measured) -> None:
        """Devices by their tables."""
        self.devices = devices

    def apply_programming_noise(self, weights: Tensor) -> tuple[Tensor, list[_Cells]]:
        """Program a tile's weights, ``(outputs, inputs)``: what it holds at the first read, and its cells."""
        values = weights.detach().cpu().numpy().astype(np.float64)
        full = max(float(np.abs(values).max(initial=0.0)), LEAST_MAGNITUDE)
        cells = []
        pairs = self.devices.cells(values / full) * self.devices.pairs_per_weight
        for number, targets in enumerate(pairs):
            sign, shape = (-1) ** number, (len(self.devices.times_s), *targets.shape)
            normal = weights.new_empty(shape).normal_().cpu().numpy()
            cells.append(_Cells(full, sign, targets, normal.astype(np.float64)))
        return self._weights(weights, cells, 0.0, reads=False), cells

    def apply_drift_noise(self, weights: Tensor, drift_noise_parameters: list[_Cells], t_inference: float) -> Tensor:
        """What a read finds ``t_inference`` seconds after the first one, ``(outputs, inputs)``."""
        return self._weights(weights, drift_noise_parameters, t_inference, reads=True)

    def _weights(self, like: Tensor, cells: list[_Cells], t_s: float, reads: bool) -> Tensor:
        total = np.zeros(like.shape)
        for one in cells:
            held = self.devices.conductances(one.targets, one.independent, t_s)
            if reads and any(self.devices.read_us) and self.devices.read_noise_scale > 0:
                noise = like.new_empty(one.targets.shape).normal_().cpu().numpy()
                held = np.maximum(held + self.devices.read_noise(one.targets) * noise, 0)
            total += one.sign * held * (one.full / self.devices.span_us / self.devices.pairs_per_weight)
        return like.new_tensor(total)
