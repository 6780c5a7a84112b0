"""DAC and ADC: codes, mismatch, and sensing of columns as voltages.

*Codes*: their number, step and range, for every engine (`Converters`).

*Mismatch* (`capacitor_levels`, `found_codes`): ADCs whose codes are weighed by capacitors that are not all alike. The
sign of an output is told first; its magnitude, in codes, is compared with the levels of an array of N = bits - 1
binary-weighted capacitors and a terminating unit. Those of unit capacitors of relative deviation s are

    C_k = 2^k + s 2^(k/2) N(0, 1),   C_t = 1 + s N(0, 1),   level of code n:  2^N Σ_k n_k C_k / (C_t + Σ_k C_k)

with n_k the bits of n. Code n is the one that successive approximation finds: from the highest bit on, a bit is kept
where the magnitude and a half is not below the level. So the error is frozen, greatest where many bits change, and in
the middle of the range has the deviation s 2^(N/2) / 2 codes (Saberi et al., IEEE TCAS-I 58, 1736, 2011); ends are
exact. A SAR ADC has an array of its own, or shares it with neighbouring columns; ADCs with a ramp compare with levels
that one array makes for all columns of a tile, and each has a comparator, whose offset is ``faults.column_offset``
(Spear et al., IEEE JXCDC 9, 2023).

*Voltages* (`column_totals`, `totals_of`): columns that are sensed as voltages, as NeuRRAM does it (Wan et al., Nature
608, 504, 2022). A column that no current leaves settles at the mean of its inputs, weighted by conductances. With x in
units of a full-scale input, w of a full-scale weight and Δ the difference of a pair for that,

    V_j = Σ_i x_i (g⁺_ij - g⁻_ij) / Σ_i (g⁺_ij + g⁻_ij) = Σ_i x_i w_ij / T_j,    T_j = Σ_i (g⁺_ij + g⁻_ij) / Δ

(one-sided pairs: T_j = Σ_i (|w_ij| + 2 g_min / Δ), over the rows that are driven). The ADC converts V_j, and what it
gives is multiplied by T_j digitally: its bound, steps and noise are in units of a full-scale input, and what they are
in a product grows with T_j. T is that of the conductances that devices are programmed to: the chip's published software
fits the factor of every column on the chip, so that T's own errors are none of the product. That they move the steps of
the ADC by a few per cent is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lhc.hardware.description.hardware import Hardware
from lhc.hardware.description.tiles_and_converters import Adc, Dac
from lhc.hardware.description.uniform_machine import Machine
from lhc.hardware.devices.unit_cell import PairedDevices

Scaling = Literal["vector", "range", "none"]

_SCALINGS: dict[str, Scaling] = {"abs_max": "vector", "static": "range", "none": "none"}
_MAX_REDUCTION = 1000.0
_MAX_STEP = 0.25
"""aihwkit's defaults: inputs are reduced until this factor is passed, or a DAC step is this share of the range."""
_CERTAIN = 10.0
"""Output noise beyond this many standard deviations is left out of account: it comes once in 10^22 values."""


@dataclass(frozen=True)
class InputSlices:
    """Inputs that are driven slice by slice.

    Attributes:
        bits: of a slice.
        lows: first bit of each.
        step: what a code of a slice stands for, as a share of the scaled input.
        signed_from: what is added to negative codes in two's complement, whose signs are one slice more; 0 for others.
        counts: what an output of each read counts, see `Dac.reads`.
    """

    bits: int
    lows: tuple[int, ...]
    step: float
    signed_from: float
    counts: tuple[float, ...]

    @classmethod
    def of(cls, dac: Dac) -> "InputSlices | None":
        """Input slices of a DAC; None where all bits are driven at once."""
        if dac.slice_bits is None or dac.bits is None:
            return None
        signed_from = 2.0 ** (dac.bits - 1) if dac.code == "twos-complement" else 0.0
        step = (dac.bound or 1.0) / (2**dac.slice_bits - 1)
        return cls(dac.slice_bits, dac.lows, step, signed_from, dac.reads)

    @property
    def greatest(self) -> float:
        """Code of a slice that is driven fully."""
        return 2.0**self.bits - 1


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
        read_noise: of constant read noise, see `lhc.hardware.circuits.currents`, likewise.
        noise_most: greatest deviation of both together, where all rows of a tile are driven fully.
        reductions: by what a vector is divided in each round of bound management; 1 alone without.
        cell_mismatch: see `Adc`.
        ir_drop, ir_drop_g_ratio, current_noise: see `lhc.hardware.circuits.currents`; read noise that grows with
        weights. slices: inputs in slices, or None. unsigned: inputs below 0 are clipped to it. unipolar: outputs below
        0 are. reads_zeros: all-zero vectors and columns are read as others are.
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
    cell_mismatch: float = 0.0
    ir_drop: float = 0.0
    ir_drop_g_ratio: float = 1.0
    current_noise: float = 0.0
    slices: InputSlices | None = None
    unsigned: bool = False
    unipolar: bool = False
    reads_zeros: bool = False

    @classmethod
    def of(cls, hardware: Hardware) -> "Converters":
        """Converters of a layer's hardware."""
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
                hardware.currents.read_noise * (dac.clip or 1.0) * math.sqrt(hardware.tiles.rows),
            ),
            reductions=_reductions(adc.bound_management == "iterative", dac.step),
            cell_mismatch=adc.cell_mismatch,
            ir_drop=hardware.currents.ir_drop,
            ir_drop_g_ratio=hardware.currents.ir_drop_g_ratio,
            current_noise=hardware.currents.read_noise - read_noise,
            slices=InputSlices.of(dac),
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
        highest *= self._gain_of_currents(highest, weights.shape[1])
        edge = self.adc_saturated if self.adc_step is None else (self.adc_saturated - 1) * self.adc_step
        return highest + _CERTAIN * self.noise_most > edge

    def _gain_of_currents(self, highest: float, rows: int) -> float:
        """By what IR drop may make a sum greater, at most: where it is described as more than all, its sign turns."""
        a = rows / self.ir_drop_g_ratio * highest
        return max(1.0, self.ir_drop * a * (0.5 + a * (0.05 * a)) - 1.0)

    @property
    def drive_step(self) -> float | None:
        """Value of one code that a read is driven with; None where inputs are not quantised."""
        return self.dac_step if self.slices is None else self.slices.step

    @property
    def quiet(self) -> "Converters":
        """The same converters without noise."""
        return replace(self, noise_sigma=0.0, read_noise=0.0, noise_most=0.0, current_noise=0.0)


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


Floats = npt.NDArray[np.float32]


def capacitor_levels(adc: Adc, columns: int, entropy: np.random.SeedSequence) -> Floats | None:
    """Level of every capacitor in the ADCs of one tile, in codes, ``(bits - 1, columns)``.

    The least significant one first; None where all are alike.

    Args:
        columns: of the tile that are used, the first ones.
        entropy: of the tile.
    """
    if adc.capacitor_mismatch == 0 or adc.bits is None:
        return None
    count, generator = adc.bits - 1, np.random.default_rng(entropy)
    shared_by = columns if adc.kind == "ramp" else adc.columns_per_adc
    arrays = -(-columns // shared_by)
    units = np.append(2.0 ** np.arange(count), 1.0)[:, None]
    capacitors = units + adc.capacitor_mismatch * np.sqrt(units) * generator.standard_normal((count + 1, arrays))
    levels = 2**count * capacitors[:-1] / capacitors.sum(axis=0)
    return np.repeat(levels, shared_by, axis=1)[:, :columns].astype(np.float32)


def found_codes(values: Floats, levels: Floats) -> Floats:
    """The codes of values in units of a code.

    Args:
        values: ``(..., columns)``.
        levels: see `capacitor_levels`.
    """
    magnitude, reached, codes = np.abs(values) + np.float32(0.5), np.zeros_like(values), np.zeros_like(values)
    for k, level in reversed(list(enumerate(levels))):
        kept = reached + level <= magnitude
        reached, codes = np.where(kept, reached + level, reached), np.where(kept, codes + np.float32(2**k), codes)
    return np.asarray(np.where(np.isnan(values), values, np.copysign(codes, values)), np.float32)


def column_totals(weights: Any, machine: Machine) -> Any:  # noqa: ANN401 - an array of any library
    """T of the columns of a tile, ``(outputs,)``; 1 of a column without conductance.

    Args:
        weights: ``(outputs, inputs)``, in units of the full scale.
        machine: that of the layer.
    """
    greatest = abs(weights).max()
    greatest = greatest + (greatest == 0)
    total = abs(weights).sum(1)
    if isinstance(machine.devices, PairedDevices):
        cells = sum(machine.devices.cells(weights / greatest))
        total = greatest * cells.sum(1) / machine.devices.span_us
    return total + (total == 0)


def totals_of(weights: np.ndarray, machine: Machine) -> np.ndarray | None:
    """Total conductances T of columns in float32; None where currents are sensed."""
    return np.asarray(column_totals(weights, machine), np.float32) if machine.adc.sensing == "voltage" else None
