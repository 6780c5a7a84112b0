"""Nodes in an order in which every one comes after those whose outputs it reads.

onnxruntime runs nodes in any order, and its float16 converter writes them so; ONNX asks for a topological one.
"""

import onnx

from lhc.onnx_model import operator_graph, replace_nodes, subgraphs

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
    import networkx as nx

    try:
        return list(nx.lexicographical_topological_sort(operator_graph(graph)))
    except nx.NetworkXUnfeasible:
        return list(range(len(graph.node)))
