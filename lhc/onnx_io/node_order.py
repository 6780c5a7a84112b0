"""Nodes in an order in which every one comes after those whose outputs it reads.

onnxruntime runs nodes in any order, and its float16 converter writes them so; ONNX asks for a topological one.
"""

from collections.abc import Iterator
from graphlib import CycleError

import onnx

from lhc.graph import nearest_order
from lhc.model import replace_nodes, subgraphs

__all__ = ["sort_nodes"]


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort the nodes of a graph and of the bodies in it, in place; those that are in order stay where they are.

    A graph with a cycle stays as it is.
    """
    for node in graph.node:
        for _, inner in subgraphs(node):
            sort_nodes(inner)
    order = _order(graph)
    if order == sorted(order):
        return
    nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
    replace_nodes(graph, nodes)


def _order(graph: onnx.GraphProto) -> list[int]:
    """Numbers of the nodes in the topological order that is nearest to the file's."""
    producer = {tensor: index for index, node in enumerate(graph.node) for tensor in node.output if tensor}
    try:
        return nearest_order([{producer[t] for t in _reads(node) if t in producer} for node in graph.node])
    except CycleError:
        return list(range(len(graph.node)))


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node or its bodies name."""
    yield from node.input
    for _, inner in subgraphs(node):
        yield from (value.name for value in inner.output)
        for sub in inner.node:
            yield from _reads(sub)
