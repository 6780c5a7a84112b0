"""Products outside the main graph: in bodies of If, Loop and Scan, and in local functions.

It stays digital. It is listed, and its MACs are counted, as often as its body is written: both branches of an If, and
one iteration of a Loop or Scan, which is said not to be all of it. What a Loop or Scan carries on unchanged is the
constant that it starts with. An operator goes by its name, or, where that is none or taken, by ``HOLDER/BRANCH/NAME``,
with a suffix where even that is taken.
"""

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import onnx

from lhc.graph import CANDIDATE_OPS, Layer, Obstacle, Work
from lhc.onnx_io.operators.matrix_product import Unsized, data_operands, matrix_shape
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_io.operators.operator_table import NO_SIZES, found_in, may_multiply
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import Shape, declared_shape
from lhc.onnx_model import OnnxModel, subgraphs

_ITERATIONS = (
    "it can be placed where the file or samples (--data) tell the number of iterations, at most 64, and nothing else"
    " ends them"
)
_HINTS = {
    "If": "samples (--data) tell which branch calls take, and what lies in that can be placed",
    "Loop": _ITERATIONS,
    "Scan": _ITERATIONS,
}
"""By the operator that holds a body: when what lies in it can be placed."""
_LOOPS = ("Loop", "Scan")


@dataclass(frozen=True)
class Inner:
    """An operator inside a body that multiplies, or that lhc does not know.

    Attributes:
        name: unique in the model.
        place: where it is, in words.
        graphs: the bodies that hold it, outermost first.
        holders: the operators whose bodies they are.
    """

    name: str
    node: onnx.NodeProto
    place: str
    graphs: tuple[onnx.GraphProto, ...]
    holders: tuple[onnx.NodeProto, ...]

    @property
    def repeats(self) -> bool:
        """Whether it may run several times a call."""
        return any(holder.op_type in _LOOPS for holder in self.holders)


def is_product(node: onnx.NodeProto) -> bool:
    """Whether an operator is a MatMul, Gemm, Conv or the like, of ONNX's own domain."""
    return node.op_type in CANDIDATE_OPS and node.domain in ("", "ai.onnx")


def inner_nodes(graph: onnx.GraphProto) -> Iterator[Inner]:
    """All operators in the bodies of others that may multiply, in the order of the file."""
    taken = {node.name for node in graph.node}
    for node in graph.node:
        yield from _inside((node,), (), taken)


def _inside(
    holders: tuple[onnx.NodeProto, ...], graphs: tuple[onnx.GraphProto, ...], taken: set[str]
) -> Iterator[Inner]:
    holder = holders[-1]
    title = holder.name or next(iter(holder.output), "")
    for branch, graph in subgraphs(holder):
        for index, node in enumerate(graph.node):
            if may_multiply(node):
                path = f"{title}/{branch}/{node.name or f'{node.op_type}_{index}'}"
                name = free_name(node.name or path, taken, path)
                place = f"in the {branch} of {holder.op_type} {title!r}"
                yield Inner(name, node, place, (*graphs, graph), holders)
            yield from _inside((*holders, node), (*graphs, graph), taken)


def free_name(name: str, taken: set[str], path: str | None = None) -> str:
    """The name, or the path to it, or that with a number, whichever is free; it is taken then."""
    path = name if path is None else path
    free, number = path if name in taken else name, 0
    while free in taken:
        number += 1
        free = f"{path}_{number}"
    taken.add(free)
    return free


def nested_layers(model: OnnxModel, inferred: onnx.GraphProto, known: Mapping[str, Shape], samples: int) -> list[Layer]:
    """Products of a model outside its main graph.

    Args:
        inferred: its graph without local functions, with the shapes that inference found.
        known: shapes of the main graph's tensors.
    """
    outside = _Scope(ChainMap(dict(known)), Constants(inferred))
    scopes: dict[int, _Scope] = {}
    layers: list[Layer] = []
    for inner in inner_nodes(inferred):
        scope = outside
        for holder, graph in zip(inner.holders, inner.graphs, strict=True):
            if id(graph) not in scopes:
                scopes[id(graph)] = scope.inside(graph, holder)
            scope = scopes[id(graph)]
        hint = _HINTS.get(inner.holders[-1].op_type, "only operators of the main graph are placed")
        found = _layers(inner.name, inner.node, scope, samples, f"{inner.place}; {hint}")
        layers += map(_once, found) if inner.repeats else found
    layers += _not_taken(model, outside)
    if model.proto.functions:
        own = {(node.op_type, *node.output) for node in model.proto.graph.node}
        inlining = "'lhc analyze --inline-functions OUT.onnx' writes a model in which it can be placed"
        taken = {layer.name for layer in layers} | {node.name for node in model.proto.graph.node}
        for node in inferred.node:
            if may_multiply(node) and (node.op_type, *node.output) not in own:
                path = f"{node.op_type} {next(filter(None, node.output), '')}"
                name = free_name(node.name or path, taken, path)
                place = f"in a local function; {inlining}" if is_product(node) else "in a local function"
                layers += _layers(name, node, outside, samples, place)
        layers += _not_inlined(model, inferred)
    return layers


def _not_inlined(model: OnnxModel, inferred: onnx.GraphProto) -> Iterator[Layer]:
    """Calls of functions that are written for other versions of operators, which onnx does not inline."""
    multiplying = {(f.domain, f.name) for f in model.proto.functions if any(map(may_multiply, f.node))}
    why = "in a local function for other versions of operators than the model's; what it multiplies counts nothing"
    refusal, work = Obstacle("unsupported", why), Work(missing="operator")
    for index, node in enumerate(inferred.node):
        if (node.domain, node.op_type) in multiplying:
            inputs, outputs = tuple(filter(None, node.input)), tuple(node.output)
            yield Layer(
                f"{kind_of(node)} (call {index})", kind_of(node), inputs, outputs, refusal=refusal, counted=work
            )


def _not_taken(model: OnnxModel, outside: "_Scope") -> Iterator[Layer]:
    """Products in branches of an If that calls do not take; they count nothing."""
    if model.file is None or all(taken.isdigit() for taken in model.file.control.values()):
        return
    graph = model.proto.graph
    kept = {node.name for node in graph.node} | {inner.name for inner in inner_nodes(graph)}
    kept |= {origin.node for origin in model.file.origins.values()}
    for inner in inner_nodes(model.file.proto.graph):
        if inner.name in kept:
            continue
        scope = outside
        for holder, body in zip(inner.holders, inner.graphs, strict=True):
            scope = scope.inside(body, holder)
        place = f"{inner.place}; calls that the plan is for take other branches"
        for layer in _layers(inner.name, inner.node, scope, 1, place):
            weights = layer.work.weights if layer.work else ()
            parameters = sum(math.prod(scope.constants.shape(name)) for name in weights)
            work = Work(parameters=parameters, weights=weights)
            yield replace(layer, refusal=Obstacle("unsupported", place), counted=work)


@dataclass(frozen=True, eq=False)
class _Scope:
    """Shapes and constants known inside a body: its own and those around it."""

    shapes: ChainMap[str, Shape]
    constants: Constants
    graph: onnx.GraphProto | None = None  # kept, so that its id stays its own
    carried: Mapping[str, str] = field(default_factory=dict)

    def inside(self, graph: onnx.GraphProto, holder: onnx.NodeProto) -> "_Scope":
        values = (*graph.value_info, *graph.output, *graph.input)
        own = {v.name: shape for v in values if (shape := declared_shape(v)) is not None}
        carried = {name: self.stored_name(start) for name, start in _unchanged(holder, graph).items()}
        constants = Constants(graph, self.constants, carried)
        return _Scope(self.shapes.new_child(own), constants, graph, {**self.carried, **carried})

    def stored_name(self, tensor: str) -> str:
        """The constant that a tensor is in every iteration; itself where it is no such."""
        return self.carried.get(tensor, tensor)

    def shape(self, tensor: str) -> Shape | None:
        if self.constants.is_stored(tensor):
            return self.constants.shape(tensor)
        return self.shapes.get(tensor)


def _unchanged(holder: onnx.NodeProto, body: onnx.GraphProto) -> dict[str, str]:
    """Values that a Loop or Scan carries unchanged: input of the body -> what it starts with."""
    if holder.op_type not in _LOOPS:
        return {}
    before, after = 2, 1  # of a Loop: count and condition, and whether it goes on
    states = len(holder.input) - before
    if holder.op_type == "Scan":
        before = after = 0
        states = len(holder.input) - next((a.i for a in holder.attribute if a.name == "num_scan_inputs"), 0)
    copies = {node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"}
    found = {}
    starts = holder.input[before : before + states]
    for start, own, end in zip(starts, body.input[before:], body.output[after:], strict=False):
        carried = end.name
        while carried in copies:
            carried = copies[carried]
        if carried == own.name:
            found[own.name] = start
    return found


def _once(layer: Layer) -> Layer:
    """A layer of a body that may run several times, as it is counted: once, and not in full."""
    work, refusal = layer.counted, layer.refusal
    if work is None or work.missing is not None or refusal is None:
        return layer
    told = replace(refusal, detail=f"{refusal.detail}; one iteration is counted, since nobody knows how many there are")
    return replace(layer, counted=replace(work, missing="iterations"), refusal=told)


def _layers(name: str, node: onnx.NodeProto, scope: _Scope, samples: int, place: str) -> Iterator[Layer]:
    """The operator as a layer, unless it multiplies nothing."""
    if is_product(node):
        work = _product(node, scope, samples)
        place = f"{place}; {NO_SIZES}" if work.missing else place
    else:
        found = found_in(node, scope.constants, scope.shape, samples)
        if found is None:
            return
        work = found[0]
        place = f"{place}; {found[1].detail}"
    inputs, outputs = tuple(filter(None, node.input)), tuple(node.output)
    yield Layer(name, kind_of(node), inputs, outputs, refusal=Obstacle("unsupported", place), counted=work)


def _product(node: onnx.NodeProto, scope: _Scope, samples: int) -> Work:
    """Products of a MatMul, Gemm, Conv or the like."""
    first, second = (node.input[i] for i in data_operands(node))
    stored = next((i for i, tensor in ((1, second), (0, first)) if tensor in scope.constants), None)
    weights = () if stored is None else (scope.stored_name((first, second)[stored]),)
    shapes = [scope.shape(tensor) for tensor in (first, second, node.output[0])]
    if shapes[0] is not None and shapes[1] is not None and shapes[2] is not None:
        with suppress(Unsized, IndexError):
            matrix = matrix_shape(node, stored, shapes[0], shapes[1], shapes[2], samples)
            if stored is None:
                return Work(activations=(matrix,))
            return Work((matrix,), parameters=matrix.parameters, weights=weights)
    return Work(weights=weights, missing="sizes")
