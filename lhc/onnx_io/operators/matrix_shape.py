"""Weight matrix of a product: its shape on tiles, and how often it is used."""

import math

import onnx

from lhc.errors import ModelError
from lhc.graph import MatrixShape
from lhc.onnx_io.operators.matrix_product import is_transposed
from lhc.onnx_io.read.shapes import Dim, Shape

__all__ = ["Unsized", "attribute", "data_operands", "matrix_shape"]


class Unsized(Exception):  # noqa: N818 - caught where it is known whether sizes may be missing
    """Sizes that a matrix depends on are not numbers; they are the argument."""


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((a.i for a in node.attribute if a.name == name), default)


def data_operands(node: onnx.NodeProto) -> tuple[int, int]:
    """Which inputs of a product are multiplied; quantised ones have scales and zero points between them."""
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
        return MatrixShape(weight[0] // group, math.prod(weight[1:]), group, math.prod(rest) // samples)
    if "Conv" in node.op_type:
        weight, rest = _sizes(second, (out[0], *out[2:]))
        return MatrixShape(math.prod(weight[1:]), weight[0] // group, group, math.prod(rest) // samples)
    inner = first[0 if node.op_type == "Gemm" and is_transposed(node, 0) else -1]
    if node.op_type == "Gemm":
        _check_fit(node, inner, second[1 if is_transposed(node, 1) else 0])
    (rows,), sizes = _sizes((inner,), out)
    if operand == 0:
        cols = 1 if len(first) == 1 else sizes[-1 if len(second) == 1 else -2]
    else:
        cols = 1 if len(second) == 1 else sizes[-1]
    return MatrixShape(rows, cols, 1, math.prod(sizes) // samples // max(cols, 1))


def _check_fit(node: onnx.NodeProto, first: Dim, second: Dim) -> None:
    if isinstance(first, int) and isinstance(second, int) and first != second:
        raise ModelError(f"Gemm {node.name!r} multiplies rows of {first:,} by columns of {second:,}")


def _sizes(first: Shape, second: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    left = tuple(d for d in first if isinstance(d, int))
    right = tuple(d for d in second if isinstance(d, int))
    if len(left) + len(right) < len(first) + len(second):
        raise Unsized((*first, *second))
    return left, right
