"""Layers that the user wants to move together.

A request is ``block`` (every block of the network: `LayerPlan.block`), ``input`` (layers that read the same tensor, as
query, key and value of attention do), or a pattern as of ``--include``: all layers that it matches.
"""

from collections.abc import Callable, Sequence

from lhc.graph import LayerGraph
from lhc.passes.select import match_layers
from lhc.plan import LayerPlan, Plan

__all__ = ["wanted_together"]


def wanted_together(graph: LayerGraph, plan: Plan, requests: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Sets of two or more layers of the plan, by the user's requests.

    Args:
        graph: the layers.
        plan: the candidates.
        requests: ``block``, ``input``, or patterns.

    Raises:
        UsageError: a pattern that matches no layer.
    """
    paths = {layer.name: layer.path for layer in plan.layers}
    found: list[frozenset[str]] = []
    for request in requests:
        if request == "block":
            found += _by(plan, lambda layer: layer.block)
        elif request == "input":
            found += _by(plan, lambda layer: _activation(graph, layer))
        else:
            found.append(match_layers(request, paths, "--group", paths))
    return tuple(group for group in found if len(group) > 1)


def _by(plan: Plan, key: Callable[[LayerPlan], str]) -> list[frozenset[str]]:
    """The candidates by a key; those with an empty one stay alone."""
    groups: dict[str, list[str]] = {}
    for layer in plan.layers:
        if key(layer):
            groups.setdefault(key(layer), []).append(layer.name)
    return [frozenset(names) for names in groups.values()]


def _activation(graph: LayerGraph, layer: LayerPlan) -> str:
    """The tensor that a layer multiplies by its constant matrix; empty where it has none."""
    facts = graph[layer.name]
    if facts.weight is None or len(facts.inputs) < 2:
        return ""
    return facts.inputs[1 - facts.weight.operand]
