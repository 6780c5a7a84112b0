"""The training form of an analog product: the ordinary operator, with the errors of tiles put on top.

Weights carry a chip's errors (`lhc.train.chips`). The output gets normal noise as large as a tile's output noise and
the rounding of its converters together, for every vector in proportion to its own input scale. With d and a the steps
of DAC and ADC, s the input scale, c the scales of a column's row splits, and rounding errors taken as uniform,

    variance = s² · ((noise² + a²/12) · |c|² + d²/12 · |w|²)

Where the hardware's input ranges are static, inputs are clipped to them, and the ranges are trained: a smaller range
clips more and brings less noise. Left out is what saturates at the ADC; evaluations have it.
"""

import math
from collections.abc import Callable

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from lhc.graph import Layer
from lhc.hardware import Adc, Dac, Hardware
from lhc.hardware.geometry import split_sizes
from lhc.runtime.differentiable import OPERATORS
from lhc.runtime.differentiable_ops import Operator
from lhc.runtime.unfold import ConvGeometry
from lhc.train.chips import DrawnMatrix, column_scales

__all__ = ["TrainingProduct", "as_matrix"]

_LEAST_VARIANCE = 1e-24

_MAX_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}


def as_matrix(node: onnx.NodeProto, operand: int, weight: Tensor) -> Tensor:
    """A stored weight as ``(outputs, inputs)``, as `lhc.onnx_io.graphs.weight_matrix` has it."""
    if node.op_type == "Conv":
        return weight.reshape(len(weight), -1)
    if weight.ndim == 1:
        return weight.reshape(1, -1)
    return weight if _is_outputs_first(node, operand) else weight.T


def _is_outputs_first(node: onnx.NodeProto, operand: int) -> bool:
    transposed = any(a.name == ("transB" if operand == 1 else "transA") and a.i for a in node.attribute)
    return transposed == (operand == 1)


class TrainingProduct:
    """One analog Conv, Gemm or MatMul in training.

    Attributes:
        layer: its facts.
        strength: share of the full noise, 0 to 1.
        drawn: the chip of this step.
    """

    def __init__(
        self, node: onnx.NodeProto, layer: Layer, opset: int, hardware: Hardware, input_range: Tensor | None
    ) -> None:
        """Describe the product.

        Args:
            node: the operator.
            layer: its facts; the weight must be known.
            opset: version of the standard operators.
            hardware: as this layer has it.
            input_range: of all row splits, ``()``, where the hardware has static ones.
        """
        assert layer.weight is not None
        self.layer = layer
        self.strength = 1.0
        self.drawn: DrawnMatrix | None = None
        self._node = node
        self._operand = layer.weight.operand
        self._operator = Operator.of(node, opset, layer.name)
        self._hardware = hardware
        self._range = input_range
        self._output_variance = hardware.adc.noise**2 + _rounding(hardware.adc)
        self._input_variance = _rounding(hardware.dac)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The operator's output on the chip that was drawn."""
        assert self.drawn is not None
        matrix = as_matrix(self._node, self._operand, weight)
        scales = column_scales(matrix, self._hardware)
        error = self.strength * self._spread(scales) * self.drawn.errors
        realised = weight + self._stored(error, weight)
        x = self._clipped(x)
        operands = (x, realised) if self._operand == 1 else (realised, x)
        output: Tensor = OPERATORS[self._node.op_type](self._operator, *operands, *(() if bias is None else (bias,)))
        if self._output_variance == 0 and self._input_variance == 0:
            return output
        variance = self._output_variance * (scales * self.drawn.gains).square().sum(1)
        variance = variance + self._input_variance * matrix.square().sum(1)
        # The least keeps the gradient of the root finite where a column is 0.
        return self._with_noise(output, x, self.strength * variance.clamp(min=_LEAST_VARIANCE).sqrt())

    def _spread(self, columns: Tensor) -> Tensor:
        """``(outputs, row splits)`` to ``(outputs, inputs)``."""
        assert self.layer.weight is not None
        inputs = math.prod(self.layer.weight.shape) // len(columns)
        rows = split_sizes(inputs, self._hardware.tiles.rows)
        return torch.repeat_interleave(columns, torch.tensor(rows, device=columns.device), dim=1)

    def _stored(self, matrix: Tensor, weight: Tensor) -> Tensor:
        if self._node.op_type == "Conv" or weight.ndim == 1 or _is_outputs_first(self._node, self._operand):
            return matrix.reshape(weight.shape)
        return matrix.T

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self._range is None else x.clamp(-self._range, self._range)

    def _with_noise(self, output: Tensor, x: Tensor, deviation: Tensor) -> Tensor:
        """The output with its noise; ``deviation`` per output, for an input scale of 1."""
        if self._node.op_type == "Conv":
            spatial = [1] * (output.ndim - 2)
            spread = self._window_scales(x) * deviation.reshape(1, -1, *spatial)
            return torch.addcmul(output, spread, torch.randn_like(output))
        vectors = self._vectors(x)
        scale = self._scales(vectors.abs().amax(-1, keepdim=True))
        noise = torch.randn((*vectors.shape[:-1], len(deviation)), dtype=x.dtype, device=x.device) * scale * deviation
        factor = self._operator.get("alpha", 1.0) if self._node.op_type == "Gemm" else 1.0
        return output + factor * (noise.transpose(-1, -2) if self._operand == 0 else noise).reshape(output.shape)

    def _scales(self, magnitudes: Tensor) -> Tensor:
        """Input scale of vectors by their greatest magnitudes."""
        if self._hardware.dac.scaling == "abs_max":
            return magnitudes
        return torch.ones_like(magnitudes) if self._range is None else self._range.expand_as(magnitudes)

    def _vectors(self, x: Tensor) -> Tensor:
        """The activation with the axis that is multiplied last."""
        if x.ndim == 1:
            return x.reshape(1, -1)
        transposed = bool(self._operator.get("transA" if self._operand == 1 else "transB", 0))
        in_columns = transposed == (self._operand == 1) if self._node.op_type == "Gemm" else self._operand == 0
        return x.transpose(-1, -2) if in_columns else x

    def _window_scales(self, x: Tensor) -> Tensor:
        """Input scale of every window of a convolution, ``(samples, outputs or 1, *positions)``."""
        geometry = ConvGeometry.of(self._node, tuple(self._operator_weight_shape[2:]))
        groups, sizes = geometry.groups, tuple(x.shape[2:])
        magnitudes = x.abs().reshape(len(x), groups, -1, *sizes).amax(2)
        widths = [width for pair in reversed(geometry.padding(sizes)) for width in pair]
        padded = functional.pad(magnitudes, widths) if any(widths) else magnitudes
        pool = _MAX_POOL[len(sizes)]
        scale = self._scales(pool(padded, geometry.kernel, geometry.strides, 0, geometry.dilations))
        outputs = self._operator_weight_shape[0] // groups
        return scale if groups == 1 else scale.repeat_interleave(outputs, dim=1)

    @property
    def _operator_weight_shape(self) -> tuple[int, ...]:
        assert self.layer.weight is not None
        return self.layer.weight.shape


def _rounding(converter: Dac | Adc) -> float:
    """Variance of what a converter's rounding adds, in units of its full scale."""
    if converter.bits is None or converter.bound is None:
        return 0.0
    step = 2 * converter.bound / float(2**converter.bits - 2)
    return step * step / 12
