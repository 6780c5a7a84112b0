"""Operators in their branches again: what was written out for the calls that take it, in the If that it came from.

So a model that is made of the written-out form does the right thing in calls that take another branch, too: they find
the file's own operators there.
"""

from collections.abc import Iterable

import onnx

from lhc.canonical.placed import written_branches
from lhc.model import OnnxModel, Rewritten

__all__ = ["nested_again"]

Placed = tuple[str, onnx.NodeProto]
"""The name of a node of the model in memory, and what was made of it."""


def nested_again(model: OnnxModel, analog: frozenset[str], nodes: Iterable[Placed]) -> list[onnx.NodeProto]:
    """The operators of a main graph, with its branches in their If.

    Args:
        model: in its canonical form.
        nodes: of its main graph in a placement's form, in order.
    """
    placed = list(nodes)
    for one in reversed(written_branches(model, analog)):  # those that hold others come last
        where = [index for index, (name, _) in enumerate(placed) if name in one.made]
        body = [placed[index] for index in where]
        first = where[0]
        placed = [item for index, item in enumerate(placed) if index not in set(where)]
        placed.insert(first, (body[0][0], _held(one, [node for _, node in body])))
    return [node for _, node in placed]


def _held(one: Rewritten, nodes: list[onnx.NodeProto]) -> onnx.NodeProto:
    """The If with these operators in its branch."""
    made = onnx.NodeProto()
    made.CopyFrom(one.node)
    written = {
        node.output[0]: node for node in nodes if node.op_type == "Identity" and node.output[0] in one.node.output
    }
    body = next(attribute.g for attribute in made.attribute if attribute.name == one.branch)
    del body.node[:], body.initializer[:], body.value_info[:]
    body.node.extend(node for node in nodes if node.output[0] not in written)
    for output, value in zip(one.node.output, body.output, strict=True):
        value.name = written[output].input[0] if output in written else value.name
    return made
