"""The training form of an analog product: the ordinary operator, with the errors of tiles put on top.

Weights carry a chip's errors (`lhc.train.chips`). The output gets normal noise as large as a tile's output noise and
the rounding of its converters together, for every vector in proportion to its own input scale. With d and a the steps
of DAC and ADC, s the input scale, c the scales of a column's row splits, and rounding errors taken as uniform,

    variance = s² · ((noise² + a²/12) · |c|² + d²/12 · |w|²)

(noise² + a²/12 of all reads together, where inputs are driven in slices; c times the conductance of the column, where
voltages are sensed: `lhc.hardware.sensing`). It has a gradient with respect to weights and
static ranges; the input scales of single vectors are held constant. Read noise of products (`lhc.hardware.currents`)
is drawn beside it with variance read_noise² Σ_j c_j |w_j| x_j², or read_noise² Σ_j c_j² x_j² / k where it is constant;
its size has no gradient.

With k copies of the weights on n tiles for a row split, c is the scale times √n / k. Where chips are calibrated, the
output is corrected as theirs is: each column gets the mean (and deviation) that it has without errors. They are taken
on every other sample of the batch, at reads of a calibration: those of inference have read noise of their own.

Where the hardware's input ranges are static, inputs are clipped to them, and the ranges are trained: a smaller range
clips more and brings less noise. Left out are what saturates at the ADC and IR drop; evaluations have them.
"""

import math

import onnx
import torch
from torch import Tensor

from lhc.graph import Layer
from lhc.hardware import Hardware
from lhc.hardware.geometry import split_sizes
from lhc.hardware.sensing import column_totals
from lhc.onnx_io.product import Product
from lhc.runtime.chip_calibration import GREATEST_GAIN
from lhc.runtime.differentiable import OPERATORS
from lhc.runtime.differentiable_ops import Operator
from lhc.runtime.unfold import turned, window_peaks
from lhc.train.chips import DrawnMatrix, column_scales

__all__ = ["TrainingProduct"]

_LEAST_VARIANCE = 1e-24


class TrainingProduct:
    """One analog Conv, Gemm or MatMul in training.

    Attributes:
        form: what the operator computes.
        strength: share of the full noise, 0 to 1.
        drawn: the chip of this step.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        layer: Layer,
        opset: int,
        hardware: Hardware,
        input_range: Tensor | None,
        copies: int = 1,
    ) -> None:
        """Describe the product.

        Args:
            layer: its facts; the weight must be known.
            input_range: of all row splits, ``()``, where the hardware has static ones.
        """
        assert layer.weight is not None
        self.layer = layer
        self.strength = 1.0
        self.drawn: DrawnMatrix | None = None
        self.form = Product.of_layer(node, layer)
        self._operator, self._compute = Operator.of(node, opset, layer.name), OPERATORS[node.op_type]
        self._hardware = hardware
        self._range = input_range
        self._copies = copies
        self._corrects = hardware.compensation.outputs if hardware.corrects_outputs else "none"
        self._output_variance = hardware.output_variance
        self._input_variance = hardware.dac.rounding_variance

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The operator's output on the chip that was drawn."""
        assert self.drawn is not None
        matrix = self.form.matrix(weight)
        scales = column_scales(matrix, self._hardware)
        x = self._clipped(x)
        output = self._product(x, self._realised(weight, scales, self.drawn.errors), bias)
        peaks = self._peaks(x.detach(), len(matrix))
        if self._corrects != "none":
            output = self._corrected(output, x, weight, bias, scales, peaks)
        if self._hardware.currents.read_noise > 0:
            output = output + self._read_noise(x, weight, scales * self.drawn.gains)
        if self._output_variance == 0 and self._input_variance == 0:
            return output
        units = (scales * self.drawn.gains * self._totals(matrix, scales)).square()
        variance = (self._output_variance * units * self._reads(scales)).sum(1)
        variance = variance + self._input_variance * matrix.square().sum(1)
        # The least keeps the gradient of the root finite where a column is 0.
        return self._with_noise(output, peaks, self.strength * variance.clamp(min=_LEAST_VARIANCE).sqrt())

    def _realised(self, weight: Tensor, scales: Tensor, errors: Tensor) -> Tensor:
        return weight + self.form.stored(self.strength * self._spread(scales) * errors, weight.shape)

    def _totals(self, matrix: Tensor, scales: Tensor) -> Tensor:
        """What an output of a tile is in units of its full scale, ``(outputs, row splits)``, or 1 for all."""
        if self._hardware.adc.sensing == "current":
            return scales.new_ones(1)
        rows = split_sizes(matrix.shape[1], self._hardware.tiles.rows)
        weights = matrix / self._spread(torch.where(scales > 0, scales, 1.0))
        parts = torch.split(weights, rows, dim=1)
        return torch.stack([column_totals(part, self._hardware) for part in parts], dim=1)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        operands = (x, weight) if self.form.operand == 1 else (weight, x)
        found: Tensor = self._compute(self._operator, *operands, *(() if bias is None else (bias,)))
        return found

    def _read_noise(self, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        """Noise of products; ``scales``: what a full-scale weight is worth, drift compensation included."""
        with torch.no_grad():
            matrix = self.form.matrix(weight).abs()
            worth = self._spread(scales) * matrix
            if self._hardware.currents.constant:
                worth = self._spread(scales.square()) / self._copies
            worth = self.form.stored(worth, weight.shape)
            power = (self.form.alpha * self._product(x.square(), worth, None)).clamp(min=0)
            return self.strength * self._hardware.currents.read_noise * power.sqrt() * torch.randn_like(power)

    def _corrected(
        self, output: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, scales: Tensor, peaks: Tensor
    ) -> Tensor:
        """The output with the moments that it has without errors, per column; gain and offset are held constant.

        Values are weighted as in `lhc.runtime.chip_calibration`; which of them are padding is not known here.
        """
        assert self.layer.weight is not None
        assert self.drawn is not None
        by_sample = x.ndim > 2 or (x.ndim == 2 and not self.form.reads_columns)
        if by_sample and (bias is None or bias.ndim < 2):
            x = x[::2]
            peaks = peaks[::2] if x.ndim > 2 else self._peaks(x, len(scales))
        with torch.no_grad():
            calibrated = self._realised(weight, scales, self.drawn.calibrated)
            found, ideal = (self._product(x, w, bias) for w in (calibrated, weight))
        axis = self.form.output_axis(found.ndim) % found.ndim
        vector = len(self.layer.weight.shape) == 1  # the output has no axis for its one column
        others = [number for number in range(found.ndim) if vector or number != axis]
        square = peaks.square()
        square = square.reshape(found.shape if vector else 1) if vector or x.ndim == 1 else square
        weights = 1 / (square + square.mean()).clamp(min=_LEAST_VARIANCE)
        total = weights.expand_as(found).sum(others, keepdim=True)

        def mean(values: Tensor) -> Tensor:
            return (values * weights).sum(others, keepdim=True) / total

        own, wanted = mean(found), mean(ideal)
        gain = torch.ones_like(own)
        if self._corrects == "affine":
            spreads = [mean((t - m).square()).sqrt() for t, m in ((found, own), (ideal, wanted))]
            varies = (spreads[0] > 0) & (spreads[1] > 0)
            gain = torch.where(varies, spreads[1] / spreads[0].clamp(min=_LEAST_VARIANCE), gain)
            gain = gain.clamp(1 / GREATEST_GAIN, GREATEST_GAIN)
        return output * gain + (wanted - gain * own)

    def _reads(self, scales: Tensor) -> Tensor:
        """Per row split, tiles that its copies lie on over the square of the copies, ``(row splits,)``."""
        assert self.layer.weight is not None
        inputs = math.prod(self.layer.weight.shape) // len(scales)
        rows = self._hardware.tiles.rows
        tiles = [math.ceil(self._copies * size / rows) for size in split_sizes(inputs, rows)]
        return torch.tensor(tiles, dtype=scales.dtype, device=scales.device) / self._copies**2

    def _spread(self, columns: Tensor) -> Tensor:
        """``(outputs, row splits)`` to ``(outputs, inputs)``."""
        assert self.layer.weight is not None
        inputs = math.prod(self.layer.weight.shape) // len(columns)
        rows = split_sizes(inputs, self._hardware.tiles.rows)
        return torch.repeat_interleave(columns, torch.tensor(rows, device=columns.device), dim=1)

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self._range is None else x.clamp(-self._range, self._range)

    def _with_noise(self, output: Tensor, peaks: Tensor, deviation: Tensor) -> Tensor:
        """The output with its noise; ``deviation`` per output, for an input scale of 1."""
        scale = self._scales(peaks)
        if self.form.window is not None:
            spread = scale * deviation.reshape(1, -1, *[1] * (output.ndim - 2))
            return torch.addcmul(output, spread, torch.randn_like(output))
        rows = turned(scale, self.form.writes_columns)
        noise = torch.randn((*rows.shape[:-1], len(deviation)), dtype=rows.dtype, device=rows.device) * rows * deviation
        return output + self.form.alpha * turned(noise, self.form.writes_columns).reshape(output.shape)

    def _scales(self, magnitudes: Tensor) -> Tensor:
        """Input scale of vectors by their greatest magnitudes."""
        if self._hardware.dac.scaling == "abs_max":
            return magnitudes
        return torch.ones_like(magnitudes) if self._range is None else self._range.expand_as(magnitudes)

    def _peaks(self, x: Tensor, outputs: int) -> Tensor:
        """Greatest magnitude of every input vector, of a shape that goes with the output's.

        ``(samples, outputs or 1, *positions)`` for a convolution, else the output's with one output.
        """
        window = self.form.window
        if window is None:
            rows = x.reshape(1, -1) if x.ndim == 1 else turned(x, self.form.reads_columns)
            return turned(rows.abs().amax(-1, keepdim=True), self.form.writes_columns)
        peaks = window_peaks(x, window)
        return peaks if window.groups == 1 else peaks.repeat_interleave(outputs // window.groups, dim=1)
