"""Cut a network at its analog nodes into the fewest digital segments.

Segments are cut from the original model, before any optimiser sees it: a fusion across an analog node would
change what is analog.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from lhc.graph import LayerGraph
from lhc.model import OnnxModel, captured
from lhc.onnx_io import Constants

__all__ = ["Segment", "Stage", "cut_graph", "segment_model"]


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


def cut_graph(graph: LayerGraph, analog: frozenset[str], constants: Constants) -> list[Stage]:
    """Execution order of a placement, depth by depth."""
    depth = graph.depths(analog)
    order = graph.order()
    stages: list[Stage] = []
    for level in range(max(depth.values(), default=0) + 1):
        here = [name for name in order if depth[name] == level]
        digital = [name for name in here if name not in analog]
        stages.append((_segment(graph, digital, constants), tuple(n for n in here if n in analog)))
    return stages


def _segment(graph: LayerGraph, names: list[str], constants: Constants) -> Segment | None:
    asked = set(graph.outputs)
    # What computes a constant belongs to every segment that reads it, and to none by itself.
    names = [n for n in names if any(t not in constants or t in asked for t in graph[n].outputs if t)]
    if not names:
        return None
    inside = set(names)
    written = {t for name in names for t in graph[name].outputs if t}
    read = dict.fromkeys(t for name in names for t in graph[name].inputs)
    needed = asked | {t for layer in graph.layers if layer.name not in inside for t in layer.inputs}
    wanted = [t for name in names for t in graph[name].outputs if t in needed]
    outputs = [t for t in wanted if t not in constants or t in asked]
    if not outputs:
        return None
    inputs = [t for t in read if t not in written and t not in constants]
    return Segment(tuple(names), tuple(inputs), tuple(outputs))


def segment_model(
    model: OnnxModel, segment: Segment, nodes: Mapping[str, onnx.NodeProto], types: Mapping[str, onnx.TypeProto]
) -> onnx.ModelProto:
    """The ONNX model of one segment.

    Args:
        types: tensor name -> ONNX type, with as much of its shape as is known, for the segment's inputs.
    """
    proto = model.proto
    result = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    result.graph.name = proto.graph.name or "segment"
    result.graph.node.extend(_constant_nodes(proto, segment, nodes))
    result.graph.node.extend(nodes[name] for name in segment.layers)
    read = {t for node in result.graph.node for t in (*node.input, *captured(node))}
    result.graph.initializer.extend(t for t in proto.graph.initializer if t.name in read)
    result.graph.sparse_initializer.extend(t for t in proto.graph.sparse_initializer if t.values.name in read)
    declared = {v.name: v for v in (*proto.graph.input, *proto.graph.output)}
    for tensor in segment.inputs:
        result.graph.input.append(declared.get(tensor) or onnx.ValueInfoProto(name=tensor, type=types[tensor]))
    result.graph.output.extend(declared.get(t, onnx.ValueInfoProto(name=t)) for t in segment.outputs)
    return result


def _constant_nodes(
    proto: onnx.ModelProto, segment: Segment, nodes: Mapping[str, onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """Nodes outside the segment that compute constants which it reads and is not given: constants cross no border."""
    producers = {tensor: node for node in proto.graph.node for tensor in node.output if tensor}
    own = set(segment.layers)
    found: set[str] = set()
    # What the segment writes itself another form of the same operator may write too.
    given = {*segment.inputs, *(t for name in segment.layers for t in nodes[name].output)}
    waiting = [t for name in segment.layers for t in (*nodes[name].input, *captured(nodes[name]))]
    while waiting:
        tensor = waiting.pop()
        node = producers.get(tensor)
        if node is None or tensor in given or node.name in own or node.name in found:
            continue
        found.add(node.name)
        waiting += (*node.input, *captured(node))
    return [node for node in proto.graph.node if node.name in found]
