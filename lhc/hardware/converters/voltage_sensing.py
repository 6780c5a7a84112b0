"""Columns that are sensed as voltages, as NeuRRAM does it (Wan et al., Nature 608, 504, 2022).

A column that no current leaves settles at the mean of its inputs, weighted by conductances. With x in units of a
full-scale input, w of a full-scale weight and Δ the difference of a pair for that,

    V_j = Σ_i x_i (g⁺_ij - g⁻_ij) / Σ_i (g⁺_ij + g⁻_ij) = Σ_i x_i w_ij / T_j,    T_j = Σ_i (g⁺_ij + g⁻_ij) / Δ

(one-sided pairs: T_j = Σ_i (|w_ij| + 2 g_min / Δ), over the rows that are driven). The ADC converts V_j, and what it
gives is multiplied by T_j digitally: its bound, steps and noise are in units of a full-scale input, and what they are
in a product grows with T_j. T is that of the conductances that devices are programmed to: the chip's published software
fits the factor of every column on the chip, so that T's own errors are none of the product. That they move the steps of
the ADC by a few per cent is left out.
"""

from typing import Any

import numpy as np

from lhc.hardware.description.uniform_machine import Machine
from lhc.hardware.devices.unit_cell import PairedDevices

__all__ = ["column_totals", "totals_of"]


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
