"""Devices of which no more is said than how far a programmed weight is off, by its magnitude.

In a unit in which the greatest weight of a tile is ``full_scale``, a weight w becomes w + s(|w|) N, N standard normal
and the deviation s a polynomial of the magnitude in each regime; below the dead zone it becomes 0. Nothing drifts.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from lhc.hardware.device_model import DeviceModel, Positive, Scale, Tensor
from lhc.hardware.sections import Section

__all__ = ["Regime", "RegimeNoise", "Regimes"]


class Regime(Section):
    """Magnitudes up to a bound, and the deviation of weights there."""

    up_to: Positive
    """Greatest magnitude, in the unit of the full scale."""
    coefficients: Annotated[tuple[float, ...], Field(min_length=1)]
    """Standard deviation as a polynomial of the magnitude, lowest power first, in the unit of the full scale."""


class Regimes(DeviceModel):
    """A deviation of the programmed weight, of both cells of its pair together, in regimes."""

    model: Literal["regimes"] = "regimes"
    full_scale: Positive
    """Magnitude of a tile's greatest weight, in a unit of its own: that of all numbers below."""
    regimes: Annotated[tuple[Regime, ...], Field(min_length=1, max_length=64)]
    """By growing magnitude; the last one reaches to the full scale."""
    dead_zone: Scale = 0.0
    """Weights of a smaller magnitude are 0, and exactly so."""
    programming_noise_scale: Scale = 1.0
    """Factor on the standard deviation; 0 switches it off."""

    module = ""
    kind = "RegimeNoise"
    attributes: ClassVar[dict[str, str]] = {}

    @property
    def ages(self) -> bool:
        """Never: weights stay as they were programmed."""
        return False

    @model_validator(mode="after")
    def _regimes_reach_to_the_end(self) -> "Regimes":
        bounds = [regime.up_to for regime in self.regimes]
        if bounds != sorted(set(bounds)) or bounds[-1] < self.full_scale:
            raise ValueError("regimes must ascend by up_to, the last one to full_scale or beyond")
        return self


class RegimeNoise:
    """In the place of an aihwkit noise model; random numbers come from torch's global generator."""

    def __init__(self, devices: Regimes) -> None:
        """Devices by their regimes."""
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
        """What was programmed, at any time."""
        return weights
