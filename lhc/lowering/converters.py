"""The numbers of DAC and ADC as a compiled model holds them: codes, and what a code stands for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lhc.hardware import Hardware
from lhc.runtime.rounds import reductions

__all__ = ["Converters", "Noise", "Scaling"]

Noise = Literal["on", "off", "input"]
"""Output noise of a compiled model: drawn by the runtime, left out, or read from inputs of the model."""
Scaling = Literal["vector", "range", "none"]

_CERTAIN = 10.0
"""Output noise beyond this many standard deviations is left out of account: it comes once in 10^22 values."""


@dataclass(frozen=True)
class Converters:
    """One layer's converters.

    Attributes:
        scaling: what inputs are divided by: the greatest magnitude of their vector, a static range, or nothing.
        dac_step: what an input code stands for, as a share of the scaled input; None where inputs are not quantised.
        dac_limit: greatest input code (greatest scaled input, where inputs are not quantised); None: never clipped.
        adc_step: what an output code stands for, in units of full-scale input x full-scale weight; None where outputs
            are not quantised.
        adc_limit: greatest output code (greatest output, where outputs are not quantised); None: never clipped.
        adc_saturated: outputs of a greater magnitude count as saturated, in the unit of ``adc_limit``.
        noise_sigma: standard deviation of the output noise, in units of full-scale input x full-scale weight.
        reductions: by what a vector is divided in each round of bound management; 1 alone without.
    """

    scaling: Scaling
    dac_step: float | None
    dac_limit: float | None
    adc_step: float | None
    adc_limit: float | None
    adc_saturated: float | None
    noise_sigma: float
    reductions: tuple[float, ...]

    @classmethod
    def of(cls, hardware: Hardware, noise: Noise) -> "Converters":
        """Those of a layer's hardware."""
        dac, adc = hardware.dac, hardware.adc
        dac_step = None if dac.bits is None else 2 * (dac.bound or 0.0) / (2**dac.bits - 2)
        adc_step = None if adc.bits is None else 2 * (adc.bound or 0.0) / (2**adc.bits - 2)
        scaling: Scaling = "vector" if dac.scaling == "abs_max" else "range" if dac.scaling == "static" else "none"
        managed = adc.bound_management == "iterative" and adc.bound is not None
        limit = None if adc.bound is None else adc.bound if adc.bits is None else float(2 ** (adc.bits - 1) - 1)
        return cls(
            scaling=scaling,
            dac_step=dac_step,
            dac_limit=_input_limit(scaling, dac.bound, dac_step),
            adc_step=adc_step,
            adc_limit=limit,
            adc_saturated=_saturated(limit, adc.bound, adc_step),
            noise_sigma=0.0 if noise == "off" else adc.noise,
            reductions=reductions(managed, dac_step or 0.0),
        )

    def can_saturate(self, weights: np.ndarray) -> bool:
        """Whether any input can drive an output of a tile beyond the ADC's bound.

        Args:
            weights: of the tile, ``(outputs, inputs)``, in units of the full scale.
        """
        if self.adc_saturated is None:
            return False
        if self.dac_limit is None and self.scaling == "none":
            return True
        step = self.dac_step or 1.0
        greatest = self.dac_limit * step if self.dac_limit is not None else 1.0 + (self.dac_step or 0.0) / 2
        highest = float(np.abs(weights).sum(axis=1, dtype=np.float64).max(initial=0.0)) * greatest
        edge = self.adc_saturated if self.adc_step is None else (self.adc_saturated - 1) * self.adc_step
        return highest + _CERTAIN * self.noise_sigma > edge


def _input_limit(scaling: Scaling, bound: float | None, step: float | None) -> float | None:
    """Scaled vectors end at 1 by themselves; inputs beyond a static range have to be clipped to it."""
    if bound is None or (bound >= 1 and scaling != "none"):
        bound = 1.0 if scaling == "range" else None
    return None if bound is None else bound / (step or 1.0)


def _saturated(limit: float | None, bound: float | None, step: float | None) -> float | None:
    """aihwkit compares code · step with the bound in float32, where the last code may lie beyond it."""
    if limit is None or bound is None or step is None:
        return limit
    return limit - 0.5 if np.float32(limit) * np.float32(step) > np.float32(bound) else limit
