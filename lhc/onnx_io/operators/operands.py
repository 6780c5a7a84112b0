"""Operands of an operator, shapes and attributes, for counting its MACs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from lhc.onnx_io.operators.matrix_product import Unsized, attribute
from lhc.onnx_io.read.constants import Array, Constants
from lhc.onnx_io.read.shapes import Shape

ATTRIBUTES = -1
"""In place of an input: the weights are attributes of the operator."""


@dataclass(frozen=True)
class Part:
    """One product of an operator.

    Attributes:
        rows: inputs of one product.
        cols: its outputs.
        positions: products in the whole batch, for each group.
        operand: input that may hold its weights; None where two activations are multiplied.
        groups: matrices of that size.
        parameters: weights, where these are not ``rows · cols · groups``.
    """

    rows: int
    cols: int
    positions: int
    operand: int | None = None
    groups: int = 1
    parameters: int | None = None


class NodeAttributes:
    """The attributes of an operator."""

    node: onnx.NodeProto

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute."""
        return attribute(self.node, name, default)

    def number(self, name: str, default: float) -> float:
        """An attribute."""
        return next((float(a.f) for a in self.node.attribute if a.name == name), default)

    def integers(self, name: str) -> list[int]:
        """A list attribute; empty where it is not given."""
        return next((list(a.ints) for a in self.node.attribute if a.name == name), [])

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        return next((a.s.decode(errors="replace") for a in self.node.attribute if a.name == name), default)


@dataclass(frozen=True, eq=False)
class Operands(NodeAttributes):
    """An operator and what is known of its tensors.

    Attributes:
        known: shape of a tensor, None where nothing is known.
    """

    node: onnx.NodeProto
    constants: Constants
    known: Callable[[str], Shape | None]

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def is_stored(self, index: int) -> bool:
        """Whether an input is a constant of the model."""
        return index == ATTRIBUTES or (self.has(index) and self.node.input[index] in self.constants)

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an input.

        Raises:
            Unsized: it is not known, or not in full.
            IndexError: the input is not given.
        """
        if not self.has(index):
            raise IndexError(f"{self.node.op_type} {self.node.name!r} has no input {index}")
        return _sizes(self.known(self.node.input[index]))

    def output(self, index: int = 0) -> tuple[int, ...]:
        """Shape of an output; errors as of `shape`."""
        return _sizes(self.known(self.node.output[index]))

    def size(self, index: int) -> int:
        """Elements of an input; errors as of `shape`."""
        return math.prod(self.shape(index))

    def value(self, index: int) -> Array:
        """A constant input.

        Raises:
            Unsized: it is none.
        """
        if not self.is_stored(index):
            raise Unsized((self.node.input[index],))
        return self.constants.value(self.node.input[index])

    def dtype(self, index: int) -> str:
        """Element type of a constant input, else an empty string."""
        return self.constants.dtype(self.node.input[index]) if self.is_stored(index) else ""

    def floats(self, name: str) -> int:
        """Number of values that an attribute holds."""
        return next((len(a.floats) for a in self.node.attribute if a.name == name), 0)


def _sizes(shape: Shape | None) -> tuple[int, ...]:
    if shape is None:
        raise Unsized(())
    sizes = tuple(size for size in shape if isinstance(size, int))
    if len(sizes) < len(shape):
        raise Unsized(shape)
    return sizes
