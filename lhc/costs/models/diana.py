"""DIANA (Houshmand et al., JSSC 58(1), 2023) by the analytical model of ODiMO (Risso et al., TCAD 2025).

Cycles of a layer with Ci input and Co output channels, a kernel of kx·ky and Ox·Oy outputs; analog, Ci counts the input
channels of all copies of the weights:

    analog    ceil(Co / 512) · ceil(Ci / 128) · Ox · Oy / u · 70 ns · F + 8 · Ci · kx · ky
    digital   ceil(Co / groups / 16) · Ci · ceil(Ox / 16) · Oy · kx · ky + Ox · Oy · (Co + Ci) / 8

Other operators take the greater of what they read and write, from and to the shared memory; ReLU and the like are
applied where outputs are made, and cost nothing.

u is the greatest of 1, 2, 4, 8 with u · Co <= 512 and (u + kx - 1) · max(64, Ci) · ky <= 1152, else 1. The chip draws
one power while the macro works and another while the digital array does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lhc.costs.digital_operators import Handling
from lhc.costs.models.registry import Power, formulas, power_of
from lhc.costs.number_formats import NumberFormat, NumberFormats
from lhc.costs.units import NOTHING, Cost, LayerCost, total
from lhc.graph import Layer, LayerGraph, MatrixShape, Work
from lhc.hardware import DianaCosts, Hardware

UNROLLS = (8, 4, 2, 1)
"""Neighbouring outputs computed by one product."""


@dataclass(frozen=True)
class Diana:
    """Costs of operators on DIANA."""

    costs: DianaCosts

    def analog(self, layer: Layer, matrix: MatrixShape, copies: int, sums: Sequence[float] | None) -> LayerCost:
        """A layer on the macro; groups one at a time."""
        c, (kx, ky) = self.costs, _kernel(layer)
        channels = copies * matrix.rows // (kx * ky)
        products = math.ceil(matrix.cols / c.macro_cols) * math.ceil(channels / c.macro_channels) * matrix.positions
        seconds = products / self._unroll(channels, matrix.cols, kx, ky) * c.product_ns * 1e-9
        load = c.load_cycles_per_row * copies * matrix.rows / c.clock_mhz * 1e-6
        return LayerCost(
            {
                "weights": self._at(load * matrix.groups, c.analog_mw),
                "product": self._at(seconds * matrix.groups, c.analog_mw),
            }
        )

    def digital(self, layer: Layer, work: Work, numbers: NumberFormat) -> LayerCost:
        """The products of an operator on the digital array, one after the other."""
        products = [self._digital(layer, matrix, numbers) for matrix in (*work.stored, *work.activations)]
        return LayerCost({name: total(part[name] for part in products) for name in ("product", "activations")})

    def _digital(self, layer: Layer, matrix: MatrixShape, numbers: NumberFormat) -> dict[str, Cost]:
        c = self.costs
        # What is counted apart is not the convolution that tiles compute: rows of a ConvTranspose have no kernel.
        kx, ky = _kernel(layer) if layer.counted is None else (1, 1)
        channels = matrix.rows // (kx * ky) * matrix.groups
        width, height = _outputs(matrix.positions)
        cycles = math.ceil(matrix.cols / c.array_size) * channels * math.ceil(width / c.array_size) * height * kx * ky
        moved = matrix.positions * (matrix.cols * matrix.groups + channels)
        return {
            "product": self._at(numbers.cycles * cycles / c.clock_mhz * 1e-6, c.digital_mw),
            "activations": self._at(numbers.bytes * moved / c.io_bytes_per_cycle / c.clock_mhz * 1e-6, c.digital_mw),
        }

    def other(self, layer: Layer, handling: Handling) -> LayerCost | None:
        """Pooling and additions pass through the shared memory; the published model has none."""
        if handling.clips or not self.costs.other_bytes_per_cycle:
            return None
        seconds = handling.elements / self.costs.other_bytes_per_cycle / self.costs.clock_mhz * 1e-6
        return LayerCost({layer.op_type: self._at(seconds, self.costs.digital_mw)})

    @property
    def crossing(self) -> Cost:
        """Macro and array share their memory."""
        return NOTHING

    def _unroll(self, channels: int, cols: int, kx: int, ky: int) -> int:
        c = self.costs
        rows = max(c.least_channels, channels) * ky
        fits = (u for u in UNROLLS if u * cols <= c.macro_cols and (u + kx - 1) * rows <= c.macro_rows)
        return next(fits, 1)

    def _at(self, seconds: float, power_mw: float) -> Cost:
        return Cost(seconds, seconds * power_mw * 1e-3)


@formulas.register
def _(costs: DianaCosts, hardware: Hardware, graph: LayerGraph, numbers: NumberFormats) -> Diana:
    return Diana(costs)


def _kernel(layer: Layer) -> tuple[int, int]:
    """Width and height; anything but a convolution is 1x1."""
    sizes = layer.kernel or (1,)
    return sizes[-1], math.prod(sizes[:-1])


def _outputs(positions: int) -> tuple[int, int]:
    """Width and height of as many outputs: a square where there is one, else one line."""
    side = math.isqrt(positions)
    return (side, side) if side * side == positions else (positions, 1)


@power_of.register
def _(costs: DianaCosts, hardware: Hardware) -> Power:
    return Power(core=costs.digital_mw * 1e-3, tile=costs.analog_mw * 1e-3)
