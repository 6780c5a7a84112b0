"""A placement's form of a network: canonical where a product is analog, as the file has it everywhere else.

Fused operators of onnxruntime round and order otherwise than what they are made of, and some compute in fewer bits:
what is digital in a placement is computed by the operator that the user would run.
"""

from collections.abc import Mapping

import onnx

from lhc.graph import Layer, LayerGraph
from lhc.model import OnnxModel, without_weights
from lhc.onnx_io.operators import kind_of

__all__ = ["placed_form", "placed_proto"]


def placed_form(
    model: OnnxModel, graph: LayerGraph, analog: frozenset[str]
) -> tuple[Mapping[str, onnx.NodeProto], LayerGraph]:
    """The operators of a placement by name, and their graph; shapes of what the file has are not in it.

    Args:
        model: in its canonical form.
        graph: of that form.
        analog: products that are analog.
    """
    nodes = {node.name: node for node in model.proto.graph.node}
    whole = _whole(model, analog)
    if not whole:
        return nodes, graph
    layers: list[Layer] = []
    left = dict(whole)
    for layer in graph.layers:
        if layer.origin is None or layer.origin.node not in whole:
            layers.append(layer)
            continue
        node = left.pop(layer.origin.node, None)  # in the place of its first part
        if node is not None:
            layers.append(Layer(node.name, kind_of(node), tuple(filter(None, node.input)), tuple(node.output)))
    return nodes | whole, LayerGraph(layers, graph.inputs, graph.outputs, graph.nested)


def placed_proto(model: OnnxModel, graph: LayerGraph, analog: frozenset[str]) -> onnx.ModelProto:
    """The same as a model, a copy, without stored tensors that nothing in it reads.

    Arguments as of `placed_form`.
    """
    nodes, placed = placed_form(model, graph, analog)
    proto = without_weights(model.proto)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[layer.name] for layer in placed.layers)
    read = {t for layer in placed.layers for t in layer.inputs} | set(graph.outputs)
    added = set() if model.file is None else {t.name for t in model.proto.graph.initializer[model.file.tensors :]}
    packed = {t for node in _rewritten(model) for t in node.input}
    dropped = (added | packed) - read
    proto.graph.initializer.extend(t for t in model.proto.graph.initializer if t.name not in dropped)
    return proto


def _whole(model: OnnxModel, analog: frozenset[str]) -> dict[str, onnx.NodeProto]:
    """Operators of the file, none of whose products is analog."""
    if model.file is None:
        return {}
    split = {model.file.origins[name].node for name in analog if name in model.file.origins}
    return {node.name: node for node in _rewritten(model) if node.name not in split}


def _rewritten(model: OnnxModel) -> list[onnx.NodeProto]:
    """Operators of the file that have another form in memory."""
    if model.file is None:
        return []
    names = {origin.node for origin in model.file.origins.values()}
    return [node for node in model.file.proto.graph.node if node.name in names]
