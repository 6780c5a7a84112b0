"""The numbers of DAC and ADC that every engine computes with: codes, and what a code stands for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lhc.hardware.description import Hardware

__all__ = ["Converters", "Scaling", "repeated_reads"]

Scaling = Literal["vector", "range", "none"]

_SCALINGS: dict[str, Scaling] = {"abs_max": "vector", "static": "range", "none": "none"}
_MAX_REDUCTION = 1000.0
_MAX_STEP = 0.25
"""aihwkit's defaults: inputs are reduced until this factor is passed, or a DAC step is this share of the range."""
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
        read_noise: of constant read noise, see `lhc.hardware.currents`, likewise.
        noise_most: greatest deviation of both together, where all rows of a tile are driven fully.
        reductions: by what a vector is divided in each round of bound management; 1 alone without.
        unsigned: inputs below 0 are clipped to it.
        unipolar: outputs below 0 are.
        reads_zeros: all-zero vectors and columns are read as others are.
    """

    scaling: Scaling
    dac_step: float | None
    dac_limit: float | None
    adc_step: float | None
    adc_limit: float | None
    adc_saturated: float | None
    noise_sigma: float
    read_noise: float
    noise_most: float
    reductions: tuple[float, ...]
    unsigned: bool = False
    unipolar: bool = False
    reads_zeros: bool = False

    @classmethod
    def of(cls, hardware: Hardware) -> "Converters":
        """Those of a layer's hardware."""
        dac, adc = hardware.dac, hardware.adc
        # Inputs beyond a static range are clipped to it.
        reach = 1.0 if dac.clip is None and dac.scaling == "static" else dac.clip
        read_noise = hardware.currents.read_noise if hardware.currents.constant else 0.0
        limit = None if adc.bound is None else adc.bound / (adc.step or 1.0)
        return cls(
            scaling=_SCALINGS[dac.scaling],
            dac_step=dac.step,
            dac_limit=None if reach is None else reach / (dac.step or 1.0),
            adc_step=adc.step,
            adc_limit=limit,
            adc_saturated=_saturated(limit, adc.bound, adc.step),
            noise_sigma=adc.noise,
            read_noise=read_noise,
            noise_most=math.hypot(
                adc.noise * math.hypot(1, adc.cell_mismatch),
                read_noise * (dac.clip or 1.0) * math.sqrt(hardware.tiles.rows),
            ),
            reductions=_reductions(adc.bound_management == "iterative", dac.step),
            unsigned=dac.code == "unsigned",
            unipolar=adc.polarity == "unipolar",
            reads_zeros=not adc.zero_skipping,
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
        return highest + _CERTAIN * self.noise_most > edge

    @property
    def quiet(self) -> "Converters":
        """The same without noise."""
        return replace(self, noise_sigma=0.0, read_noise=0.0, noise_most=0.0)


def repeated_reads(hardware: Hardware, sums: Sequence[float], copies: float) -> float:
    """Times that bound management repeats a read, on average: inputs are halved until no sum is beyond the ADC's bound.

    Args:
        sums: quantiles, evenly spaced, of the greatest sum that a vector brings about in a column, with one copy of the
            weights, as a share of the bound.
        copies: whose currents add up in a column.
    """
    rounds = len(Converters.of(hardware).reductions) - 1
    halvings = np.ceil(np.log2(np.maximum(copies * np.asarray(sums, np.float64), 1.0)))
    return float(np.minimum(halvings, rounds).mean())


def _saturated(limit: float | None, bound: float | None, step: float | None) -> float | None:
    """aihwkit compares code · step with the bound in float32, where the last code may lie beyond it."""
    if limit is None or bound is None or step is None:
        return limit
    return limit - 0.5 if np.float32(limit) * np.float32(step) > np.float32(bound) else limit


def _reductions(managed: bool, step: float | None) -> tuple[float, ...]:
    """1, 2, 4, … as far as aihwkit goes; 1 alone where saturating vectors are not read again."""
    found = [1.0]
    while managed and found[-1] <= _MAX_REDUCTION and (step is None or found[-1] <= _MAX_STEP / step):
        found.append(2 * found[-1])
    return tuple(found)
