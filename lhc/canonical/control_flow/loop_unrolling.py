"""Loop unrolling: the trip count of a Loop or a Scan, inputs of every iteration, and outputs from all of them.

A Loop is written out where its trip count alone decides when it is left, or a condition on what is counted from
constants (as tf2onnx writes while-loops). The count is constant, or known from samples; then iterations are numbered by
Reshape(Range(0, n, 1), (count)), which fails for any other n. A Scan's inputs are cut by Split into as many pieces as
there are iterations, which fails for inputs of another length (onnx, docs/Operators.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lhc.onnx_io import Shape
from lhc.onnx_io.operators.mac_counting import MOST_STEPS
from lhc.onnx_io.operators.matrix_product import attribute
from lhc.onnx_io.read.constants import Array, Constants

MOST_ITERATIONS = MOST_STEPS
"""Iterations that are written out."""
ANY_ITERATIONS = 64
"""Iterations of any body."""
_SCAN_OPSET = 9
"""Since which a Scan is of one sequence: in opset 8 it has a batch of them, and their lengths as an input."""
MOST_NODES = 2**14
"""Nodes of all iterations together, where there are more iterations than that."""

_COUNTING: Mapping[str, Callable[..., Any]] = {
    "Add": lambda node, a, b: a + b,
    "And": lambda node, a, b: a & b,
    "Cast": lambda node, a: a.astype(
        helper.tensor_dtype_to_np_dtype(next(at.i for at in node.attribute if at.name == "to"))
    ),
    "Equal": lambda node, a, b: a == b,
    "Greater": lambda node, a, b: a > b,
    "Identity": lambda node, a: a,
    "Less": lambda node, a, b: a < b,
    "LessOrEqual": lambda node, a, b: a <= b,
    "Not": lambda node, a: ~a,
    "Or": lambda node, a, b: a | b,
    "Sub": lambda node, a, b: a - b,
}
"""Arithmetic of conditions and of what they count."""

Nodes = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]
Namer = Callable[[str, str], str]


@dataclass(eq=False)
class UnrolledLoop:
    """A Loop or Scan of known trip count.

    Attributes:
        node: Loop or Scan.
        count: the number of iterations.
        is_open: whether the file leaves the count open.
        opset: version of ONNX's operators.
        states: what goes from iteration to iteration, at the start.
        next_states: of the body, what goes into the next iteration.
        collected: of the body, what is put together over iterations.
    """

    node: onnx.NodeProto
    body: onnx.GraphProto
    count: int
    is_open: bool
    opset: int
    states: tuple[str, ...]
    next_states: tuple[str, ...]
    collected: tuple[str, ...]

    def __post_init__(self) -> None:
        self._of_iteration: list[list[str]] = []
        """By iteration: what its first inputs (of a Loop) or its last ones (of a Scan) are given."""

    def before(self, namer: Namer) -> Nodes:
        """Operators and initializers before the first iteration; ``namer`` gives tensors names that nobody has."""
        nodes: list[onnx.NodeProto] = []
        tensors: list[onnx.TensorProto] = []
        if self.node.op_type == "Loop":
            self._count(nodes, tensors, namer)
        else:
            self._cut(nodes, tensors, namer)
        return nodes, tensors

    def given(self, iteration: int, states: list[str]) -> dict[str, str]:
        """Inputs of the body in one iteration."""
        own = self._of_iteration[iteration]
        tensors = [*own, *states] if self.node.op_type == "Loop" else [*states, *own]
        return {value.name: tensor for value, tensor in zip(self.body.input, tensors, strict=True)}

    def behind(self, collected: list[list[str]], namer: Namer) -> Nodes:
        """Operators and initializers behind the last iteration, for what is put together."""
        nodes: list[onnx.NodeProto] = []
        tensors: list[onnx.TensorProto] = []
        axes, backwards = (self._integers(f"scan_output_{name}", len(collected)) for name in ("axes", "directions"))
        for number, every in enumerate(collected):
            output = self.node.output[len(self.states) + number]
            if not output:
                continue
            pieces = [
                self._reshaped("Unsqueeze", tensor, axes[number], nodes, tensors, namer)
                for tensor in (reversed(every) if backwards[number] else every)
            ]
            nodes.append(
                helper.make_node("Concat", pieces, [output], f"{self.node.name}/Concat_{number}", axis=axes[number])
            )
        return nodes, tensors

    def _count(self, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], namer: Namer) -> None:
        """The number of each iteration, and a true condition."""
        name, (number, condition) = self.node.name, self.body.input[:2]
        axes = [(1,) * len(value.type.tensor_type.shape.dim) for value in (number, condition)]
        true = self._stored(np.ones(axes[1], np.bool_), tensors, namer)
        counted = ""
        if self.is_open:
            zero, one = (self._stored(np.array(value, np.int64), tensors, namer) for value in (0, 1))
            scalar = self._stored(np.zeros(0, np.int64), tensors, namer)
            names = ("limit", "range", "iterations")
            limit, every, counted = (namer(f"{name}/{what}", f"{name}/{what}") for what in names)
            size = self._stored(np.array([self.count], np.int64), tensors, namer)
            nodes += [
                helper.make_node("Reshape", [self.node.input[0], scalar], [limit], f"{name}/limit"),
                helper.make_node("Range", [zero, limit, one], [every], f"{name}/range"),
                helper.make_node("Reshape", [every, size], [counted], f"{name}/only_{self.count}_iterations"),
            ]
        for iteration in range(self.count):
            index = self._stored(np.full(axes[0], iteration, np.int64), tensors, namer)
            if counted:
                gathered = namer(f"{name}/iteration_{iteration}", f"{name}/iteration_{iteration}")
                nodes.append(helper.make_node("Gather", [counted, index], [gathered], f"{name}/iteration_{iteration}"))
                index = gathered
            self._of_iteration.append([index, true])

    def _cut(self, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], namer: Namer) -> None:
        """Slices of the scanned inputs, one for each iteration."""
        scanned = self.node.input[len(self.states) :]
        axes, backwards = (self._integers(f"scan_input_{name}", len(scanned)) for name in ("axes", "directions"))
        by_input = []
        for number, tensor in enumerate(scanned):
            stem = f"{self.node.name}/cut_{number}"
            pieces = [namer(f"{stem}/{iteration}", f"{stem}/{iteration}") for iteration in range(self.count)]
            sizes = [1] * self.count
            more: dict[str, Any] = {"split": sizes} if self.opset < 13 else {}
            inputs = [tensor] if more else [tensor, self._stored(np.array(sizes, np.int64), tensors, namer)]
            name = f"{stem}_into_{self.count}"
            nodes.append(helper.make_node("Split", inputs, pieces, name, axis=axes[number], **more))
            found = [self._reshaped("Squeeze", piece, axes[number], nodes, tensors, namer) for piece in pieces]
            by_input.append(found[::-1] if backwards[number] else found)
        self._of_iteration = [[of_input[iteration] for of_input in by_input] for iteration in range(self.count)]

    def _integers(self, name: str, count: int) -> list[int]:
        found = next((list(a.ints) for a in self.node.attribute if a.name == name), [])
        return found or [0] * count

    def _reshaped(
        self,
        op_type: str,
        tensor: str,
        axis: int,
        nodes: list[onnx.NodeProto],
        tensors: list[onnx.TensorProto],
        namer: Namer,
    ) -> str:
        output = namer(f"{tensor}/{op_type.lower()}", f"{self.node.name}/{tensor}/{op_type.lower()}")
        name = f"{self.node.name}/{op_type}_{output}"
        if self.opset < 13:
            nodes.append(helper.make_node(op_type, [tensor], [output], name, axes=[axis]))
        else:
            axes = self._stored(np.array([axis], np.int64), tensors, namer)
            nodes.append(helper.make_node(op_type, [tensor, axes], [output], name))
        return output

    def _stored(
        self, array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", tensors: list[onnx.TensorProto], namer: Namer
    ) -> str:
        name = namer(f"{self.node.name}/number", f"{self.node.name}/number")
        tensors.append(numpy_helper.from_array(array, name))
        return name


def unroll(
    node: onnx.NodeProto,
    body: onnx.GraphProto,
    told: str,
    constants: Constants,
    producers: Mapping[str, onnx.NodeProto],
    shapes: Mapping[str, Shape],
    opset: int,
) -> UnrolledLoop | None:
    """A Loop or Scan with its trip count; None where that is too great, not known, or not to be told in advance.

    Args:
        told: the trip count that samples take; empty where nobody knows.
    """
    if any(not value.type.HasField("tensor_type") for value in body.input):
        return None
    known = _loop_count(node, constants) if node.op_type == "Loop" else _scan_count(node, shapes)
    count = known if known is not None else int(told) if told.isdigit() else 0
    most = max(ANY_ITERATIONS, min(MOST_ITERATIONS, MOST_NODES // len(body.node)))
    outputs = tuple(value.name for value in body.output)
    if node.op_type == "Scan":
        if not 0 < count <= most or opset < _SCAN_OPSET:
            return None
        size = len(node.input) - attribute(node, "num_scan_inputs", 0)
        states = tuple(node.input[:size])
        return UnrolledLoop(node, body, count, known is None, opset, states, outputs[:size], outputs[size:])
    states = tuple(node.input[2:])
    counts = any(body.input[0].name in inner.input for inner in body.node)
    left = _left_after(node, body, constants, producers, min(count, most + 1))
    if not all(states) or left is None or not 0 < left <= most:
        return None
    if known is None and (left < count or not counts or opset < 11):
        return None
    size = len(states) + 1
    return UnrolledLoop(node, body, left, known is None, opset, states, outputs[1:size], outputs[size:])


def _loop_count(node: onnx.NodeProto, constants: Constants) -> int | None:
    limit = node.input[0]
    if not limit:
        return MOST_ITERATIONS + 1  # its condition alone decides
    return int(constants.value(limit).reshape(-1)[0]) if limit and limit in constants else None


def _scan_count(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    axes = next((list(a.ints) for a in node.attribute if a.name == "scan_input_axes"), []) or [0]
    shape = shapes.get(node.input[len(node.input) - attribute(node, "num_scan_inputs", 0)])
    size = shape[axes[0]] if shape is not None and axes[0] < len(shape) else None
    return size if isinstance(size, int) else None


def _left_after(
    node: onnx.NodeProto, body: onnx.GraphProto, constants: Constants, above: Mapping[str, onnx.NodeProto], count: int
) -> int | None:
    """Iterations after which a Loop is left; None where more decides than constants and what is counted from them."""
    first = node.input[1] if len(node.input) > 1 else ""
    start = _counted(first, {}, constants, above) if first else np.array(True)
    if start is None or not start.reshape(-1)[0]:
        return None
    inside = Constants(body, constants)
    producers = {tensor: inner for inner in body.node for tensor in inner.output}
    number, condition, *states = (value.name for value in body.input)
    goes_on, *after = (value.name for value in body.output)
    known: dict[str, Array | None] = {condition: start}
    known |= {s: constants.value(t) for s, t in zip(states, node.input[2:], strict=False) if t in constants}
    for iteration in range(count):
        known[number] = np.array(iteration)
        more = _counted(goes_on, known, inside, producers)
        if more is None:
            return None
        if not more.reshape(-1)[0]:
            return iteration + 1
        last = {s: _counted(t, known, inside, producers) for s, t in zip(states, after, strict=False)}
        known = {condition: more, **last}
    return count


def _counted(
    tensor: str, known: dict[str, Array | None], inside: Constants, producers: Mapping[str, onnx.NodeProto]
) -> Array | None:
    """A tensor of an iteration, where arithmetic of counters makes it from constants and what is known; else None."""
    if tensor not in known and tensor in inside:
        known[tensor] = inside.value(tensor)
    if tensor not in known:
        node = producers.get(tensor)
        function = None if node is None or node.domain not in ("", "ai.onnx") else _COUNTING.get(node.op_type)
        known[tensor] = None
        if node is not None and function is not None:
            values = [_counted(t, known, inside, producers) for t in node.input]
            if all(value is not None for value in values):
                known[tensor] = np.asarray(function(node, *values))
    return known[tensor]
