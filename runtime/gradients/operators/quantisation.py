"""Quantising and rounding as differentiable torch functions: the gradient goes straight through the rounding.

Integers are held as float32, so that they carry gradients; they have the values of the operators' definition (onnx,
docs/Operators.md). Where a value is beyond the range of the integers its gradient is 0.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from lhc.runtime.gradients.operators.elementwise import TORCH_DTYPES, Function, Operator


def _along(op: Operator, parameter: Tensor, x: Tensor) -> Tensor:
    """A scale or zero point per tensor, per axis or in blocks, in a shape that goes with x."""
    axis, block = op.get("axis", 1), op.get("block_size", 0)
    if parameter.numel() == 1:
        return parameter.reshape(())
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return parameter.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def _dequantise(op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    values = x.to(scale.dtype)
    if zero is not None:
        values = values - _along(op, zero, x).to(scale.dtype)
    return values * _along(op, scale, x)


def _quantise(op: Operator, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    dtype = torch.uint8 if zero is None else zero.dtype
    if "output_dtype" in op.attributes and zero is None:
        dtype = TORCH_DTYPES.get(op.attributes["output_dtype"], torch.float32)
    if dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32):
        raise op.unsupported(f"it quantises to {dtype}")
    exact = x / _along(op, scale, x)
    shift = 0.0 if zero is None else _along(op, zero, x).to(x.dtype)
    limits = torch.iinfo(dtype)
    return _within(_rounded(exact) + shift, limits.min, limits.max)


def _dynamic(op: Operator, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: the range of the tensor itself, which is held constant in gradients."""
    values = x.detach()
    low, high = values.min().clamp(max=0.0), values.max().clamp(min=0.0)
    scale = (high - low) / 255.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return _within(_rounded(x / scale) + zero, 0, 255), scale, zero


def _rounded(x: Tensor) -> Tensor:
    """Half to even."""
    return x + (torch.round(x) - x).detach()


def _within(codes: Tensor, least: float, most: float) -> Tensor:
    """Codes in their range; the gradient of those at its ends is 1, which `torch.clamp` gives in some versions only."""
    return torch.where((codes >= least) & (codes <= most), codes, codes.detach().clamp(least, most))


def _of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """QLinearAdd and the like: each operand, then the output, with its scale and zero point."""

    def computed(op: Operator, *inputs: Tensor | None) -> Tensor:
        first, second, (scale, zero) = inputs[:3], inputs[3:6], (*inputs[6:], None)[:2]
        return _quantise(op, function(_dequantise(op, *first), _dequantise(op, *second)), scale, zero)  # type: ignore[arg-type]  # the schema says which are given

    return computed


def _of_one(function: Callable[[Operator, Tensor], Tensor]) -> Function:
    """QLinearSigmoid and the like: the operand, then the output, with its scale and zero point."""

    def computed(op: Operator, *inputs: Tensor | None) -> Tensor:
        (scale, zero) = (*inputs[3:], None)[:2]
        return _quantise(op, function(op, _dequantise(op, *inputs[:3])), scale, zero)  # type: ignore[arg-type]  # as above

    return computed


def _joined(op: Operator, scale: Tensor, zero: Tensor, *inputs: Tensor) -> Tensor:
    """QLinearConcat: scale and zero point of the output, then every part with its own."""
    parts = [_dequantise(op, *inputs[place : place + 3]) for place in range(0, len(inputs), 3)]
    return _quantise(op, torch.cat(parts, op.attributes["axis"]), scale, zero)


def _mean(op: Operator, x: Tensor) -> Tensor:
    last = op.get("channels_last", 0)
    return x.mean(tuple(range(1, x.ndim - 1) if last else range(2, x.ndim)), keepdim=True)


QUANTISED: Mapping[str, Function] = {
    "DequantizeLinear": _dequantise,
    "DynamicQuantizeLinear": _dynamic,
    "QuantizeLinear": _quantise,
    "Round": lambda op, x: _rounded(x) if x.is_floating_point() else x,
}
QLINEAR: Mapping[str, Function] = {
    "DequantizeLinear": _dequantise,
    "QLinearAdd": _of_two(torch.add),
    "QLinearConcat": _joined,
    "QLinearGlobalAveragePool": _of_one(_mean),
    "QLinearLeakyRelu": _of_one(lambda op, x: functional.leaky_relu(x, op.get("alpha", 0.01))),
    "QLinearMul": _of_two(torch.mul),
    "QLinearSigmoid": _of_one(lambda op, x: torch.sigmoid(x)),
    "QuantizeLinear": _quantise,
}
"""Operators of ``com.microsoft`` on integers, by name (onnxruntime, docs/ContribOperators.md)."""
