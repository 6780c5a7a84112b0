"""Bodies of If in the place of their operator, where it is known which branch is taken.

    y = If(c) {then: f(x), else: g(x)}   ->   y = f(x), for calls in which c is true

Names of nodes stay where they are unique, so that products keep the names that `lhc.onnx_io.nested` has for them. What
an engine computes is right only as long as the condition has that value; engines see to it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import onnx
from google.protobuf.message import Message

from lhc.model import OnnxModel, Rewritten, producers_of, subgraphs, without_weights
from lhc.onnx_io.nested import inner_nodes
from lhc.onnx_io.operators import identity
from lhc.onnx_io.weighted import may_multiply

__all__ = ["Written", "holds_products", "open_conditions", "write_out"]

M = TypeVar("M", bound=Message)
_RECURRENT = ("GRU", "LSTM", "RNN")


@dataclass(eq=False)
class Written:
    """The operators of a graph, with bodies in the place of those that held them.

    Attributes:
        nodes: in order.
        tensors: initializers of the bodies.
        rewritten: what held a body that stands in its place; those that hold others come first.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    rewritten: list[Rewritten] = field(default_factory=list)


def open_conditions(model: OnnxModel) -> dict[str, str]:
    """Conditions to be observed, by the name of their If.

    Of those that hold products, and of those that a recurrent layer reads from: its number of steps may hang on them.

    Args:
        model: in its canonical form.
    """
    graph = model.proto.graph
    known = {} if model.file is None else model.file.branches
    ifs = [node for node in graph.node if identity(node) == ("", "If") and node.name not in known]
    if not any(map(holds_products, ifs)) and not known:
        return {}
    above = producers_of(graph, (node.input[0] for node in graph.node if node.op_type in _RECURRENT))
    return {node.name: node.input[0] for node in ifs if node.name in above or holds_products(node)}


def holds_products(node: onnx.NodeProto) -> bool:
    """Whether the bodies of an operator hold one that may multiply."""
    return any(may_multiply(inner) or holds_products(inner) for _, g in subgraphs(node) for inner in g.node)


def write_out(model: OnnxModel, branches: Mapping[str, str]) -> Written:
    """The operators of a model as its file has it, with the bodies of these branches in the place of their If."""
    if not branches:
        return Written(list(model.proto.graph.node))
    return _Writer(model, branches).run()


class _Writer:
    """Writes the bodies of one model out."""

    def __init__(self, model: OnnxModel, branches: Mapping[str, str]) -> None:
        self._branches = branches
        self._graph = without_weights(model.proto).graph
        for inner in list(inner_nodes(self._graph)):
            inner.node.name = inner.name
        self._names = {node.name for node in self._graph.node}
        stored = Counter(tensor.name for tensor in model.proto.graph.initializer)
        written = stored + Counter(_written(self._graph))
        # What is written once only keeps its name; bodies that stay, or come back, have the others.
        self._tensors = {tensor for tensor, times in written.items() if times > 1} | {*_own(self._graph), *stored}
        self._made = Written()

    def run(self) -> Written:
        """All of it."""
        self._made.nodes = [made for node in self._graph.node for made in self._in_place_of(node)]
        return self._made

    def _in_place_of(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        branch = self._branches.get(node.name, "") if identity(node) == ("", "If") else ""
        body = dict(subgraphs(node)).get(branch)
        if body is None or body.sparse_initializer:
            return [node]
        place = len(self._made.rewritten)
        own = _own(body)
        names = {tensor: _unique(tensor, f"{node.name}/{tensor}", self._tensors) for tensor in own}
        for tensor in body.initializer:
            self._made.tensors.append(_copy(tensor))
            self._made.tensors[-1].name = names[tensor.name]
        made = []
        for index, inner in enumerate(body.node):
            copy = _renamed(inner, names)
            stem = inner.name or f"{inner.op_type}_{index}"
            copy.name = _unique(
                inner.name or f"{node.name}/{branch}/{stem}", f"{node.name}/{branch}/{stem}", self._names
            )
            made += self._in_place_of(copy)
        for index, (output, value) in enumerate(zip(node.output, body.output, strict=True)):
            if output:
                name = _unique(f"{node.name}/{index}", f"{node.name}/{index}", self._names)
                made.append(onnx.helper.make_node("Identity", [names.get(value.name, value.name)], [output], name))
        rewritten = Rewritten(node, frozenset(one.name for one in made), branch)
        self._made.rewritten.insert(place, rewritten)
        return made


def _own(graph: onnx.GraphProto) -> list[str]:
    """Tensors that a graph itself holds, is given or writes."""
    held = [value.name for value in (*graph.input, *graph.initializer)]
    return held + [tensor for node in graph.node for tensor in node.output if tensor]


def _written(graph: onnx.GraphProto) -> Iterator[str]:
    """The same with those of the bodies in it."""
    yield from _own(graph)
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from _written(inner)


def _unique(name: str, path: str, taken: set[str]) -> str:
    """The name, or the path to it, or that with a number, whichever is free; it is taken then."""
    unique, number = name, 0
    if unique in taken:
        unique = path
    while unique in taken:
        number += 1
        unique = f"{path}_{number}"
    taken.add(unique)
    return unique


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy with other names of tensors, also where its bodies read them."""
    copy = _copy(node)
    copy.input[:] = [names.get(tensor, tensor) for tensor in node.input]
    copy.output[:] = [names.get(tensor, tensor) for tensor in node.output]
    for _, graph in subgraphs(copy):
        own = {*_own(graph)}
        seen = {old: new for old, new in names.items() if old not in own}
        nodes = [_renamed(inner, seen) for inner in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for value in graph.output:
            value.name = seen.get(value.name, value.name)
    return copy


def _copy(message: M) -> M:
    copy: M = type(message)()
    copy.CopyFrom(message)
    return copy
