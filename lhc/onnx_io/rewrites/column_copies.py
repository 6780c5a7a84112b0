"""Products whose columns are written several times, and whose outputs are the mean of the copies.

A product of C outputs becomes one of k · C with the same weights, a Split and a Mean: the network computes the same to
rounding. On tiles every copy has devices, a converter and a digital scale of its own, so all errors of a column average
out. Copies of rows, whose currents add up in one column, are `lhc.passes.decide.copies`.
"""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import onnx
from onnx import helper

from lhc.graph import LayerGraph
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.read.constants import Constants, store_constant
from lhc.onnx_io.read.subgraphs import free_name
from lhc.onnx_io.write import Store
from lhc.onnx_model import OnnxModel, opset_of, replace_nodes, tensors_read

LEAST_OPSET = 11
"""From which on axes count from behind."""
_MEAN = "/mean"
"""Ends the name of a mean of copies, behind that of its product."""
_COUNTS_PARTS = 18
"""From which on a Split says how many parts it makes."""


def copyable_columns(model: OnnxModel, graph: LayerGraph) -> dict[str, int]:
    """Columns of the products that can be written several times, in file order.

    Left out are convolutions of several groups, products whose weights or bias are computed, read by others as well, or
    in another form than the file's, those in bodies, and those in float64, of which onnxruntime computes no Mean.
    """
    if opset_of(model.proto) < LEAST_OPSET:
        return {}
    proto = model.as_file().graph
    constants, nodes = Constants(proto), {node.name: node for node in proto.node}
    readers = Counter(tensors_read(proto)) + Counter(value.name for value in proto.input)
    found = {}
    for layer in graph.candidates:
        node = nodes.get(layer.name)
        if node is None or layer.weight is None or layer.origin is not None or layer.refusal or layer.matrix is None:
            continue
        form = Product.of_layer(node, layer)
        own = [tensor for tensor in (node.input[form.operand], form.bias) if tensor]
        stored = all(tensor in constants and constants.is_stored(tensor) and readers[tensor] == 1 for tensor in own)
        plain = len(layer.weight.shape) == 2 and not (form.bias and form.writes_columns)
        if stored and layer.weight.dtype != "float64" and form.groups == 1 and (plain or form.window is not None):
            found[layer.name] = layer.matrix.cols
    return found


def copied_columns(model: OnnxModel) -> dict[str, int]:
    """How often the columns of products are written, by product, where `with_copied_columns` wrote them."""
    graph = model.in_file.graph
    makers = {output: node for node in graph.node for output in node.output}
    found = {}
    for mean in graph.node:
        split = makers.get(mean.input[0]) if mean.op_type == "Mean" else None
        if split is not None and split.op_type == "Split" and list(split.output) == list(mean.input):
            product = makers.get(split.input[0])
            if product is not None and mean.name == product.name + _MEAN:
                found[product.name] = len(mean.input)
    return found


def with_copied_columns(
    model: OnnxModel, graph: LayerGraph, copies: Mapping[str, int], store: Store
) -> onnx.ModelProto:
    """The network with the columns of some products written several times.

    Args:
        copies: how often, of some of `copyable_columns`.
    """
    proto = deepcopy(model.as_file())
    constants, nodes, changed = Constants(model.as_file().graph), [], dict[str, onnx.TensorProto]()
    taken = {tensor for node in proto.graph.node for tensor in (*node.input, *node.output)} | {""}
    for node in proto.graph.node:
        nodes.append(node)
        count = copies.get(node.name, 1)
        if count == 1:
            continue
        layer = graph[node.name]
        assert layer.matrix is not None
        form, columns = Product.of_layer(node, layer), layer.matrix.cols
        for tensor in (node.input[form.operand], form.bias):
            if tensor:
                values = constants.value(tensor)
                axis = 0 if tensor != form.bias and form.outputs_first else -1
                if values.ndim and values.shape[axis] == columns:  # not a number that is added to all outputs
                    changed[tensor] = store(tensor, np.concatenate([values] * count, axis))
        output = node.output[0]
        wanted = (f"{output}.{end}" for end in ("copies", *range(count)))
        whole, *parts = (free_name(name, taken) for name in wanted)
        node.output[0] = whole
        axis = 1 if form.window is not None else -2 if form.writes_columns else -1
        split = helper.make_node("Split", [whole], parts, f"{node.name}/split", axis=axis)
        if opset_of(proto) >= _COUNTS_PARTS:
            split.attribute.append(helper.make_attribute("num_outputs", count))
        nodes.append(split)
        nodes.append(helper.make_node("Mean", parts, [output], node.name + _MEAN))
    replace_nodes(proto.graph, nodes)
    for tensor_proto in changed.values():
        store_constant(proto.graph, tensor_proto)
    for value in [value for value in proto.graph.value_info if value.name in changed]:
        proto.graph.value_info.remove(value)
    return proto
