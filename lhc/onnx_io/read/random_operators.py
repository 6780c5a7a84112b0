"""Operators that draw random numbers whenever the network is called."""

from collections.abc import Iterable, Iterator

import onnx

from lhc.graph import RANDOM_OPS
from lhc.onnx_model import OnnxModel, all_nodes, captured

_KINDS = RANDOM_OPS - {"Dropout"}


def random_operators(model: OnnxModel) -> tuple[onnx.NodeProto, ...]:
    """Operators that draw, and that an output depends on; in bodies and in local functions that are called, too.

    An active Dropout is none of them: `training_mode` names it.
    """
    graph = model.proto.graph
    living = list(_living(graph.node, {value.name for value in graph.output}))
    called = {(node.domain, node.op_type) for node in all_nodes(onnx.GraphProto(node=living))}
    functions = [one for one in model.proto.functions if (one.domain, one.name) in called]
    every = onnx.GraphProto(node=[*living, *(node for one in functions for node in one.node)])
    return tuple(node for node in all_nodes(every) if node.op_type in _KINDS and node.domain in ("", "ai.onnx"))


def _living(nodes: Iterable[onnx.NodeProto], wanted: set[str]) -> Iterator[onnx.NodeProto]:
    """Operators, the last first, whose results are wanted; ``wanted`` grows by what they read."""
    for node in reversed(list(nodes)):
        if wanted & set(node.output):
            wanted |= {*node.input, *captured(node)}
            yield node
