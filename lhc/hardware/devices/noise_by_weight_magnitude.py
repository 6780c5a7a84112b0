"""Device model with programming noise alone: its deviation is given by the weight's magnitude.

In a unit in which the greatest weight of a tile is ``full_scale``, a weight w becomes w + s(|w|) N, N standard normal
and the deviation s a polynomial of the magnitude in each regime; below the dead zone it becomes 0. Nothing drifts.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lhc.hardware.description.tiles_and_converters import Section
from lhc.hardware.devices.device_base import DeviceModel, Positive, Scale


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
