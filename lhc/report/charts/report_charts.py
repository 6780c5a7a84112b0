"""Charts of a report: placements over the objective, the metric over time and noise, intervals beside the budget."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lhc.plan import Outcome, Retrained
from lhc.plan.recurrent_steps import folded
from lhc.report.charts.axes import (
    Chart,
    DataPoint,
    IntervalChart,
    Level,
    MarkKind,
    Range,
    RegionChart,
    RegionMark,
    standalone_svg,
)
from lhc.report.document.report import Report
from lhc.report.wording.outcome import capitalized, interval_text, intervals, of_budget, other_chips, points
from lhc.results import Evaluation, FeasibleRegion, Front, FrontPoint, RegionPoint, Robustness
from lhc.support.number_formatting import (
    counted,
    drop_text,
    drop_unit,
    field_text,
    metric_value,
    number_text,
    scale_text,
    share_text,
    time_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {
    "macs": ("analog share of multiplications by weights (%)", 100.0),
    "latency": ("latency per sample (ms)", 1e3),
    "energy": ("energy per sample (µJ)", 1e6),
    "tiles": ("tiles", 1.0),
}
"""Axes of objectives: label, and factor from an objective's own unit to that of the axis."""
_FIRST_READ_S = 20.0
"""From programming to time 0, as of PCM: the axis of time is logarithmic in the time since programming."""


def outcome_chart(outcome: Outcome) -> IntervalChart | None:
    """The intervals of the mean drop and the budget; None where no interval is known."""
    ranges = tuple(
        Range(*interval, f"{other_chips(outcome)}, {what}", interval_text(outcome, interval), decides)
        for what, interval, decides in intervals(outcome)
        if interval is not None
    )
    if not ranges:
        return None
    return IntervalChart(
        ranges,
        outcome.drop,
        outcome.max_drop,
        f"budget {points(outcome, outcome.max_drop)}",
        f"mean {outcome.drop_word}{drop_unit(outcome.percent, outcome.drop_type, outcome.metric)}",
        outcome.percent or outcome.drop_type == "relative",
    )


def over_time_chart(report: Report) -> Chart | None:
    """The placement over time; None where that was not measured."""
    found = [at.evaluation for at in report.over_time]
    return time_chart(found, worst_allowed(found, report.plan.outcome)) if found else None


def time_chart(found: Sequence[Evaluation], worst: float | None) -> Chart:
    """The metric over the time since programming, with the digital value and the worst one that the budget allows."""
    percent, metric, digital = found[0].percent, found[0].metric, found[0].baseline

    def shown(value: float) -> str:
        return metric_value(value, percent)

    def title(e: Evaluation) -> str:
        interval = "" if e.interval is None else f" [{', '.join(map(shown, e.interval))}]"
        return f"{time_text(e.t_s)}: {shown(e.mean)}{interval}"

    levels = [Level("digital", digital, f"digital {shown(digital)}")]
    if worst is not None:
        levels.append(Level("budget", worst, f"budget {shown(worst)}"))
    return Chart(
        tuple(DataPoint(math.log10(e.t_s + _FIRST_READ_S), e.mean, e.interval, "verified", title(e)) for e in found),
        tuple(levels),
        "time after the first read",
        f"{metric}{' (%)' if percent else ''}",
        percent=percent,
        from_zero=False,
        x_texts=tuple(time_text(e.t_s) for e in found),
    )


def worst_allowed(found: Sequence[Evaluation], outcome: Outcome | None) -> float | None:
    """`worst_value` of evaluations; None where they cannot be held against a budget."""
    known = outcome is not None and of_budget(found[0], outcome)
    return worst_value(found[0].baseline, outcome) if known and outcome is not None else None


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


def is_measured(report: Report) -> bool:
    """Whether points of the front were judged on data."""
    return report.front is not None and bool(report.front.verified)


def front_chart(report: Report) -> Chart | None:
    """Drop over the objective; where nothing was judged on data, the estimated damage. None without points."""
    front, outcome = report.front, report.plan.outcome
    if front is None:
        return None
    budget = None
    if outcome is not None and front.verified and front.drop_metric == outcome.metric:
        budget = _budget(_absolute(outcome, outcome.max_drop), front.percent)
    return chart_of_front(front, _own(front, report), budget)


def front_svg(front: Front) -> str:
    """A front as a self-contained SVG; points that are only estimated are hollow, at their predicted drop."""
    chart = chart_of_front(front)
    label = f"{capitalized(front.drop_word)} over {AXES[front.objective][0]}"

    def draw(figure: "Figure") -> None:
        if chart is not None:
            chart.draw(figure.add_subplot())

    return standalone_svg(draw, 720, 420, label)


def chart_of_front(front: Front, own: Iterable[DataPoint] = (), budget: Level | None = None) -> Chart | None:
    """The points of a front, and ``own`` beside them; None where there is nothing to draw."""
    drawn = tuple(sorted([*_points(front), *own], key=lambda point: (point.x, point.y)))
    if not drawn:
        return None
    label, _ = AXES[front.objective]
    if not front.verified:
        return Chart(drawn, (), label, f"estimated damage ({front.metric})", joined="estimated")
    drop = f"{front.drop_word}{drop_unit(front.percent, 'absolute', front.drop_metric)}"
    levels = () if budget is None else (budget,)
    return Chart(drawn, levels, label, drop, percent=front.percent, joined="verified")


def _budget(value: float, percent: bool, drop_type: str = "absolute") -> Level:
    """The budget as a level of a chart of drops."""
    return Level("budget", value, f"budget {drop_text(value, percent, drop_type, value)}")


def _points(front: Front) -> Iterator[DataPoint]:
    """The points of the front that can be drawn."""
    for point in front.points:
        x, found = _on_axis(point, front), point.evaluation
        y = found.drop if found is not None else point.predicted_drop if front.verified else point.damage
        if x is None or y is None:
            continue
        size = f"{counted(len(point.analog), 'layer')}, {share_text(point.analog_mac_fraction)} of MACs analog"
        if found is not None:
            drop = drop_text(y, found.percent, "absolute")
            yield DataPoint(x, y, found.drop_interval, "verified", f"{size}: {found.drop_word} {drop} (verified)")
        else:
            yield DataPoint(x, y, None, "estimated", f"{size}: {number_text(y)} (estimated)")


def own_point(front: Front, report: Report) -> FrontPoint | None:
    """The report's own placement as a point of a front; None where it was not judged as the points were.

    How it did stands in the outcome.
    """
    plan, outcome = report.plan, report.plan.outcome
    if report.damage is None or (front.verified and (outcome is None or outcome.metric != front.drop_metric)):
        return None
    total = None if report.costs is None else report.costs.total
    latency_s, energy_j = (None, None) if total is None else (total.latency_s, total.energy_j)
    names = tuple(row.name for row in folded(plan).layers if row.placement == "analog" and row.reason != "columns")
    return FrontPoint(names, plan.analog_mac_fraction, report.tiles, latency_s, energy_j, report.damage, None, None)


def own_drop(outcome: Outcome) -> tuple[float, tuple[float, float] | None]:
    """Its mean drop and the interval over chips, in the metric's unit, as those of fronts are."""
    found = outcome.chip_interval
    interval = None if found is None else (_absolute(outcome, found[0]), _absolute(outcome, found[1]))
    return _absolute(outcome, outcome.drop), interval


def _own(front: Front, report: Report) -> Iterator[DataPoint]:
    own, outcome = own_point(front, report), report.plan.outcome
    x = None if own is None else _on_axis(own, front)
    if own is None or x is None:
        return
    y, interval = own_drop(outcome) if front.verified and outcome is not None else (own.damage, None)
    yield DataPoint(x, y, interval, "chosen", f"this placement: {counted(len(own.analog), 'layer')}")


def _on_axis(point: FrontPoint, front: Front) -> float | None:
    value = point.value(front.objective)
    return None if value is None else AXES[front.objective][1] * value


def noise_chart(found: Robustness) -> Chart:
    """Drop over the scale of all noise; filled: within the budget."""
    first, drop_type = found.chips, found.drop_type
    points = []
    for scale in found.scales:
        e = scale.evaluation
        title = f"noise x {scale_text(scale.scale)}: {e.drop_word} {drop_text(e.drop, first.percent, drop_type)}"
        kind: MarkKind = "verified" if scale.within else "judged"
        points.append(DataPoint(scale.scale, e.drop, found.interval(e), kind, title))
    return Chart(
        tuple(points),
        (_budget(found.max_drop, first.percent, drop_type),),
        "all noise, times the hardware's (filled: shown to hold the budget)",
        f"{first.drop_word}{drop_unit(first.percent, drop_type, first.metric)}",
        percent=first.percent or drop_type == "relative",
    )


def region_chart(found: FeasibleRegion) -> Chart | RegionChart:
    """Drops over the only field, filled: shown to hold; with two fields, verdicts over both."""
    if len(found.fields) == 1:
        return _line_of_region(found)
    (x, y), verdicts = found.fields, {"shown": True, "broken": False, "not shown": None}
    marks = tuple(
        RegionMark(x.values.index(at[0]), y.values.index(at[1]), point.verdict, _region_title(found, point))
        for point in found.points
        if (at := point.values)
    )
    cells = tuple(tuple(verdicts[found.verdict(a, b)] for a in x.values) for b in y.values)
    x_texts, y_texts = (tuple(field_text(field.path, value) for value in field.values) for field in (x, y))
    return RegionChart(marks, cells, x_texts, y_texts, x.path, y.path)


def _line_of_region(found: FeasibleRegion) -> Chart:
    first, drop_type = found.example, found.drop_type
    points = (
        DataPoint(
            point.values[0],
            one.drop,
            one.deciding(found.generalized),
            "verified" if point.verdict == "shown" else "judged",
            _region_title(found, point),
        )
        for point in found.points
        if (one := point.evaluation) is not None
    )
    return Chart(
        tuple(points),
        (_budget(found.max_drop, first.percent, drop_type),),
        f"{found.fields[0].path} (filled: shown to hold the budget)",
        f"{first.drop_word}{drop_unit(first.percent, drop_type, first.metric)}",
        percent=first.percent or drop_type == "relative",
    )


def _region_title(found: FeasibleRegion, point: RegionPoint) -> str:
    at = ", ".join(
        f"{field.path} {field_text(field.path, value)}" for field, value in zip(found.fields, point.values, strict=True)
    )
    one = point.evaluation
    if one is None:
        return f"{at}: {point.verdict}, values are not finite"
    return f"{at}: {point.verdict}, {one.drop_word} {drop_text(one.drop, one.percent, found.drop_type)}"


def training_chart(trained: Retrained, outcome: Outcome) -> Chart:
    """Drop at every validation over the steps of the training, in the metric's unit, as the budget is drawn."""
    percent, word = outcome.percent, outcome.drop_word
    return Chart(
        tuple(
            DataPoint(p.step, p.drop, None, "judged", f"step {p.step}: {word} {drop_text(p.drop, percent, 'absolute')}")
            for p in trained.curve
        ),
        (_budget(_absolute(outcome, outcome.max_drop), percent),),
        "optimiser steps",
        f"{word} at validation{drop_unit(percent, 'absolute', outcome.metric)}",
        percent=percent,
    )
