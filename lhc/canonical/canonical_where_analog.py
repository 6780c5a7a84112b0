"""A placement's form of a network: canonical where a product is analog, as the file has it everywhere else.

Fused operators of onnxruntime round and order otherwise than what they are made of, and some compute in fewer bits:
what is digital in a placement is computed by the operator that the user would run.
"""

from collections.abc import Container, Iterable, Mapping

import onnx

from lhc.canonical.control_flow.inlining import holds_products
from lhc.graph import Layer, LayerGraph
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_model import OnnxModel, Rewritten, captured, with_nodes

Placed = tuple[str, onnx.NodeProto]
"""The name of a node of the model in memory, and what was made of it."""


def placed_form(
    model: OnnxModel, graph: LayerGraph, analog: frozenset[str]
) -> tuple[Mapping[str, onnx.NodeProto], LayerGraph]:
    """The operators of a placement by name, and their graph; shapes of what the file has are not in it.

    What decides which branches are taken is among the outputs of the graph.

    Args:
        model: in its canonical form.
    """
    nodes = {node.name: node for node in model.proto.graph.node}
    if model.file is None:
        return nodes, graph
    whole = _whole(model, analog)
    layers: list[Layer] = []
    for layer in graph.layers:
        node = whole.get(layer.name)
        if node is None:
            layers.append(layer)
        elif not layers or layers[-1].name != node.name:  # in the place of all its parts, which lie together
            inputs = tuple(filter(None, (*node.input, *captured(node))))
            layers.append(Layer(node.name, kind_of(node), inputs, tuple(node.output)))
    conditions = (one.node.input[0] for one in written_branches(model, analog))
    outputs = dict.fromkeys((*graph.outputs, *conditions))
    named = {node.name: node for node in whole.values()}
    return nodes | named, LayerGraph(layers, graph.inputs, outputs, graph.nested, graph.control)


def _whole(model: OnnxModel, analog: frozenset[str]) -> dict[str, onnx.NodeProto]:
    """By the names of nodes in memory: the operator that computes instead of them, since none of its parts is analog.

    A branch without products is written out for what others find behind it, and stays so beside them.
    """
    whole: dict[str, onnx.NodeProto] = {}
    for one in model.file.rewritten if model.file else ():
        if analog.isdisjoint(one.made) and not (one.branch and not holds_products(one.node)):
            whole |= {name: one.node for name in one.made if name not in whole}
    return whole


def written_branches(model: OnnxModel, analog: frozenset[str]) -> tuple[Rewritten, ...]:
    """Every If that a placement has a branch of, those that hold others first; its first input decides."""
    whole = _whole(model, analog)
    rewritten = model.file.rewritten if model.file else ()
    return tuple(one for one in rewritten if one.branch and not one.made <= whole.keys())


def placed_proto(model: OnnxModel, graph: LayerGraph, analog: frozenset[str]) -> onnx.ModelProto:
    """Protobuf model of the network as a placement has it, a copy, without stored tensors that nothing in it reads.

    Arguments as of `placed_form`.
    """
    nodes, placed = placed_form(model, graph, analog)
    read = {t for layer in placed.layers for t in layer.inputs} | set(graph.outputs)
    added = set() if model.file is None else {t.name for t in model.proto.graph.initializer[model.file.tensors :]}
    packed = {t for one in (model.file.rewritten if model.file else ()) for t in one.node.input}
    dropped = (added | packed) - read
    kept = (tensor for tensor in model.proto.graph.initializer if tensor.name not in dropped)
    return with_nodes(model.proto, (nodes[layer.name] for layer in placed.layers), kept)


def nested_again(model: OnnxModel, analog: frozenset[str], nodes: Iterable[Placed]) -> list[onnx.NodeProto]:
    """The operators of a main graph, with its branches in the If that they came from.

    So a model that is made of the written-out form does the right thing in calls that take another branch, too: they
    find the file's own operators there.

    Args:
        model: in its canonical form.
        nodes: of its main graph in a placement's form, in order. Between them there may be others, of other names, that
            were put before or behind them, such as those that round a tensor to a number format.
    """
    placed = list(nodes)
    in_memory = {node.name: node for node in model.proto.graph.node}
    known = in_memory.keys() | {node.name for node in _whole(model, analog).values()}
    for one in reversed(written_branches(model, analog)):  # those that hold others come last
        ends = {
            name: node.output[0]
            for name, node in in_memory.items()
            if name in one.made and node.op_type == "Identity" and node.output[0] in one.node.output
        }
        where = _of_branch(one, placed, known, ends)
        body = [placed[index] for index in where]
        first = where[0]
        placed = [item for index, item in enumerate(placed) if index not in set(where)]
        placed.insert(first, (body[0][0], _held(one, body, ends)))
    return [node for _, node in placed]


def _of_branch(one: Rewritten, placed: list[Placed], known: Container[str], ends: Container[str]) -> list[int]:
    """Where the operators of a branch are, and those between them that were put there and read nothing of its ends.

    Args:
        known: names of the operators that were not put there.
        ends: names of those that write the outputs of the branch.
    """
    own = [index for index, (name, _) in enumerate(placed) if name in one.made]
    where, behind = set(own), set[str]()
    for index in range(own[0], own[-1] + 1):
        name, node = placed[index]
        if name in ends or not behind.isdisjoint(node.input):
            behind |= set(node.output)
        if index not in where and name not in known and behind.isdisjoint(node.input):
            where.add(index)
    return sorted(where)


def _held(one: Rewritten, placed: list[Placed], ends: Mapping[str, str]) -> onnx.NodeProto:
    """The If with these operators in its branch.

    Args:
        ends: output of the If that an operator stands for, by the operator's name; it may write it under another name.
    """
    made = onnx.NodeProto()
    made.CopyFrom(one.node)
    written = {ends[name]: node for name, node in placed if name in ends}
    body = next(attribute.g for attribute in made.attribute if attribute.name == one.branch)
    del body.node[:], body.initializer[:], body.value_info[:]
    body.node.extend(node for name, node in placed if name not in ends)
    for number, (output, value) in enumerate(zip(one.node.output, body.output, strict=True)):
        if output in written:
            value.name = written[output].input[0]
            made.output[number] = written[output].output[0]
    return made
