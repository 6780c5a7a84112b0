"""Groups of layers that move together: they share their weights, or the user wants it so.

A request of the user is ``block`` (every block of the network: `LayerPlan.block`), ``input`` (layers that read the same
tensor, as query, key and value of attention do), or a pattern as of ``--include``: all layers that it matches.
"""

from collections.abc import Callable, Sequence

from lhc.graph import LayerGraph
from lhc.passes.decide.user_selection import match_layers
from lhc.plan import LayerPlan, Plan

Group = tuple[str, ...]
"""Names in file order."""


def groups_of(graph: LayerGraph, plan: Plan, together: Sequence[frozenset[str]] = ()) -> list[Group]:
    """The eligible layers in file order, those together that share their weights or that are wanted together."""
    import networkx as nx

    joined = nx.Graph()
    joined.add_nodes_from(plan.eligible)
    for group in (*graph.tied(plan.eligible), *together):
        nx.add_path(joined, [name for name in group if name in joined])
    place = {name: position for position, name in enumerate(plan.eligible)}
    groups = (tuple(sorted(group, key=place.__getitem__)) for group in nx.connected_components(joined))
    return sorted(groups, key=lambda group: place[group[0]])


def by_macs(plan: Plan, groups: Sequence[Group]) -> list[Group]:
    """In descending order of MACs."""
    macs = {layer.name: layer.macs for layer in plan.layers}
    return sorted(groups, key=lambda group: -sum(macs[name] for name in group))


def wanted_together(graph: LayerGraph, plan: Plan, requests: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Sets of two or more candidates of the plan, by the user's requests.

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
