"""Functions that find the inputs under every window of a Conv, for any number of spatial axes.

All sizes are read from the input when the model runs, so that open dimensions stay open; onnxruntime computes what is
fixed once, when it loads the model.
"""

from typing import Any, Literal

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.functions.library import Library, Values, attribute_values, sizes

__all__ = ["GEOMETRY", "Same", "same_padding", "window_index", "zero_padding"]

GEOMETRY = ("kernel_shape", "strides", "dilations", "pads")
"""Attributes of a Conv that its function gives on."""
Same = Literal["SAME_UPPER", "SAME_LOWER"]


def zero_padding(library: Library, axes: int) -> ir.Function:
    """``ZeroPadding``: ``(N, C, *sizes)`` with the zeros that ``pads`` asks for."""

    def body(op: OpBuilder, v: Values) -> Any:
        pads = attribute_values(op, "pads")
        return _padded(op, v["x"], op.Slice(pads, [0], [axes]), op.Slice(pads, [axes], [2 * axes]))

    doc = "Zeros around the spatial axes."
    return library.function("ZeroPadding", axes, ("x",), body, doc, ("pads",))


def same_padding(library: Library, how: Same) -> ir.Function:
    """``SamePadding``: zeros so that the output has ceil(size / stride) positions (ONNX Conv, ``auto_pad``)."""

    def body(op: OpBuilder, v: Values) -> Any:
        strides = attribute_values(op, "strides")
        size = sizes(op, v["x"], 2)
        positions = op.Div(op.Sub(op.Add(size, strides), 1), strides)
        needed = op.Add(op.Mul(op.Sub(positions, 1), strides), _extent(op))
        total = op.Max(op.Sub(needed, size), 0, _outputs=["zeros"])
        less = op.Div(total, 2)
        more = op.Sub(total, less)
        return _padded(op, v["x"], *((less, more) if how == "SAME_UPPER" else (more, less)))

    doc = f"Zeros around the spatial axes, as auto_pad = {how} asks for."
    return library.function("SamePadding", how, ("x",), body, doc, ("kernel_shape", "strides", "dilations"))


def window_index(library: Library, axes: int) -> ir.Function:
    """``WindowIndex``: where the inputs of every window lie in an image whose spatial axes are one.

    Two outputs: ``(positions, taps)``, and the sizes of the positions' axes.
    """

    def body(op: OpBuilder, v: Values) -> Any:
        size = sizes(op, v["x"], 2)
        strides, dilations = attribute_values(op, "strides"), attribute_values(op, "dilations")
        kernel = attribute_values(op, "kernel_shape")
        positions = op.Add(op.Div(op.Sub(size, _extent(op, kernel, dilations)), strides), 1, _outputs=["positions"])
        steps = _steps(op, size, axes)
        first = _flat(op, positions, op.Mul(strides, steps), "first")
        taps = _flat(op, kernel, op.Mul(dilations, steps), "taps")
        index = op.Add(op.Unsqueeze(first, [1]), op.Unsqueeze(taps, [0]), _outputs=["index"])
        return [index, positions]

    doc = "Where the inputs under every window lie: (positions, taps), and the sizes of the output."
    return library.function("WindowIndex", axes, ("x",), body, doc, ("kernel_shape", "strides", "dilations"))


def _extent(op: OpBuilder, kernel: Any = None, dilations: Any = None) -> Any:
    """Inputs that a window spans on every axis."""
    kernel = attribute_values(op, "kernel_shape") if kernel is None else kernel
    dilations = attribute_values(op, "dilations") if dilations is None else dilations
    return op.Add(op.Mul(op.Sub(kernel, 1), dilations), 1, _outputs=["extent"])


def _steps(op: OpBuilder, size: Any, axes: int) -> Any:
    """By how much the flat index grows with that of every axis."""
    steps = op.Constant(value_ints=[1])
    for axis in reversed(range(1, axes)):
        behind = op.Slice(steps, [0], [1])
        steps = op.Concat(op.Mul(behind, op.Slice(size, [axis], [axis + 1])), steps, axis=0)
    return steps


def _flat(op: OpBuilder, counts: Any, steps: Any, name: str) -> Any:
    """Flat index of every point of a grid of these sizes, the last axis fastest."""
    grid = op.NonZero(op.ConstantOfShape(counts, value=ir.tensor([1.0])))
    return op.ReduceSum(op.Mul(grid, op.Unsqueeze(steps, [1])), [0], keepdims=0, _outputs=[name])


def _padded(op: OpBuilder, x: Any, before: Any, after: Any) -> Any:
    none = op.Constant(value_ints=[0, 0])
    return op.Pad(x, op.Concat(none, before, none, after, axis=0), _outputs=["padded"])
