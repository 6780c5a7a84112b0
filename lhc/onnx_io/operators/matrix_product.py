"""One product by a stored weight, whatever operator it is written as: matrix, groups, convolution geometry, sizes.

For every vector x of the activation, with W the weights as ``(outputs, inputs)``::

    y = alpha * W x + beta * bias

Conv, Gemm and MatMul differ in where they keep W and x; nothing but this module knows how:

============================  =========  ==============  ==================  ==================
operator                      operand    stored weight   reads               writes
============================  =========  ==============  ==================  ==================
Conv                          1          outputs first   windows             channels
``x @ w``                     1          inputs first    rows of x           rows
``w @ x``                     0          outputs first   columns of x        columns
Gemm with transB / transA     weight's   the other way   the other way of x  as without it
============================  =========  ==============  ==================  ==================

`matrix_shape` is the shape of its matrix on tiles, and how often it is used.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import onnx

from lhc.errors import ModelError
from lhc.graph import Layer, MatrixShape
from lhc.onnx_io.read.shapes import Dim, Shape


@dataclass(frozen=True)
class ConvGeometry:
    """Attributes of a Conv, one number per spatial axis (two for pads: before and after)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, kernel: tuple[int, ...]) -> "ConvGeometry":
        """Attributes of a Conv (or pooling) node, with ONNX's defaults; ``kernel`` is the weight's spatial shape.

        Raises:
            ModelError: they are not as many as the kernel has axes, or of sizes that are none.
        """
        values = _attributes(node)
        axes = len(kernel)
        pads = list(values.get("pads", [0] * 2 * axes))
        for name, count, least in (("strides", axes, 1), ("dilations", axes, 1), ("pads", 2 * axes, -(2**31))):
            given = values.get(name)
            if given is not None and (len(given) != count or not all(least <= number < 2**31 for number in given)):
                raise ModelError(
                    f"{node.op_type} {node.name!r}: {name} {list(given)} do not fit a kernel of {axes} axes; no runtime"
                    " runs this model"
                )
        groups = values.get("group", 1)
        if groups < 1:
            raise ModelError(f"{node.op_type} {node.name!r}: group is {groups}, which must be at least 1")
        return cls(
            kernel,
            tuple(values.get("strides", [1] * axes)),
            tuple(values.get("dilations", [1] * axes)),
            tuple(zip(pads[:axes], pads[axes:], strict=True)),
            values.get("auto_pad", b"NOTSET").decode() or "NOTSET",
            groups,
        )

    @property
    def explicit(self) -> bool:
        """Whether the padding is that of `pads`, whatever the size of the input."""
        return self.auto_pad == "NOTSET"

    def without_padding(self) -> "ConvGeometry":
        """Geometry for an image that has its padding."""
        return replace(self, pads=((0, 0),) * len(self.pads), auto_pad="NOTSET")

    def every(self, step: int, sizes: tuple[int, ...]) -> "ConvGeometry":
        """Geometry of every so many-th position along every axis, for inputs of these sizes."""
        strides = tuple(stride * step for stride in self.strides)
        return replace(self, strides=strides, pads=self.padding(sizes), auto_pad="NOTSET")

    def padding(self, sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Zeros before and after every spatial axis, for inputs of these sizes (ONNX Conv, auto_pad)."""
        if self.explicit:
            return self.pads
        if self.auto_pad == "VALID":
            return tuple((0, 0) for _ in sizes)
        result = []
        for size, k, s, d in zip(sizes, self.kernel, self.strides, self.dilations, strict=True):
            total = max(0, (math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size)
            less, more = total // 2, total - total // 2
            result.append((less, more) if self.auto_pad == "SAME_UPPER" else (more, less))
        return tuple(result)

    def output_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        return tuple(
            (size + before + after - (k - 1) * d - 1) // s + 1
            for size, (before, after), k, s, d in zip(
                sizes, self.padding(sizes), self.kernel, self.strides, self.dilations, strict=True
            )
        )


POINTWISE = ConvGeometry((1,), (1,), (1,), ((0, 0),), "NOTSET", 1)
"""Of a MatMul or Gemm, whose samples are positions of a sequence."""


class _Array(Protocol):
    """Protocol of arrays: numpy's arrays and torch's tensors."""

    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> Any: ...  # noqa: ANN401 - a tuple of one library, a subclass of tuple of the other
    @property
    def T(self) -> Any: ...  # noqa: ANN401, N802 - named by both libraries
    def reshape(self, shape: Any, /) -> Any: ...  # noqa: ANN401


_A = TypeVar("_A", bound=_Array)


@dataclass(frozen=True)
class Product:
    """A Conv, Gemm or MatMul with a stored weight.

    Attributes:
        operand: the input that is the weight: 1, or 0 where it stands on the left.
        activation: the tensor that is multiplied.
        bias: the tensor that is added: bias of a Conv, C of a Gemm; None where there is none.
        outputs_first: whether the stored weight has outputs on its first axis and inputs behind, or the other way.
        reads_columns: whether the vectors that are multiplied are the columns of the activation, not its rows.
        writes_columns: whether their products are the columns of the output, not its rows.
        window: of a convolution, whose vectors are the windows of the activation; None for the product of matrices.
        alpha: factor of the product.
        beta: factor of the bias.
        rank: axes that the activation must have; None where the operator takes several numbers of axes.
    """

    operand: int
    activation: str
    bias: str | None
    outputs_first: bool
    reads_columns: bool
    writes_columns: bool
    window: ConvGeometry | None = None
    alpha: float = 1.0
    beta: float = 1.0
    rank: int | None = None

    def output_axis(self, axes: int) -> int:
        """The axis of the operator's output that the outputs of the matrix lie on, of so many axes."""
        if self.window is not None:
            return 1
        return -2 if self.writes_columns and axes > 1 else -1

    def per_output(self, values: _A, axes: int) -> _A:
        """One number per output of the matrix, ``(outputs,)``, shaped to meet an operator's output of so many axes."""
        if values.shape[0] == 1:
            single: _A = values.reshape(())
            return single
        behind = axes - 2 if self.window is not None else -1 - self.output_axis(axes)
        shaped: _A = values.reshape((-1, *(1,) * behind))
        return shaped

    @classmethod
    def of(cls, node: onnx.NodeProto, operand: int, shape: tuple[int, ...]) -> "Product":
        """Describe a Conv, Gemm or MatMul.

        Raises:
            ModelError: weights and attributes do not fit each other.
        """
        axes = {"Gemm": range(2, 3), "Conv": range(3, 100)}.get(node.op_type)
        if axes is not None and len(shape) not in axes:
            raise ModelError(
                f"{node.op_type} {node.name!r}: weight {node.input[operand]!r} has {len(shape)} axes; no runtime runs"
                " this model"
            )
        on_left = operand == 0
        activation = str(node.input[1 - operand])
        bias = next((name for name in node.input[2:3] if name), None)
        if node.op_type == "Conv":
            window = ConvGeometry.of(node, tuple(shape[2:]))
            if shape[0] % window.groups:
                raise ModelError(
                    f"Conv {node.name!r}: {shape[0]} outputs do not divide into {window.groups} groups; no runtime runs"
                    " this model"
                )
            return cls(operand, activation, bias, True, False, False, window, rank=len(shape))
        outputs_first = on_left != _is_transposed(node, operand)
        reads_columns = on_left != _is_transposed(node, 1 - operand)
        if node.op_type != "Gemm":
            return cls(operand, activation, bias, outputs_first, reads_columns, on_left)
        given = _attributes(node)
        alpha, beta = float(given.get("alpha", 1.0)), float(given.get("beta", 1.0))
        return cls(operand, activation, bias, outputs_first, reads_columns, on_left, None, alpha, beta, rank=2)

    @classmethod
    def of_layer(cls, node: onnx.NodeProto, layer: Layer) -> "Product":
        """Product of a layer whose weight is known."""
        assert layer.weight is not None
        return cls.of(node, layer.weight.operand, layer.weight.shape)

    @property
    def groups(self) -> int:
        """Groups of a convolution, each with a matrix of its own; 1 for others."""
        return 1 if self.window is None else self.window.groups

    def matrix(self, stored: _A) -> _A:
        """The weights as they are programmed onto tiles, a view.

        Args:
            stored: as the file has them: (O, I/groups, ...kernel) of a Conv, a matrix, or a vector (one output).

        Returns:
            ``(outputs, inputs)``; the groups of a convolution one below the other.
        """
        if self.window is not None:
            flat: _A = stored.reshape((stored.shape[0], math.prod(stored.shape[1:])))
            return flat
        if stored.ndim == 1:
            line: _A = stored.reshape((1, -1))
            return line
        turned: _A = stored if self.outputs_first else stored.T
        return turned

    def stored(self, matrix: _A, shape: tuple[int, ...]) -> _A:
        """The reverse of `matrix`: values ``(outputs, inputs)`` in the shape of the stored weight, a view."""
        values: _A = (matrix if self.outputs_first else matrix.T).reshape(shape)
        return values


def _is_transposed(node: onnx.NodeProto, operand: int) -> bool:
    """Whether one of the first two inputs is transposed before it is multiplied (``transA``, ``transB``)."""
    return any(a.name == ("transA", "transB")[operand] and a.i != 0 for a in node.attribute)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Unsized(Exception):  # noqa: N818 - caught where it is known whether sizes may be missing
    """Raised with the sizes that a matrix depends on and that are not numbers."""


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((a.i for a in node.attribute if a.name == name), default)


def data_operands(node: onnx.NodeProto) -> tuple[int, int]:
    """Indices of the inputs that a product multiplies; quantised ones have scales and zero points between them."""
    return (0, 3) if node.op_type in ("QLinearConv", "QLinearMatMul") else (0, 1)


def matrix_shape(
    node: onnx.NodeProto, operand: int | None, first: Shape, second: Shape, out: Shape, samples: int
) -> MatrixShape:
    """Rows, columns, groups and products per sample of a product.

    Args:
        operand: which of the two is its constant matrix, if any.
        first: shape of the first thing that is multiplied.

    Raises:
        Unsized: with what is not known.
        IndexError: shapes of too few axes.
        ModelError: a Gemm whose factors do not fit, which shape inference lets pass.
    """
    group = max(attribute(node, "group", 1), 1)
    if "Transpose" in node.op_type:
        weight, rest = _sizes(second, (first[0], *first[2:]))
        return MatrixShape(weight[0] // group, math.prod(weight[1:]), group, _share(rest, samples))
    if "Conv" in node.op_type:
        weight, rest = _sizes(second, (out[0], *out[2:]))
        return MatrixShape(math.prod(weight[1:]), weight[0] // group, group, _share(rest, samples))
    inner = first[0 if node.op_type == "Gemm" and _is_transposed(node, 0) else -1]
    if node.op_type == "Gemm":
        _check_fit(node, inner, second[1 if _is_transposed(node, 1) else 0])
    (rows,), sizes = _sizes((inner,), out)
    if operand == 0:
        cols = 1 if len(first) == 1 else sizes[-1 if len(second) == 1 else -2]
    else:
        cols = 1 if len(second) == 1 else sizes[-1]
    return MatrixShape(rows, cols, 1, _share(sizes, samples, cols))


def _share(sizes: tuple[int, ...], samples: int, cols: int = 1) -> int:
    """A sample's share of the positions of outputs, rounded up: some products are the same for all samples."""
    return -(-(math.prod(sizes) // max(cols, 1)) // samples)


def _check_fit(node: onnx.NodeProto, first: Dim, second: Dim) -> None:
    if isinstance(first, int) and isinstance(second, int) and first != second:
        raise ModelError(f"Gemm {node.name!r} multiplies rows of {first:,} by columns of {second:,}")


def _sizes(first: Shape, second: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    left = tuple(d for d in first if isinstance(d, int))
    right = tuple(d for d in second if isinstance(d, int))
    if len(left) + len(right) < len(first) + len(second):
        raise Unsized((*first, *second))
    return left, right
