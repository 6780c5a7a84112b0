"""Weights with a deviation in regimes (`lhc.hardware.devices.noise_by_weight_magnitude`), as an aihwkit noise model."""

import numpy as np
from aihwkit.inference.noise.base import BaseNoiseModel

from lhc.hardware.devices.device_base import Tensor
from lhc.hardware.devices.noise_by_weight_magnitude import Regimes

__all__ = ["RegimeNoise"]


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
        sigma = said.programming_noise_scale * np.maximum(np.choose(place, found), 0)
        noisy = values + unit * sigma * weights.new_empty(weights.shape).normal_().cpu().numpy()
        return weights.new_tensor(np.where(magnitudes < said.dead_zone, 0.0, noisy)), None

    def apply_drift_noise(self, weights: Tensor, drift_noise_parameters: None, t_inference: float) -> Tensor:
        """Programmed weights, at any time: there is no drift."""
        return weights
