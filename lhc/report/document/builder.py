"""Building of a `Report` from a plan and what was measured of it. Nothing is measured here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, TypeVar, Unpack

from lhc.costs import Cost, by_operator
from lhc.costs.plan_costs import digital_cost, plan_cost, plan_figures
from lhc.costs.units import added_up
from lhc.errors import ConfigError, ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.passes import damage_of, damage_together
from lhc.plan import Plan
from lhc.plan.recurrent_steps import first_steps, folded
from lhc.plan.summary import summary
from lhc.report.document.report import CostItem, Costs, DrivenRows, LayerCosts, OperatorItem, Report
from lhc.report.exports.formats import NotebookReport
from lhc.results import (
    AtTime,
    Attribution,
    Evaluation,
    FeasibleRegion,
    Front,
    FrontPoint,
    Infeasibility,
    Robustness,
)

P = TypeVar("P", FrontPoint, Infeasibility)
MOST_POINTS = 24
"""Most points of a front by estimate."""


class ReportParts(TypedDict, total=False):
    """Fields of `Report` besides the plan."""

    times: tuple[AtTime, ...]
    front: Front | None
    robustness: Robustness | None
    region: FeasibleRegion | None
    attribution: Attribution | None
    infeasibility: Infeasibility | None
    notes: tuple[str, ...]
    versions: dict[str, str]
    commands: tuple[str, ...]
    warnings: tuple[str, ...]


def build_report(
    model: str, plan: Plan, graph: LayerGraph, *, operators: int | None = None, **found: Unpack[ReportParts]
) -> Report:
    """The report of a plan.

    Args:
        operators: how many the network's file has; those of the graph by default.
        found: what was measured and said of it; a front that was not measured is estimated from the sensitivities.
    """
    front = found.get("front") or estimated_front(plan, graph)
    first, in_the_way = first_steps(plan.layers), found.get("infeasibility")
    found["front"] = None if front is None else replace(front, points=tuple(_folded(p, first) for p in front.points))
    if (attribution := found.get("attribution")) is not None:
        layers = {first.get(name, name): one for name, one in attribution.layers.items()}
        found["attribution"] = replace(attribution, layers=layers)
    if in_the_way is not None:
        ways = _names(in_the_way.in_the_way, first)
        found["infeasibility"] = replace(_folded(in_the_way, first), in_the_way=ways)
    return NotebookReport(
        model=model,
        summary=summary(plan, graph),
        plan=folded(plan),
        tiles=plan.tiles(graph),
        damage=damage_of(graph, plan, plan.analog),
        operators=len(graph) if operators is None else operators,
        driven_rows=_driven_rows(plan, graph),
        costs=costs_of(plan, graph),
        **found,
    )


def _folded(found: P, first: Mapping[str, str]) -> P:
    """With layers as the plan of a report has them: steps of a recurrent operator are one."""
    return replace(found, analog=_names(found.analog, first))


def _names(names: Iterable[str], first: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first.get(name, name) for name in names))


def _driven_rows(plan: Plan, graph: LayerGraph) -> DrivenRows | None:
    if not plan.has_copies:
        return None
    copies = one = 0
    for layer in plan.layers:
        if layer.placement != "analog":
            continue
        matrix = graph[layer.name].matrix
        if matrix is None:
            return None
        rows = matrix.rows * matrix.groups * matrix.positions
        one += rows
        copies += layer.copies * rows
    return DrivenRows(copies=copies, one=one)


def costs_of(plan: Plan, graph: LayerGraph) -> Costs | None:
    """Costs of the placement beside the all-digital network; None where machine or sizes are not known."""
    if not plan.layers or not graph.multiplying:
        return None
    try:
        placed, digital = plan_cost(plan, graph), digital_cost(plan, graph)
    except (ConfigError, ModelError, UsageError):
        return None
    if placed is None or digital is None:
        return None
    layers = tuple(
        LayerCosts(name=name, parts=tuple(_item(part, cost) for part, cost in row.parts.items()))
        for name, row in added_up(placed.layers, first_steps(plan.layers)).items()
    )
    return Costs(
        layers=layers,
        others=_item("other operators", sum((cost.total for cost in placed.others.values()), Cost())),
        operators=tuple(
            OperatorItem(name=one.operator, count=one.count, latency_s=one.cost.latency_s, energy_j=one.cost.energy_j)
            for one in by_operator(placed.others)
        ),
        crossings=_item("crossings", sum(placed.crossings.values(), Cost())),
        total=_item("total", placed.total),
        all_digital=_item("all digital", digital.total),
        system=plan_figures(plan, graph, placed),
        assumptions=tuple(map(str, placed.assumptions)),
    )


def _item(name: str, cost: Cost) -> CostItem:
    return CostItem(name=name, latency_s=cost.latency_s, energy_j=cost.energy_j)


def estimated_front(plan: Plan, graph: LayerGraph) -> Front | None:
    """The trade-off that sensitivities promise: layers go analog in the order of damage per MAC, damages added up.

    None where fewer than two layers have a sensitivity. Of many points, some are left out evenly; none takes more tiles
    than the machine has.
    """
    measured = {layer.name: layer.sensitivity for layer in plan.layers if layer.sensitivity is not None}
    macs, rows = {layer.name: layer.macs for layer in plan.layers}, {layer.name: layer for layer in plan.layers}
    groups = [group for group in graph.tied(measured) if sum(macs[name] for name in group)]
    if len(groups) < 2:
        return None

    def rate(group: Sequence[str]) -> float:
        return damage_together([rows[name] for name in group]) / sum(macs[name] for name in group)

    groups.sort(key=rate)
    lengths = range(len(groups) + 1)
    kept = sorted({*lengths[:: math.ceil(len(lengths) / MOST_POINTS)], len(groups)})
    placements = [{name for group in groups[:length] for name in group} for length in kept]
    bound = plan.hardware.tiles.count
    if bound is not None:
        placements = [placed for placed in placements if plan.tiles_of(graph, frozenset(placed)) <= bound]
    points = [
        FrontPoint(
            analog=tuple(name for name in macs if name in placed),
            analog_mac_fraction=sum(macs[name] for name in placed) / plan.macs,
            tiles=plan.tiles_of(graph, frozenset(placed)),
            latency_s=None,
            energy_j=None,
            damage=damage_of(graph, plan, placed),
            predicted_drop=None,
            evaluation=None,
        )
        for placed in placements
    ]
    metric = next(iter(measured.values())).metric
    return Front("macs", {}, metric, tuple(points), False, None, False)


def over_time(evaluations: Iterable[Evaluation]) -> tuple[AtTime, ...]:
    """Evaluations of one placement at several times, in the order of time; the last one of each time counts."""
    at = {e.t_s: AtTime(e, None, None) for e in evaluations}
    return tuple(at[t] for t in sorted(at))
