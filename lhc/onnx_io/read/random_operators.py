"""Operators that draw random numbers whenever the network is called."""

from collections.abc import Iterable, Iterator
from itertools import chain

import onnx

from lhc.graph import RANDOM_OPS
from lhc.onnx_model import OnnxModel, all_nodes, captured, subgraphs

_KINDS = RANDOM_OPS - {"Dropout"}


def random_operators(model: OnnxModel) -> tuple[onnx.NodeProto, ...]:
    """Operators that draw, and that an output depends on; in bodies and in local functions that are called, too.

    An active Dropout is none of them: `training_mode` names it.
    """
    graph, functions = model.proto.graph, model.proto.functions
    living = list(_with_bodies(_living(graph.node, {value.name for value in graph.output})))
    inner = {(one.domain, one.name): list(_with_bodies(one.node)) for one in functions}
    called = {(node.domain, node.op_type) for nodes in (living, *inner.values()) for node in nodes}
    every = chain(living, *(nodes for name, nodes in inner.items() if name in called))
    return tuple(node for node in every if node.op_type in _KINDS and node.domain in ("", "ai.onnx"))


def _with_bodies(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for _, body in subgraphs(node):
            yield from all_nodes(body)


def _living(nodes: Iterable[onnx.NodeProto], wanted: set[str]) -> Iterator[onnx.NodeProto]:
    """Operators, the last first, whose results are wanted; ``wanted`` grows by what they read."""
    for node in reversed(list(nodes)):
        if wanted & set(node.output):
            wanted |= {*node.input, *captured(node)}
            yield node
