"""Cut a network at its analog nodes into the fewest digital segments.

Segments are cut from the original model, before any optimiser sees it: a fusion across an analog node would
change what is analog. What follows from constants alone is computed in every segment that reads it: onnxruntime's
optimisers are then told there what they are told of the whole network.

A placement runs in the order of `steps`: a digital segment, the analog layers behind it, and so on. Tensors wait in
between.
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import onnx

from lhc.costs.crossings import elements
from lhc.graph import RANDOM_OPS, Layer, LayerGraph
from lhc.onnx_model import INITIALIZERS_APART, OnnxModel, captured, operator_graph, upstream_of

if TYPE_CHECKING:
    from lhc.runtime.onnxruntime.library import onnxruntime
    from lhc.runtime.operators.analog_layers import AnalogLayer


@dataclass(frozen=True)
class Segment:
    """Digital layers of one depth, run as one onnxruntime session.

    Attributes:
        layers: their names, in topological order.
        inputs: tensors from outside the segment, constants left out.
        outputs: tensors that others or the user need.
    """

    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


_NEVER_CONSTANT = RANDOM_OPS | {"If", "Loop", "Scan"}
"""Operators that may write something else for the same inputs; bodies may hold such ones."""

Stage = tuple[Segment | None, tuple[str, ...]]
"""Of one depth: its digital segment, None where empty, then its analog layers."""


def cut_graph(
    graph: LayerGraph, analog: frozenset[str], constants: Container[str], with_analog: Collection[str] = ()
) -> list[Stage]:
    """Execution order of a placement, depth by depth; digital operators ``with_analog`` are in no segment."""
    depth = graph.depths(analog)
    levels: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for name in graph.order():
        levels[depth[name]].append(name)
    constant = _constant_tensors(graph, {*analog, *with_analog}, constants)
    stages: list[Stage] = []
    for here in levels:
        digital = [name for name in here if name not in analog and name not in with_analog]
        stages.append((_segment(graph, digital, constant), tuple(n for n in here if n in analog)))
    return stages


def _constant_tensors(graph: LayerGraph, others: Collection[str], constants: Container[str]) -> set[str]:
    """Tensors that follow from constants alone.

    Args:
        others: layers in no segment; those of their inputs that `Constants` cannot compute are not among the tensors.
    """
    import networkx as nx

    held = {tensor for layer in graph.layers for tensor in (*layer.inputs, *layer.outputs) if tensor in constants}
    told = nx.DiGraph((u, v) for u, v, tensor in graph.networkx.edges(data="tensor") if tensor not in held)
    told.add_nodes_from(graph.networkx)
    varying = [layer.name for layer in graph.layers if layer.name in others or _varies(layer, graph, held)]
    reached = set(chain.from_iterable(nx.bfs_layers(told, varying)))
    found = {tensor for layer in graph.layers if layer.name not in reached for tensor in layer.outputs}
    return held | found.difference(*(layer.inputs for layer in graph.layers if layer.name in others))


def _varies(layer: Layer, graph: LayerGraph, held: Container[str]) -> bool:
    """Whether an operator does not follow from constants, whatever those before it do."""
    given = any(tensor not in held and graph.producer(tensor) is None for tensor in layer.inputs)
    return given or not layer.inputs or layer.op_type in _NEVER_CONSTANT


def _segment(graph: LayerGraph, names: list[str], constants: Container[str]) -> Segment | None:
    import networkx as nx

    asked = set(graph.outputs)
    # What computes a constant belongs to every segment that reads it, and to none by itself.
    names = [n for n in names if any(t not in constants or t in asked for t in graph[n].outputs if t)]
    if not names:
        return None
    written = dict.fromkeys(t for name in names for t in graph[name].outputs if t)
    read = dict.fromkeys(t for name in names for t in graph[name].inputs)
    leaving = {tensor for _, _, tensor in nx.edge_boundary(graph.networkx, names, data="tensor")}
    outputs = [t for t in written if t in asked or (t in leaving and t not in constants)]
    if not outputs:
        return None
    inputs = [t for t in read if t not in written and t not in constants]
    return Segment(tuple(names), tuple(inputs), tuple(outputs))


class SegmentModels:
    """The ONNX models of segments of one model."""

    def __init__(
        self, model: OnnxModel, nodes: Mapping[str, onnx.NodeProto], types: Mapping[str, onnx.TypeProto]
    ) -> None:
        """Look up once what every segment asks for.

        Args:
            types: tensor name -> ONNX type, with as much of its shape as is known, for the segments' inputs.
        """
        self._proto, self._nodes, self._types = model.proto, nodes, types
        graph = model.proto.graph
        self._operators = operator_graph(graph)
        self._by_name = {node.name: node for node in graph.node}
        self._stored = {tensor.name: (i, tensor) for i, tensor in enumerate(graph.initializer)}
        self._declared = {value.name: value for value in (*graph.input, *graph.output)}

    def of(self, segment: Segment) -> onnx.ModelProto:
        """The model of one."""
        proto = self._proto
        result = onnx.ModelProto(opset_import=proto.opset_import, functions=proto.functions)
        result.ir_version = max(proto.ir_version, INITIALIZERS_APART)
        result.graph.name = proto.graph.name or "segment"
        result.graph.node.extend(self._constant_nodes(segment))
        result.graph.node.extend(self._nodes[name] for name in segment.layers)
        read = {t for node in result.graph.node for t in (*node.input, *captured(node))}
        stored = dict(self._stored[t] for t in read if t in self._stored)
        result.graph.initializer.extend(stored[place] for place in sorted(stored))
        result.graph.sparse_initializer.extend(t for t in proto.graph.sparse_initializer if t.values.name in read)
        for tensor in segment.inputs:
            known = self._declared.get(tensor)
            result.graph.input.append(known or onnx.ValueInfoProto(name=tensor, type=self._types[tensor]))
        result.graph.output.extend(self._declared.get(t, onnx.ValueInfoProto(name=t)) for t in segment.outputs)
        return result

    def _constant_nodes(self, segment: Segment) -> list[onnx.NodeProto]:
        """Nodes outside that compute constants which it reads and is not given: constants cross no border."""
        own = [self._nodes[name] for name in segment.layers]
        # The model may have another form of the same operator.
        others = [self._by_name[name] for name in segment.layers if name in self._by_name]
        given = {*segment.inputs, *(tensor for node in (*own, *others) for tensor in node.output)}
        read = {tensor for node in own for tensor in (*node.input, *captured(node))}
        return [self._proto.graph.node[number] for number in sorted(upstream_of(self._operators, read, given))]


T = TypeVar("T")


@dataclass(frozen=True)
class NetworkStage:
    """A digital segment, if there is one, and the analog layers that come next.

    Attributes:
        open: makes the segment's session.
    """

    segment: Segment | None
    open: "Callable[[], onnxruntime.InferenceSession] | None"
    analog: "tuple[AnalogLayer, ...]"

    @cached_property
    def session(self) -> "onnxruntime.InferenceSession | None":
        """Session of the segment, made for the first call: some executors only program."""
        return None if self.open is None else self.open()


def independent(layers: "tuple[AnalogLayer, ...]") -> "tuple[AnalogLayer, ...]":
    """Layers that read no output of another of them."""
    written = {layer.written for layer in layers}
    return tuple(layer for layer in layers if written.isdisjoint(read_by(layer)))


def steps(stages: Sequence[NetworkStage]) -> "list[NetworkStage | AnalogLayer]":
    """Segments, which their stages stand for, and analog layers, in their order."""
    found: list[NetworkStage | AnalogLayer] = []
    for stage in stages:
        found += [stage] if stage.segment else []
        found += stage.analog
    return found


def read_by(step: "NetworkStage | AnalogLayer") -> Sequence[str]:
    """Names of the tensors that a step reads."""
    if isinstance(step, NetworkStage):
        return step.segment.inputs if step.segment else ()
    addend = None if step.epilogue is None else step.epilogue.addend
    return (step.activation, *step.digital_inputs, *([] if addend is None else [addend]))


def _written_by(step: "NetworkStage | AnalogLayer") -> Sequence[str]:
    """Names of the tensors that a step writes."""
    if isinstance(step, NetworkStage):
        return step.segment.outputs if step.segment else ()
    return (step.written,)


def release(tensors: dict[str, T], waiting: Counter[str], read: Iterable[str]) -> None:
    """Free tensors after their last use."""
    for name in read:
        waiting[name] -= 1
        if waiting[name] <= 0:
            tensors.pop(name, None)


def waiting_elements(
    before: Iterable[str], later: "Sequence[NetworkStage | AnalogLayer]", last: int, graph: LayerGraph
) -> int:
    """Most elements of a sample that are held between the first ``last`` steps; those of unknown size count nothing.

    Args:
        before: names of the tensors that are there from the start, and stay.
    """
    sizes = elements(graph)

    def size(tensor: str) -> int:
        producer = graph.producer(tensor)
        return sizes[producer] if producer else 0

    waiting = Counter(name for step in later for name in read_by(step))
    held: dict[str, int] = {}
    most = 0
    for step in later[:last]:
        held |= {name: size(name) for name in _written_by(step)}
        release(held, waiting, read_by(step))
        most = max(most, sum(held.values()))
    return sum(map(size, before)) + most
