"""The charts of a report: what is on their axes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.plan import Outcome, Retrained, Sensitivity
from lhc.report.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Chart,
    Interval,
    Mark,
    MarkKind,
    Range,
    RangeChart,
    Scale,
    Tick,
    ends,
    level,
    number_ticks,
    span,
    without_overlap,
)
from lhc.report.document import Report
from lhc.report.wording import drop_text, drop_unit, duration, interval_text, metric_value, points
from lhc.results import AtTime, Evaluation, FrontPoint, Robustness

__all__ = ["front_chart", "is_measured", "noise_chart", "outcome_chart", "time_chart", "training_chart", "worst_value"]

_FIRST_READ_S = 20.0
"""From programming to time 0, as of PCM: the axis of time is logarithmic in the time since programming."""


def outcome_chart(outcome: Outcome) -> RangeChart | None:
    """The intervals of the mean drop and the budget; None where no interval is known."""
    named = (
        ("other chips, these samples", outcome.chip_interval, not outcome.generalized),
        ("other chips, other samples", outcome.sample_interval, outcome.generalized),
    )
    known = [(label, interval, decides) for label, interval, decides in named if interval is not None]
    if not known:
        return None
    bounds = [bound for _, interval, _ in known for bound in interval]
    x = Scale(*span([0.0, outcome.max_drop, outcome.drop, *bounds]), 12, RIGHT)
    percent = outcome.percent or outcome.drop_type == "relative"
    ranges = tuple(
        Range(22 + 34 * row, x(i[0]), x(i[1]), x(outcome.drop), label, interval_text(outcome, i), decides)
        for row, (label, i, decides) in enumerate(known)
    )
    return RangeChart(
        ranges,
        x(0.0),
        x(outcome.max_drop),
        f"budget {points(outcome, outcome.max_drop)}",
        number_ticks(x, 100 if percent else 1, 8),
        f"mean drop{drop_unit(outcome.percent, outcome.drop_type, outcome.metric)}",
    )


def time_chart(times: Sequence[AtTime], outcome: Outcome | None) -> Chart:
    """The metric over the time since programming, with the digital value and the budget."""
    found = [point.evaluation for point in times]
    percent, metric = found[0].percent, found[0].metric
    levels: dict[Literal["digital", "budget"], float] = {"digital": found[0].baseline}
    if outcome is not None and outcome.metric == metric:
        levels["budget"] = worst_value(found[0].baseline, outcome)
    bounds = [bound for e in found if e.interval for bound in e.interval]
    y = Scale(*span([*levels.values(), *bounds, *(e.mean for e in found)]), BOTTOM, TOP)
    starts = [math.log10(e.t_s + _FIRST_READ_S) for e in found]
    x = Scale(*span(starts), LEFT, RIGHT)
    marks = []
    for e, start in zip(found, starts, strict=True):
        title = f"{duration(e.t_s)}: {metric_value(e.mean, percent)}"
        if e.interval is not None:
            title += f" [{', '.join(metric_value(bound, percent) for bound in e.interval)}]"
        marks.append(Mark(x(start), y(e.mean), *ends(e.interval, y), "verified", title))
    return Chart(
        tuple(marks),
        tuple((mark.x, mark.y) for mark in marks),
        tuple(level(y(v), kind, f"{kind} {metric_value(v, percent)}", marks) for kind, v in levels.items()),
        without_overlap(Tick(mark.x, duration(e.t_s)) for mark, e in zip(marks, found, strict=True)),
        number_ticks(y, 100 if percent else 1),
        "time after programming",
        f"{metric}{' (%)' if percent else ''}",
    )


def _absolute(outcome: Outcome, drop: float) -> float:
    """A drop of an outcome in the metric's unit, which fronts and learning curves are in."""
    return drop * abs(outcome.baseline) if outcome.drop_type == "relative" else drop


def worst_value(baseline: float, outcome: Outcome) -> float:
    """The metric's value at which the budget is used up."""
    fall = outcome.max_drop * (abs(baseline) if outcome.drop_type == "relative" else 1)
    higher_is_better = outcome.higher_is_better
    if higher_is_better is None:  # a plan of an earlier version
        higher_is_better = (outcome.baseline - outcome.value) * outcome.drop >= 0
    return baseline - fall if higher_is_better else baseline + fall


@dataclass(frozen=True)
class _Place:
    """A placement of the trade-off: ``x`` its objective, ``y`` its drop, or estimated damage."""

    x: float
    y: float
    interval: Interval | None
    kind: MarkKind
    title: str


def is_measured(report: Report) -> bool:
    """Whether points of the front were judged on data."""
    return report.front is not None and bool(report.front.verified)


def front_chart(report: Report) -> Chart | None:
    """Drop over the objective; where nothing was judged on data, the estimated damage. None without points."""
    front, outcome = report.front, report.plan.outcome
    if front is None:
        return None
    measured = is_measured(report)
    found = sorted(_places(report, measured), key=lambda place: (place.x, place.y))
    if not found:
        return None
    verified = front.verified[0].evaluation if measured else None
    percent = verified is not None and verified.percent
    comparable = verified is not None and outcome is not None and verified.metric == outcome.metric
    budget = _absolute(outcome, outcome.max_drop) if comparable and outcome is not None else None
    heights = [0.0, *(place.y for place in found), *([] if budget is None else [budget])]
    heights += [bound for place in found if place.interval for bound in place.interval]
    y = Scale(*span(heights), BOTTOM, TOP)
    x = Scale(*span([place.x for place in found]), LEFT, RIGHT)
    marks = tuple(Mark(x(p.x), y(p.y), *ends(p.interval, y), p.kind, p.title) for p in found)
    joined = ("verified",) if measured else ("estimated",)
    return Chart(
        marks,
        tuple((mark.x, mark.y) for mark in marks if mark.kind in joined),
        ()
        if budget is None or outcome is None
        else (level(y(budget), "budget", f"budget {drop_text(budget, percent, 'absolute')}", marks),),
        number_ticks(x),
        number_ticks(y, 100 if percent else 1),
        {
            "macs": "analog share of multiplications by weights (%)",
            "latency": "latency per sample (ms)",
            "energy": "energy per sample (µJ)",
        }[front.objective],
        f"drop{' (points)' if percent else ''}" if measured else f"sum of sensitivities ({front.metric})",
    )


def _places(report: Report, measured: bool) -> Iterator[_Place]:
    """The points of the front that can be drawn, and the report's own placement."""
    assert report.front is not None
    for point in report.front.points:
        x, kind, interval = _objective(report, point), "estimated", None
        y = point.predicted_drop if measured else point.damage
        if point.evaluation is not None:
            y, kind, interval = point.evaluation.drop, "verified", point.evaluation.drop_interval
        if x is None or y is None:
            continue
        size = f"{len(point.analog)} layers, {100 * point.analog_mac_fraction:.1f} % of MACs analog"
        yield _Place(x, y, interval, kind, f"{size}: {_height(y, point.evaluation)} ({kind})")  # type: ignore[arg-type]
    yield from _own(report, measured)


def _height(y: float, found: Evaluation | None) -> str:
    return f"drop {drop_text(y, found.percent, 'absolute')}" if found is not None else f"{y:.4g}"


def _own(report: Report, measured: bool) -> Iterator[_Place]:
    plan = report.plan
    costs = report.costs
    point = FrontPoint(
        tuple(sorted(plan.analog)),
        plan.analog_mac_fraction,
        report.tiles,
        None if costs is None else costs.total.latency_s,
        None if costs is None else costs.total.energy_j,
        math.fsum(max(s.mean, 0.0) for s in _damages(report)),
        None,
        None,
    )
    x = _objective(report, point)
    if x is None or (measured and plan.outcome is None):
        return
    y, interval = point.damage, None
    if measured and plan.outcome is not None:
        y, bounds = _absolute(plan.outcome, plan.outcome.drop), plan.outcome.chip_interval
        interval = None if bounds is None else (_absolute(plan.outcome, bounds[0]), _absolute(plan.outcome, bounds[1]))
    yield _Place(x, y, interval, "chosen", f"this placement: {len(point.analog)} layers")


def _damages(report: Report) -> Iterator[Sensitivity]:
    return (s for layer in report.plan.layers if (s := layer.sensitivity) and layer.name in report.plan.analog)


def _objective(report: Report, point: FrontPoint) -> float | None:
    """Place on the horizontal axis: % of MACs that are analog, ms, or µJ."""
    assert report.front is not None
    if report.front.objective == "macs":
        return 100 * point.analog_mac_fraction
    value, factor = (point.latency_s, 1e3) if report.front.objective == "latency" else (point.energy_j, 1e6)
    return None if value is None else value * factor


def noise_chart(found: Robustness) -> Chart:
    """Drop over the scale of all noise; filled: within the budget."""
    first = found.chips
    percent = first.percent or found.drop_type == "relative"

    def of_drop(value: float) -> str:
        return drop_text(value, first.percent, found.drop_type)

    levels = [(scale, scale.evaluation) for scale in found.scales]
    bounds = [bound for _, e in levels if (interval := found.interval(e)) for bound in interval]
    y = Scale(*span([0.0, found.max_drop, *bounds, *(e.drop for _, e in levels)]), BOTTOM, TOP)
    x = Scale(*span([scale.scale for scale, _ in levels]), LEFT, RIGHT)
    marks = tuple(
        Mark(
            x(scale.scale),
            y(e.drop),
            *ends(found.interval(e), y),
            "verified" if scale.within else "judged",
            f"noise x {scale.scale:.3g}: drop {of_drop(e.drop)}",
        )
        for scale, e in levels
    )
    return Chart(
        marks,
        tuple((mark.x, mark.y) for mark in marks),
        (level(y(found.max_drop), "budget", f"budget {of_drop(found.max_drop)}", marks),),
        number_ticks(x),
        number_ticks(y, 100 if percent else 1),
        "all noise, times the hardware's (filled: shown to hold the budget)",
        f"drop{drop_unit(first.percent, found.drop_type, first.metric)}",
    )


def training_chart(trained: Retrained, outcome: Outcome) -> Chart:
    """Drop at every validation over the steps of the training, in the metric's unit, as the budget is drawn."""
    found = trained.curve
    budget = _absolute(outcome, outcome.max_drop)
    y = Scale(*span([0.0, budget, *(point.drop for point in found)]), BOTTOM, TOP)
    x = Scale(*span([float(point.step) for point in found]), LEFT, RIGHT)
    marks = tuple(
        Mark(
            x(float(point.step)),
            y(point.drop),
            None,
            None,
            "judged",
            f"step {point.step}: drop {drop_text(point.drop, outcome.percent, 'absolute')}",
        )
        for point in found
    )
    return Chart(
        marks,
        tuple((mark.x, mark.y) for mark in marks),
        (level(y(budget), "budget", f"budget {drop_text(budget, outcome.percent, 'absolute')}", marks),),
        number_ticks(x),
        number_ticks(y, 100 if outcome.percent else 1),
        "optimiser steps",
        f"drop at validation{drop_unit(outcome.percent, 'absolute', outcome.metric)}",
    )
