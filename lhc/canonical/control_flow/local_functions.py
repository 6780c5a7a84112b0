"""Local functions: what a call stands for.

    y = Block<alpha = 2>(x, w)   ->   the operators of Block, given x, w and alpha

onnx, docs/IR.md: an attribute of an operator in a function may refer to one of the call; where the call has none, the
function's default counts, and without that the attribute is left out.
"""

from collections.abc import Iterable, Mapping

import onnx

from lhc.onnx_io.annotate.compiled_mark import COMPILED_KEY
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_io.operators.operator_table import may_multiply
from lhc.onnx_model import OnnxModel, subgraphs

__all__ = ["functions_with_products", "operators_of"]

Functions = Mapping[tuple[str, str], onnx.FunctionProto]


def functions_with_products(model: OnnxModel) -> Functions:
    """The functions of a model that multiply, by domain and name; none of a compiled model, which is no network.

    Not those that have overloads, or are written for other versions of operators than the model.
    """
    proto = model.proto
    if any(entry.key == COMPILED_KEY for entry in proto.metadata_props):
        return {}
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    functions = {
        (function.domain, function.name): function
        for function in proto.functions
        if not function.overload and all(versions.get(e.domain) == e.version for e in function.opset_import)
    }
    return {key: one for key, one in functions.items() if _multiplies(one.node, functions, {key})}


def _multiplies(nodes: Iterable[onnx.NodeProto], functions: Functions, seen: set[tuple[str, str]]) -> bool:
    for node in nodes:
        called = functions.get(identity(node))
        if called is None and may_multiply(node):
            return True
        if (
            called is not None
            and identity(node) not in seen
            and _multiplies(called.node, functions, seen | {identity(node)})
        ):
            return True
        if any(_multiplies(graph.node, functions, seen) for _, graph in subgraphs(node)):
            return True
    return False


def operators_of(call: onnx.NodeProto, function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """The operators of a function with the attributes of a call; tensors have the function's names."""
    given = {a.name: a for a in function.attribute_proto} | {a.name: a for a in call.attribute}
    nodes = []
    for node in function.node:
        nodes.append(onnx.NodeProto())
        nodes[-1].CopyFrom(node)
        _fill(nodes[-1], given)
    return nodes


def _fill(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Put values in the place of references."""
    for attribute in list(node.attribute):
        if not attribute.ref_attr_name:
            continue
        value = given.get(attribute.ref_attr_name)
        if value is None:
            node.attribute.remove(attribute)
            continue
        name = attribute.name
        attribute.CopyFrom(value)
        attribute.name = name
    for _, graph in subgraphs(node):
        for inner in graph.node:
            _fill(inner, given)
