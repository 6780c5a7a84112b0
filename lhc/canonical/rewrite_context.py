"""Context of a rewrite: an operator, facts about its inputs, and the nodes that take its place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from lhc.onnx_io import Shape
from lhc.onnx_io.operators.operands import NodeAttributes
from lhc.onnx_io.read.constants import Array, Constants
from lhc.onnx_io.read.subgraphs import free_name
from lhc.onnx_model import KEY_PREFIX


@dataclass(eq=False)
class RewriteContext(NodeAttributes):
    """One operator of a model, and the nodes and tensors that a rule puts in its place.

    Attributes:
        node: the operator; its outputs keep their names.
        opset: version of ONNX's operators.
        shape: of a tensor; None where nothing is known.
        taken: names of tensors; new ones are added.
        parts: node -> part of the operator that it computes, for its products.
        control: number of its steps that samples take, where that is known; a rule that does not need it empties it.
        routed: product -> of how many experts a token takes how many, and which one it is of.
        integers_held: names of initializers that hold integers, by these.
        rule_digest: what tells a rule from outside from itself after an edit; empty for lhc's own.
        made_by: the operator that computes a tensor; None where none does.
    """

    node: onnx.NodeProto
    constants: Constants
    opset: int
    shape: Callable[[str], Shape | None]
    taken: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    control: str = ""
    routed: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    integers_held: dict[int | tuple[int, ...], str] = field(default_factory=dict)
    rule_digest: str = ""
    made_by: Callable[[str], onnx.NodeProto | None] = lambda _: None

    def name(self, index: int) -> str:
        """Name of an input; empty where it is not given."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def is_constant(self, index: int) -> bool:
        """Whether an input is given and constant."""
        return bool(self.name(index)) and self.name(index) in self.constants

    def value(self, index: int) -> Array:
        """A constant input."""
        return self.constants.value(self.name(index))

    def shape_of(self, index: int) -> Shape | None:
        """Shape of an input, where it is known."""
        name = self.name(index)
        return self.constants.shape(name) if name in self.constants else self.shape(name)

    def rank(self, index: int) -> int | None:
        """Axes of an input, where they are known."""
        shape = self.shape_of(index)
        return None if shape is None else len(shape)

    def store(self, name: str, array: Array) -> str:
        """A new initializer; its name."""
        unique = self.new_name(name)
        self.tensors.append(numpy_helper.from_array(np.asarray(array, order="C"), unique))
        return unique

    def add(self, op_type: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """A node that is no product by weights; its output."""
        return self._append(
            f"{self.node.name}/{op_type}_{len(self.nodes)}", op_type, inputs, output, domain, attributes
        )

    def product(
        self,
        part: str,
        op_type: str,
        *inputs: str,
        output: str | None = None,
        **attributes: Any,  # noqa: ANN401
    ) -> str:
        """A node that multiplies by weights, of the module that its operator is of; its output.

        Args:
            part: of the operator; empty where it has one, which has the operator's name then.
        """
        name = f"{self.node.name}/{part}" if part else str(self.node.name)
        self.parts[name] = part
        written = self._append(name, op_type, inputs, output, "", attributes)
        told = (entry for entry in self.node.metadata_props if not part or not entry.key.startswith(KEY_PREFIX))
        self.nodes[-1].metadata_props.extend(told)  # what lhc says of the operator is not of a part
        return written

    def _append(
        self,
        name: str,
        op_type: str,
        inputs: tuple[str, ...],
        output: str | None,
        domain: str,
        attributes: Any,  # noqa: ANN401
    ) -> str:
        written = self.new_name(f"{name}.out") if output is None else output
        self.nodes.append(onnx.helper.make_node(op_type, list(inputs), [written], name, domain=domain, **attributes))
        return written

    def new_name(self, name: str) -> str:
        """A name that no tensor has, this one where it is free."""
        return free_name(name, self.taken)

    def numbers(self, values: int | list[int]) -> str:
        """An initializer of integers, one for all that ask for the same."""
        key = tuple(values) if isinstance(values, list) else values
        if key not in self.integers_held:
            self.integers_held[key] = self.store(f"{self.node.name}/numbers", np.array(values, np.int64))
        return self.integers_held[key]

    def unsqueeze(self, x: str, axis: int, output: str | None = None) -> str:
        """The tensor with one more axis of 1."""
        if self.opset < 13:
            return self.add("Unsqueeze", x, axes=[axis], output=output)
        return self.add("Unsqueeze", x, self.numbers([axis]), output=output)

    def cut(self, x: str, start: int, stop: int, axis: int) -> str:
        """Some places along an axis."""
        if self.opset < 10:
            return self.add("Slice", x, starts=[start], ends=[stop], axes=[axis])
        return self.add("Slice", x, *(self.numbers([number]) for number in (start, stop, axis)))


Rule = Callable[[RewriteContext], bool]
"""Puts nodes in place of the site's operator; False, and nothing done, where it does not apply."""


def cut_parts(array: Array, sizes: list[int], axis: int) -> list[Array]:
    """Consecutive parts of these sizes along an axis."""
    return np.split(array, np.cumsum(sizes)[:-1], axis=axis)
