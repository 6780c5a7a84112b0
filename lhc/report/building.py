"""From a plan and what was measured of it to a `Report`. Nothing is measured here."""

import math
from collections.abc import Iterable, Mapping, Sequence

from lhc.costs import Cost, SystemCost, cost_of
from lhc.errors import ConfigError, ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.plan import Plan, summary
from lhc.report.document import AtTime, CostItem, Costs, Front, FrontPoint, LayerCosts, Measured, OverTime, Report
from lhc.results import Evaluation

__all__ = ["build_report", "costs_of", "estimated_front", "over_time"]

MOST_POINTS = 24
"""Of a front by estimate."""


def build_report(
    model: str,
    plan: Plan,
    graph: LayerGraph,
    *,
    times: Sequence[Evaluation] = (),
    notes: Iterable[str] = (),
    versions: Mapping[str, str] | None = None,
    commands: Iterable[str] = (),
    warnings: Iterable[str] = (),
) -> Report:
    """The report of a plan; sections that need more than these are put in by whoever measured them.

    Args:
        model: how the model is called.
        plan: the placement, and how it did.
        graph: the layers.
        times: the placement at several times after programming.
        notes: what the commands had to say.
        versions: of the libraries that measured.
        commands: what made it.
        warnings: why it may not be true any more.
    """
    return Report(
        model=model,
        summary=summary(plan, graph),
        plan=plan,
        tiles=plan.tiles(graph),
        operators=len(graph),
        costs=costs_of(plan, graph),
        front=estimated_front(plan, graph),
        times=over_time(times),
        notes=tuple(notes),
        versions=dict(versions or {}),
        commands=tuple(commands),
        warnings=tuple(warnings),
    )


def costs_of(plan: Plan, graph: LayerGraph) -> Costs | None:
    """What the placement costs beside the all-digital network; None where machine or sizes are not known."""
    if not plan.layers:
        return None
    try:
        placed, digital = (cost_of(graph, analog, plan.hardware) for analog in (plan.analog, frozenset[str]()))
    except (ConfigError, ModelError, UsageError):
        return None
    layers = tuple(
        LayerCosts(name=name, parts=tuple(_item(part, cost) for part, cost in layer.parts.items()))
        for name, layer in placed.layers.items()
    )
    return Costs(
        layers=layers,
        others=_item("other operators", sum((cost.total for cost in placed.others.values()), Cost())),
        crossings=_item("crossings", sum(placed.crossings.values(), Cost())),
        total=_total("total", placed),
        all_digital=_total("all digital", digital),
        assumptions=tuple(map(str, placed.assumptions)),
    )


def _item(name: str, cost: Cost) -> CostItem:
    return CostItem(name=name, latency_s=cost.latency_s, energy_j=cost.energy_j)


def _total(name: str, cost: SystemCost) -> CostItem:
    return _item(name, cost.total)


def estimated_front(plan: Plan, graph: LayerGraph) -> Front | None:
    """The trade-off that sensitivities promise: layers go analog in the order of damage per MAC, damages added up.

    None where fewer than two layers have a sensitivity. Of many points, some are left out evenly; the placement of the
    plan is marked where its own estimate lies.
    """
    known = {layer.name: layer for layer in plan.layers if layer.sensitivity is not None}
    damage = {name: max(layer.sensitivity.mean, 0.0) for name, layer in known.items() if layer.sensitivity is not None}
    groups = [group for group in graph.tied(known) if sum(known[name].macs for name in group)]
    if len(groups) < 2:
        return None

    def rate(group: Sequence[str]) -> float:
        return math.fsum(damage[name] for name in group) / sum(known[name].macs for name in group)

    def point(names: Iterable[str], chosen: bool = False) -> FrontPoint:
        placed = set(names)
        return FrontPoint(
            analog=len(placed),
            analog_macs=sum(layer.macs for layer in plan.layers if layer.name in placed) / plan.macs,
            estimate=math.fsum(damage.get(name, 0.0) for name in placed),
            chosen=chosen,
        )

    groups.sort(key=rate)
    lengths = range(len(groups) + 1)
    step = math.ceil(len(lengths) / MOST_POINTS)
    kept = sorted({*lengths[::step], len(groups)})
    found = [point(name for group in groups[:length] for name in group) for length in kept]
    metric = next(layer.sensitivity.metric for layer in known.values() if layer.sensitivity is not None)
    return Front(objective="macs", percent=False, metric=metric, points=(*found, point(plan.analog, chosen=True)))


def over_time(evaluations: Sequence[Evaluation]) -> OverTime | None:
    """Evaluations of one placement at several times, in the order of time; None without any."""
    if not evaluations:
        return None
    first = evaluations[0]
    how = Measured(
        metric=first.metric,
        percent=first.percent,
        baseline=first.baseline,
        samples=first.samples,
        draws=first.draws,
        seed=first.seed,
        confidence=first.confidence,
    )
    at = {
        e.t_s: AtTime(t_s=e.t_s, value=e.mean, interval=e.interval, drop=e.drop, drop_interval=e.drop_interval)
        for e in evaluations
    }
    return OverTime(how=how, points=tuple(at[t] for t in sorted(at)))
