"""Control flow that a file leaves open and samples decide: branches of If, trip counts, recurrent steps."""

from dataclasses import dataclass

import onnx

from lhc.canonical.control_flow.inlining import holds_products
from lhc.errors import DataError
from lhc.onnx_io.operators.mac_counting import kept_whole
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_io.operators.operator_table import STEPWISE
from lhc.onnx_io.read.constants import Array, Constants
from lhc.onnx_io.read.shapes import Shape, inferred_shapes
from lhc.onnx_model import OnnxModel, producers_of

_ON_REQUEST = frozenset({("com.microsoft", "DynamicQuantizeLSTM")})
OPEN = STEPWISE | _ON_REQUEST | {("", "If"), ("", "Loop"), ("", "Scan")}
"""Operators that a file may leave something open of."""


@dataclass(frozen=True)
class UnresolvedChoice:
    """A value or a size that decides a branch or a trip count.

    Attributes:
        tensor: whose value or size it is.
        axis: of the size; None for the value.
        is_condition: whether the value chooses a branch.
    """

    tensor: str
    axis: int | None = None
    is_condition: bool = False

    def size_in(self, shape: Shape | None) -> int | None:
        """The size, where a shape of the tensor tells it."""
        size = shape[self.axis] if shape is not None and self.axis is not None and self.axis < len(shape) else None
        return size if isinstance(size, int) else None

    def answer(self, array: Array) -> str:
        """Answer to an open choice by a tensor's values, as `lhc.plan.Plan.control` has it.

        Raises:
            DataError: the tensor has no value, or no such axis.
        """
        if array.size == 0 if self.axis is None else array.ndim <= self.axis:
            raise DataError(f"{self.tensor!r} is {list(array.shape)}, which tells nothing")
        if self.axis is not None:
            return str(array.shape[self.axis])
        value = array.reshape(-1)[0]
        return ("then_branch" if value else "else_branch") if self.is_condition else str(int(value))


def unresolved_control_flow(model: OnnxModel, dequantize: bool = False) -> dict[str, UnresolvedChoice]:
    """Choices that samples must decide, by the name of the operator.

    Conditions of those If that hold products, and of those that a recurrent operator reads from, since its number of
    steps may hang on them; iterations of a Loop or Scan that holds products; steps of recurrent operators.

    Args:
        model: in its canonical form.
        dequantize: whether operators on integers are rewritten too.
    """
    recurrent_kinds = STEPWISE | _ON_REQUEST if dequantize else STEPWISE
    graph = model.proto.graph
    known = {} if model.file is None else model.file.control
    nodes = [node for node in graph.node if identity(node) in OPEN and node.name not in known]
    if not nodes:
        return {}
    constants = Constants(graph)
    recurrent = [
        node for node in nodes if identity(node) in recurrent_kinds and kept_whole(node, constants.__contains__) is None
    ]
    held = [node for node in nodes if holds_products(node)]
    asked = {node.name: _of_holder(node) for node in held}
    if recurrent:
        above = producers_of(graph, (node.input[0] for node in recurrent))
        asked |= {n.name: _of_holder(n) for n in nodes if n.op_type == "If" and n.name in above}
        shapes = inferred_shapes(model)
        for node in recurrent:
            axis = 1 if any(a.name == "layout" and a.i for a in node.attribute) else 0
            shape = shapes.get(node.input[0])
            if shape is None or len(shape) != 3 or not isinstance(shape[axis], int):
                asked[node.name] = UnresolvedChoice(node.input[0], axis)
    return {name: found for name, found in asked.items() if found is not None and found.tensor}


def _of_holder(node: onnx.NodeProto) -> UnresolvedChoice | None:
    if node.op_type != "Scan":
        return UnresolvedChoice(node.input[0], is_condition=node.op_type == "If")
    integers = {a.name: list(a.ints) or [a.i] for a in node.attribute}
    first = len(node.input) - integers["num_scan_inputs"][0]
    return UnresolvedChoice(node.input[first], integers.get("scan_input_axes", [0])[0])
