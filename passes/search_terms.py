"""The sums that a search works with: damage, MACs, tiles, latency and energy of a placement, as linear terms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from lhc.costs import CostTerms, Hyperedge, LayerCost, cost_terms
from lhc.costs.tensors import cut_rows
from lhc.graph import LayerGraph
from lhc.passes.search_base import Goal, Group, damage_of
from lhc.passes.search_solver import Floats
from lhc.plan import Plan

__all__ = ["Measure", "Terms", "limits", "terms_of"]

Measure = Literal["damage", "tiles", "macs", "latency", "energy"]
"""``macs``: those that are digital; ``latency`` in s, ``energy`` in J."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Linear terms of placements.

    Attributes:
        vectors: measure -> ``(variables,)``: groups first, 1 where analog, then formats of operators and tensors.
        constants: measure -> what every placement has.
        structure: rows ``A v <= 0``.
        members: 1 where a variable is the format of an operator that holds a tensor, ``(tensors, formats)``.
        low: least value of every variable.
        high: greatest value of every variable.
        costs: of every layer, where latency and energy are among the measures.
    """

    vectors: Mapping[Measure, Floats]
    constants: Mapping[Measure, float]
    structure: sparse.csr_array
    members: sparse.csr_array
    low: Floats
    high: Floats
    costs: CostTerms | None = None


def terms_of(groups: tuple[Group, ...], graph: LayerGraph, plan: Plan, with_costs: bool) -> Terms:
    """The terms of all placements that a plan leaves open.

    Args:
        groups: of eligible layers, decided together.
        graph: the layers.
        plan: what is fixed, and the sensitivities.
        with_costs: also latency and energy.
    """
    sums = _counted(groups, graph, plan)
    if not with_costs:
        n = len(groups)
        vectors, constants = _split(sums)
        none = sparse.csr_array((0, n))
        return Terms(vectors, constants, none, none, np.zeros(n), np.ones(n))
    costs = cost_terms(graph, plan.hardware)
    sums["latency"] = _costed(groups, plan, costs, lambda cost: cost.latency_s)
    sums["energy"] = _costed(groups, plan, costs, lambda cost: cost.energy_j)
    vectors, constants = _split(sums)
    edges, columns = _formats(groups, plan, costs)
    count = len(groups) + 2 + len({c for c in columns.values() if c >= len(groups) + 2})
    flows = np.array([edge.elements for edge in edges], np.float64)
    rates: Mapping[Measure, float] = {"latency": costs.crossing.latency_s, "energy": costs.crossing.energy_j}
    padded: dict[Measure, Floats] = {}
    for measure, vector in vectors.items():
        flow = flows * rates.get(measure, 0.0)
        padded[measure] = np.concatenate([vector, np.zeros(count - len(groups)), flow, -flow])
    low, high = np.zeros(count + 2 * len(edges)), np.ones(count + 2 * len(edges))
    high[len(groups)], low[len(groups) + 1] = 0.0, 1.0
    structure, members = cut_rows(edges, columns, count), _members(edges, columns, count)
    return Terms(padded, constants, structure, members, low, high, costs)


def limits(plan: Plan, goal: Goal) -> Mapping[Measure, float]:
    """Bounds that hold for every placement: the machine's tiles, and what the user allows."""
    found: dict[Measure, float] = {}
    tiles = [count for count in (plan.hardware.tiles.count, goal.max_tiles) if count is not None]
    if tiles:
        found["tiles"] = min(tiles)
    if goal.max_latency_s is not None:
        found["latency"] = goal.max_latency_s
    if goal.max_energy_j is not None:
        found["energy"] = goal.max_energy_j
    return found


Sums = dict[Measure, tuple[list[float], float]]


def _split(sums: Sums) -> tuple[dict[Measure, Floats], dict[Measure, float]]:
    vectors = {measure: np.array(vector, np.float64) for measure, (vector, _) in sums.items()}
    return vectors, {measure: constant for measure, (_, constant) in sums.items()}


def _counted(groups: tuple[Group, ...], graph: LayerGraph, plan: Plan) -> Sums:
    """Damage, tiles, digital MACs."""
    macs = {layer.name: layer.macs for layer in plan.layers}
    return {
        "damage": ([damage_of(graph, plan, group) for group in groups], damage_of(graph, plan, plan.analog)),
        "tiles": ([plan.tiles_of(graph, frozenset(group)) for group in groups], plan.tiles(graph)),
        "macs": (
            [-sum(macs[name] for name in group) for group in groups],
            plan.macs - sum(macs[name] for name in plan.analog),
        ),
    }


def _costed(
    groups: tuple[Group, ...], plan: Plan, costs: CostTerms, of: Callable[[LayerCost], float]
) -> tuple[list[float], float]:
    """Latency or energy, conversions apart."""
    added = {name: of(cost) - of(costs.digital[name]) for name, cost in costs.analog.items()}
    constant = sum(map(of, (*costs.digital.values(), *costs.others.values()))) + sum(added[n] for n in plan.analog)
    return [sum(added[name] for name in group) for group in groups], constant


def _members(edges: tuple[Hyperedge, ...], columns: Mapping[str, int], count: int) -> sparse.csr_array:
    """Which formats a tensor is held in."""
    held = [(e, c) for e, edge in enumerate(edges) for c in dict.fromkeys(columns[m] for m in edge.members)]
    where = np.array(held, np.int64).reshape(-1, 2)
    return sparse.csr_array((np.ones(len(held)), (where[:, 0], where[:, 1])), shape=(len(edges), count))


def _formats(
    groups: tuple[Group, ...], plan: Plan, costs: CostTerms
) -> tuple[tuple[Hyperedge, ...], Mapping[str, int]]:
    """Tensors that some placement converts, and the variable of every operator that holds one.

    Variable ``len(groups)`` is always digital, the next one always analog; then come operators that are no products.
    """
    columns: dict[str, int] = {name: len(groups) + (name in plan.analog) for name in costs.digital}
    columns |= {name: g for g, group in enumerate(groups) for name in group}
    kept = []
    for edge in costs.tensors:
        for member in edge.members:
            columns.setdefault(member, len(groups) + 2 + len(columns) - len(costs.digital))
        if len({columns[member] for member in edge.members}) > 1:
            kept.append(edge)
    return tuple(kept), columns
