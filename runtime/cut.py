"""Cut a network at its analog nodes into the fewest digital segments.

Segments are cut from the original model, before any optimiser sees it: a fusion across an analog node would
change what is analog.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from lhc.graph import LayerGraph
from lhc.model import OnnxModel, captured
from lhc.onnx_io import Constants

__all__ = ["Segment", "SegmentModels", "Stage", "cut_graph"]


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


Stage = tuple[Segment | None, tuple[str, ...]]
"""Of one depth: its digital segment, None where empty, then its analog layers."""


def cut_graph(
    graph: LayerGraph, analog: frozenset[str], constants: Constants, with_analog: Collection[str] = ()
) -> list[Stage]:
    """Execution order of a placement, depth by depth; digital operators ``with_analog`` are in no segment."""
    depth = graph.depths(analog)
    levels: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for name in graph.order():
        levels[depth[name]].append(name)
    readers: dict[str, list[str]] = {}
    for layer in graph.layers:
        for tensor in layer.inputs:
            readers.setdefault(tensor, []).append(layer.name)
    stages: list[Stage] = []
    for here in levels:
        digital = [name for name in here if name not in analog and name not in with_analog]
        stages.append((_segment(graph, digital, constants, readers), tuple(n for n in here if n in analog)))
    return stages


def _segment(
    graph: LayerGraph, names: list[str], constants: Constants, readers: Mapping[str, list[str]]
) -> Segment | None:
    asked = set(graph.outputs)
    # What computes a constant belongs to every segment that reads it, and to none by itself.
    names = [n for n in names if any(t not in constants or t in asked for t in graph[n].outputs if t)]
    if not names:
        return None
    inside = set(names)
    written = dict.fromkeys(t for name in names for t in graph[name].outputs if t)
    read = dict.fromkeys(t for name in names for t in graph[name].inputs)
    wanted = [t for t in written if t in asked or any(name not in inside for name in readers.get(t, ()))]
    outputs = [t for t in wanted if t not in constants or t in asked]
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
        self._producers = {t: (i, node) for i, node in enumerate(graph.node) for t in node.output if t}
        self._stored = {tensor.name: (i, tensor) for i, tensor in enumerate(graph.initializer)}
        self._declared = {value.name: value for value in (*graph.input, *graph.output)}

    def of(self, segment: Segment) -> onnx.ModelProto:
        """The model of one."""
        proto = self._proto
        result = onnx.ModelProto(opset_import=proto.opset_import, functions=proto.functions)
        result.ir_version = max(proto.ir_version, 4)  # before, initializers were inputs too
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
        own = set(segment.layers)
        found: dict[int, onnx.NodeProto] = {}
        # What the segment writes itself another form of the same operator may write too.
        given = {*segment.inputs, *(t for name in segment.layers for t in self._nodes[name].output)}
        waiting = [t for name in segment.layers for t in (*self._nodes[name].input, *captured(self._nodes[name]))]
        while waiting:
            tensor = waiting.pop()
            place, node = self._producers.get(tensor, (0, None))
            if node is None or tensor in given or node.name in own or place in found:
                continue
            found[place] = node
            waiting += (*node.input, *captured(node))
        return [found[place] for place in sorted(found)]
