"""Products that are not operators of the main graph: those in bodies of If, Loop and Scan, and in local functions.

They stay digital. They are listed, and their MACs are counted, each as often as its body is written, so that the analog
share of a network is never told too large: both branches of an If, one turn of a Loop or Scan. An operator goes by its
name, or, where that is none or taken, by ``HOLDER/BRANCH/NAME``, with a suffix where even that is taken.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import onnx

from lhc.graph import CANDIDATE_OPS, Layer, Obstacle
from lhc.model import OnnxModel, subgraphs
from lhc.onnx_io.constants import Constants
from lhc.onnx_io.matrices import Unsized, data_operands, matrix_shape
from lhc.onnx_io.shapes import Shape, declared_shape

__all__ = ["Inner", "inner_nodes", "nested_layers"]


@dataclass(frozen=True)
class Inner:
    """A product inside a body.

    Attributes:
        name: unique in the model.
        node: the operator.
        place: where it is, in words.
        graphs: the bodies that hold it, outermost first.
    """

    name: str
    node: onnx.NodeProto
    place: str
    graphs: tuple[onnx.GraphProto, ...]


def is_product(node: onnx.NodeProto) -> bool:
    """Whether an operator is a MatMul, Gemm, Conv or the like, of ONNX's own domain."""
    return node.op_type in CANDIDATE_OPS and node.domain in ("", "ai.onnx")


def inner_nodes(graph: onnx.GraphProto) -> Iterator[Inner]:
    """All products in the bodies of a graph's operators, in the order of the file."""
    taken = {node.name for node in graph.node}
    for node in graph.node:
        yield from _inside(node, (), taken)


def _inside(holder: onnx.NodeProto, graphs: tuple[onnx.GraphProto, ...], taken: set[str]) -> Iterator[Inner]:
    title = holder.name or next(iter(holder.output), "")
    for branch, graph in subgraphs(holder):
        for index, node in enumerate(graph.node):
            if is_product(node):
                name = _unique(node.name, f"{title}/{branch}/{node.name or f'{node.op_type}_{index}'}", taken)
                yield Inner(name, node, f"in the {branch} of {holder.op_type} {title!r}", (*graphs, graph))
            yield from _inside(node, (*graphs, graph), taken)


def _unique(name: str, path: str, taken: set[str]) -> str:
    new, suffix = name or path, 0
    if new in taken:
        new = path
    while new in taken:
        suffix += 1
        new = f"{path}_{suffix}"
    taken.add(new)
    return new


def nested_layers(model: OnnxModel, inferred: onnx.GraphProto, known: Mapping[str, Shape], samples: int) -> list[Layer]:
    """The products of a model that are no operators of its main graph.

    Args:
        model: the model.
        inferred: its graph without local functions, with the shapes that inference found.
        known: shapes of the main graph's tensors.
        samples: in the batch.
    """
    outside = _Scope(ChainMap(dict(known)), Constants(inferred))
    scopes: dict[int, _Scope] = {}
    layers = []
    for inner in inner_nodes(inferred):
        scope = outside
        for graph in inner.graphs:
            if id(graph) not in scopes:
                scopes[id(graph)] = scope.inside(graph)
            scope = scopes[id(graph)]
        place = f"{inner.place}; only operators of the main graph are placed"
        layers.append(_layer(inner.name, inner.node, scope, samples, place))
    if model.proto.functions:
        own = {(node.op_type, *node.output) for node in model.proto.graph.node}
        place = (
            "in a local function; 'lhc analyze --inline-functions OUT.onnx' writes a model in which it can be placed"
        )
        taken = {layer.name for layer in layers} | {node.name for node in model.proto.graph.node}
        for node in inferred.node:
            if is_product(node) and (node.op_type, *node.output) not in own:
                name = _unique(node.name, f"{node.op_type} {node.output[0]}", taken)
                layers.append(_layer(name, node, outside, samples, place))
    return layers


@dataclass(frozen=True, eq=False)
class _Scope:
    """What is known inside a body: shapes and constants, its own and those around it."""

    shapes: ChainMap[str, Shape]
    constants: Constants
    graph: onnx.GraphProto | None = None  # kept, so that its id stays its own

    def inside(self, graph: onnx.GraphProto) -> "_Scope":
        values = (*graph.value_info, *graph.output, *graph.input)
        own = {v.name: shape for v in values if (shape := declared_shape(v)) is not None}
        return _Scope(self.shapes.new_child(own), Constants(graph, self.constants), graph)

    def shape(self, tensor: str) -> Shape | None:
        if self.constants.is_stored(tensor):
            return self.constants.shape(tensor)
        return self.shapes.get(tensor)


def _layer(name: str, node: onnx.NodeProto, scope: _Scope, samples: int, place: str) -> Layer:
    first, second = (node.input[i] for i in data_operands(node))
    shapes = [scope.shape(tensor) for tensor in (first, second, node.output[0])]
    matrix = None
    if shapes[0] is not None and shapes[1] is not None and shapes[2] is not None:
        operand = 1 if second in scope.constants else 0 if first in scope.constants else None
        with suppress(Unsized, IndexError):
            matrix = matrix_shape(node, operand, shapes[0], shapes[1], shapes[2], samples)
    problem = place if matrix is not None else f"{place}; its MACs depend on sizes that are not known and count nothing"
    inputs, outputs = tuple(filter(None, node.input)), tuple(node.output)
    return Layer(name, node.op_type, inputs, outputs, matrix=matrix, refusal=Obstacle("unsupported", problem))
