"""The sums that a search works with: damage, MACs, tiles, latency and energy of a placement, as linear terms.

Where latency and energy count, variables for formats stand behind those for groups: always digital, always analog, the
operators that are no products, and two for every tensor that some placement converts (`lhc.costs.crossings`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import scipy

from lhc.costs import CostTerms, Hyperedge, LayerCost, cost_terms
from lhc.costs.crossings import cut_rows
from lhc.graph import LayerGraph
from lhc.passes.decide.copies import Copies
from lhc.passes.decide.layer_groups import Group, groups_of
from lhc.passes.search.placement_program import SearchSpace
from lhc.passes.search.solver import Floats
from lhc.passes.strategies.base import Measure, SearchOptions, damage_of, damage_together, most_tiles
from lhc.plan import Plan

MOST_STEPPED = 100
"""Groups up to which further copies are variables of the programs; with more of them these take too long."""


def search_space(graph: LayerGraph, plan: Plan, options: SearchOptions) -> SearchSpace:
    """The placements that a plan leaves open.

    Args:
        plan: what is eligible, what is fixed, and the sensitivities; a layer without one does no damage.
        options: objective, bounds, and what moves together.

    Raises:
        ConfigError: the objective or a bound needs costs, and the hardware describes none.
    """
    goal = options.goal
    groups = tuple(groups_of(graph, plan, options.together))
    rows = {layer.name: layer for layer in plan.layers}
    # In large networks every layer has the copies that it has beside all others, whatever is placed.
    large = len(groups) > MOST_STEPPED
    copies = options.copies.of(plan.analog.union(*groups)) if large else {}
    open_terms: dict[Measure, list[float]] = {
        "damage": [sum(damage_together([rows[n] for n in tie], copies) for tie in graph.tied(g)) for g in groups],
        "tiles": [sum(rows[tie[0]].tiles for tie in graph.tied(g)) for g in groups],
        "macs": [-sum(rows[name].macs for name in g) for g in groups],
    }
    nothing = scipy.sparse.csr_array((0, len(groups)))
    space = SearchSpace(
        groups=groups,
        fixed=plan.analog,
        objective=goal.objective,
        terms={measure: np.array(terms, np.float64) for measure, terms in open_terms.items()},
        constants={
            "damage": damage_of(graph, plan, plan.analog, copies),
            "tiles": plan.tiles(graph),
            "macs": plan.macs - sum(rows[name].macs for name in plan.analog),
        },
        limits=replace(goal, max_tiles=most_tiles(plan, goal.max_tiles)).limits,
        structure=nothing,
        members=nothing,
        low=np.zeros(len(groups)),
        high=np.ones(len(groups)),
    )
    if goal.needs_costs:
        space = _with_costs(space, plan, cost_terms(graph, plan.hardware, plan.copies, plan.sums, plan.digital))
    return space if large else _with_further_copies(space, options.copies)


def _with_further_copies(space: SearchSpace, copies: Copies) -> SearchSpace:
    """The same placements with a variable for every step of copies: it takes tiles, and lessens damage.

    A step needs the one before it, the first one its group. What copies cost beside tiles is left out: each layer has
    only as many as leave it cheaper on tiles than digital.
    """
    if copies.tiles is None or all(len(one.levels) == 1 for one in copies.sets):
        return space
    groups = {name: g for g, group in enumerate(space.groups) for name in group}
    holders = tuple(groups.get(one.layers[0], -1) for one in copies.sets)
    width, rows = len(space.low), list[tuple[int, int]]()
    changes: dict[Measure, list[float]] = {"damage": [], "tiles": []}
    for one, holder in zip(copies.sets, holders, strict=True):
        for number, (before, after) in enumerate(pairwise(one.levels)):
            step = width + len(changes["tiles"])
            if number or holder >= 0:
                rows.append((step, step - 1 if number else holder))
            changes["damage"].append(after.damage - before.damage)
            changes["tiles"].append(after.tiles - before.tiles)
    steps = len(changes["tiles"])
    entries = (np.tile([1.0, -1.0], len(rows)), (np.repeat(np.arange(len(rows)), 2), np.array(rows).reshape(-1)))
    needs = scipy.sparse.csr_array(entries, shape=(len(rows), width + steps))
    wider = scipy.sparse.csr_array(
        scipy.sparse.hstack([space.structure, scipy.sparse.csr_array((space.structure.shape[0], steps))])
    )
    return replace(
        space,
        terms={m: np.concatenate([v, changes.get(m, np.zeros(steps))]) for m, v in space.terms.items()},
        structure=scipy.sparse.csr_array(scipy.sparse.vstack([wider, needs])),
        low=np.concatenate([space.low, np.zeros(steps)]),
        high=np.concatenate([space.high, np.ones(steps)]),
        copies=copies,
        holders=holders,
    )


def _with_costs(space: SearchSpace, plan: Plan, costs: CostTerms) -> SearchSpace:
    """The same placements with latency and energy among their measures."""
    groups, constants = len(space.groups), dict(space.constants)
    terms: dict[Measure, Floats] = dict(space.terms)
    terms["latency"], constants["latency"] = _costed(space.groups, plan, costs, lambda cost: cost.latency_s)
    terms["energy"], constants["energy"] = _costed(space.groups, plan, costs, lambda cost: cost.energy_j)
    edges, columns = _formats(space.groups, plan, costs)
    count = groups + 2 + len({c for c in columns.values() if c >= groups + 2})
    flows = np.array([edge.elements for edge in edges], np.float64)
    rates: Mapping[Measure, float] = {"latency": costs.crossing.latency_s, "energy": costs.crossing.energy_j}
    for measure, vector in terms.items():
        flow = flows * rates.get(measure, 0.0)
        terms[measure] = np.concatenate([vector, np.zeros(count - groups), flow, -flow])
    low, high = np.zeros(count + 2 * len(edges)), np.ones(count + 2 * len(edges))
    high[groups], low[groups + 1] = 0.0, 1.0
    return replace(
        space,
        terms=terms,
        constants=constants,
        structure=cut_rows(edges, columns, count),
        members=_members(edges, columns, count),
        low=low,
        high=high,
        costs=costs,
    )


def _costed(
    groups: tuple[Group, ...], plan: Plan, costs: CostTerms, of: Callable[[LayerCost], float]
) -> tuple[Floats, float]:
    """Latency or energy by group, and what every placement has; conversions apart."""
    added = {name: of(cost) - of(costs.digital[name]) for name, cost in costs.analog.items()}
    constant = sum(map(of, (*costs.digital.values(), *costs.others.values()))) + sum(added[n] for n in plan.analog)
    return np.array([sum(added[name] for name in group) for group in groups], np.float64), constant


def _members(edges: tuple[Hyperedge, ...], columns: Mapping[str, int], count: int) -> "scipy.sparse.csr_array":
    """Which formats a tensor is held in."""
    held = [(e, c) for e, edge in enumerate(edges) for c in dict.fromkeys(columns[m] for m in edge.members)]
    where = np.array(held, np.int64).reshape(-1, 2)
    return scipy.sparse.csr_array((np.ones(len(held)), (where[:, 0], where[:, 1])), shape=(len(edges), count))


def _formats(
    groups: tuple[Group, ...], plan: Plan, costs: CostTerms
) -> tuple[tuple[Hyperedge, ...], Mapping[str, int]]:
    """Tensors that some placement converts, and the variable of every operator that holds one.

    Variable ``len(groups)`` is always digital, the next one always analog; then come operators that are no products.
    """
    analog = plan.analog
    columns: dict[str, int] = {name: len(groups) + (name in analog) for name in costs.digital}
    columns |= {name: g for g, group in enumerate(groups) for name in group}
    kept = []
    for edge in costs.tensors:
        for member in edge.members:
            columns.setdefault(member, len(groups) + 2 + len(columns) - len(costs.digital))
        if len({columns[member] for member in edge.members}) > 1:
            kept.append(edge)
    return tuple(kept), columns
