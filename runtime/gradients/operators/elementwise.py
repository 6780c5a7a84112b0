"""ONNX operators as differentiable torch functions: elementwise arithmetic, logic, activations and reductions.

Every function takes an `Operator` and the operator's inputs as tensors (None where an optional one is left out) and
gives the operator's output, or a tuple of them. Semantics are those of the operator's definition in the ONNX standard,
opset 7 to the newest. What the standard itself defines by other operators (Attention, …) is inlined before it comes
here, unless it has a function of its own for speed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from lhc.errors import ModelError
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.operators.im2col import shared


class UnsupportedOperatorError(ModelError):
    """An operator, or a form of one, that has no differentiable torch function here."""


Function = Callable[..., Any]
"""``(operator, *inputs) -> output or outputs``."""


@dataclass(frozen=True, eq=False)
class Operator:
    """A node of the graph, decoded.

    Attributes:
        node: as it is in the model.
        opset: version of the standard operators that the model imports.
        attributes: by name; texts as str, tensors as onnx has them.
        label: names the model in messages.
    """

    node: onnx.NodeProto
    opset: int
    attributes: Mapping[str, Any]
    label: str

    @classmethod
    def of(cls, node: onnx.NodeProto, opset: int, label: str) -> "Operator":
        """Decode a node."""
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}
        return cls(node, opset, attributes, label)

    def get(self, name: str, default: Any) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def unsupported(self, what: str) -> UnsupportedOperatorError:
        """The error of a form that has no function here."""
        domain = "" if self.node.domain in ("", "ai.onnx") else f"{self.node.domain}::"
        # Nodes that came from inlining a function have no name, but outputs called after the function's.
        name = self.node.name or next(iter(self.node.output), "")
        return UnsupportedOperatorError(
            f"{self.label}: {domain}{self.node.op_type} {name!r} cannot be differentiated: {what}; what needs"
            " gradients does not work for this model"
        )


def integers(tensor: Tensor) -> list[int]:
    """Values of a small integer tensor."""
    return [int(value) for value in tensor.reshape(-1).tolist()]


TORCH_DTYPES: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float32,
    TensorProto.BFLOAT16: torch.float32,
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT16: torch.int16,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}
"""Types that ONNX's are computed in; half precision in float32, since gradients are below what 16 bits hold."""

_NUMPY_DTYPES = {
    "float16": np.float32, "bfloat16": np.float32, "int4": np.int8, "uint4": np.uint8, "int2": np.int8,
    "uint2": np.uint8,
}  # fmt: skip
"""The same for stored values, and types that hold those which torch cannot take from numpy."""


def tensor_of(values: Array) -> Tensor:
    """Values in the type that they are computed in, in the same memory where that is theirs; not to be written to."""
    return shared(values.astype(_NUMPY_DTYPES.get(values.dtype.name, values.dtype), copy=False))


def _plain(function: Callable[..., Any]) -> Function:
    """A torch function of the inputs alone."""
    return lambda op, *inputs: function(*inputs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """A function of two tensors, for any number of them."""
    return lambda op, *inputs: reduce(function, inputs)


def _div(op: Operator, a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _pow(op: Operator, base: Tensor, exponent: Tensor) -> Tensor:
    """The result has the type of the base."""
    return torch.pow(base, exponent).to(base.dtype)


def _mod(op: Operator, a: Tensor, b: Tensor) -> Tensor:
    """``fmod = 1``: the sign of the dividend, else that of the divisor."""
    return torch.fmod(a, b) if op.get("fmod", 0) else torch.remainder(a, b)


def _is_inf(op: Operator, x: Tensor) -> Tensor:
    positive = torch.isposinf(x) if op.get("detect_positive", 1) else torch.zeros_like(x, dtype=torch.bool)
    return positive | torch.isneginf(x) if op.get("detect_negative", 1) else positive


def _clip(op: Operator, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds are attributes before opset 11."""
    bounds = [
        torch.tensor(op.attributes[name], dtype=x.dtype) if given is None and name in op.attributes else given
        for name, given in (("min", low), ("max", high))
    ]
    return x if bounds[0] is None and bounds[1] is None else torch.clamp(x, bounds[0], bounds[1])


def _selu(op: Operator, x: Tensor) -> Tensor:
    alpha, gamma = op.get("alpha", 1.67326319217681884765625), op.get("gamma", 1.05070102214813232421875)
    scaled: Tensor = gamma * functional.elu(x, alpha)
    return scaled


def _shrink(op: Operator, x: Tensor) -> Tensor:
    bias, bound = op.get("bias", 0.0), op.get("lambd", 0.5)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


def _dropout(
    op: Operator, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if training is not None and bool(training):
        raise op.unsupported("it is in training mode")
    return x, torch.ones_like(x, dtype=torch.bool)


def _product(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, dim=axis, keepdim=keep)
    return x


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Function:
    """A reduction over axes: an attribute or the second input; all of them where there are none.

    Args:
        function: ``(x, axes, keepdims) -> reduced``; the axes may be none, which reduces nothing.
    """

    def reduced(op: Operator, x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = op.get("axes", None) if given is None else integers(given)
        if not axes:
            axes = [] if op.get("noop_with_empty_axes", 0) else list(range(x.ndim))
        return function(x, [axis % x.ndim for axis in axes], bool(op.get("keepdims", 1)))

    return reduced


def _over(function: Callable[..., Tensor]) -> Callable[[Tensor, list[int], bool], Tensor]:
    """torch takes no axes for all of them; here they mean that nothing is reduced."""
    return lambda x, axes, keep: function(x, axes, keepdim=keep) if axes else x


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype) if axes else x


def _reduced_mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keep) if axes else x
    return torch.div(_sum(x, axes, keep), math.prod(x.shape[axis] for axis in axes), rounding_mode="trunc")


def _norm(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """Euclidean; unlike a square root of a sum its gradient at 0 is 0."""
    if not x.is_floating_point():
        return torch.sqrt(_sum(x * x, axes, keep).double()).to(x.dtype)
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keep) if axes else x.abs()


# fmt: off
_CALLED_SO_IN_TORCH = (
    "Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp",
    "Floor", "IsNaN", "Log", "Mul", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh",
    "Sqrt", "Sub", "Tan", "Tanh",
)
_CALLED_SO_IN_FUNCTIONAL = ("HardSwish", "Mish", "Softplus", "Softsign")
# fmt: on

ELEMENTWISE: Mapping[str, Function] = {
    **{name: _plain(getattr(torch, name.lower())) for name in _CALLED_SO_IN_TORCH},
    **{name: _plain(getattr(functional, name.lower())) for name in _CALLED_SO_IN_FUNCTIONAL},
    "And": _plain(torch.logical_and),
    "Celu": lambda op, x: functional.celu(x, op.get("alpha", 1.0)),
    "Clip": _clip,
    "Div": _div,
    "Dropout": _dropout,
    "Elu": lambda op, x: functional.elu(x, op.get("alpha", 1.0)),
    "Equal": _plain(torch.eq),
    "Gelu": lambda op, x: functional.gelu(x, approximate=op.get("approximate", "none")),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": lambda op, x: (op.get("alpha", 0.2) * x + op.get("beta", 0.5)).clamp(0, 1),
    "Identity": _plain(lambda x: x),
    "IsInf": _is_inf,
    "LeakyRelu": lambda op, x: functional.leaky_relu(x, op.get("alpha", 0.01)),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Max": _folded(torch.maximum),
    "Mean": lambda op, *inputs: reduce(torch.add, inputs) / len(inputs),
    "Min": _folded(torch.minimum),
    "Mod": _mod,
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "PRelu": lambda op, x, slope: torch.where(x >= 0, x, slope * x),
    "Pow": _pow,
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": _reduction(_norm),
    "ReduceLogSum": _reduction(lambda x, axes, keep: torch.log(_sum(x, axes, keep))),
    "ReduceLogSumExp": _reduction(_over(torch.logsumexp)),
    "ReduceMax": _reduction(_over(torch.amax)),
    "ReduceMean": _reduction(_reduced_mean),
    "ReduceMin": _reduction(_over(torch.amin)),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sum": _folded(torch.add),
    "Swish": lambda op, x: x * torch.sigmoid(op.get("alpha", 1.0) * x),
    "ThresholdedRelu": lambda op, x: functional.threshold(x, op.get("alpha", 1.0), 0.0),
    "Where": lambda op, condition, a, b: torch.where(condition.bool(), a, b),
    "Xor": _plain(torch.logical_xor),
}
