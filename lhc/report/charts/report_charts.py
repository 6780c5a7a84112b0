"""The charts of a report: what is on their axes."""

import math
from collections.abc import Iterator, Sequence

from lhc.plan import Outcome, Retrained
from lhc.plan.recurrent_steps import folded
from lhc.report.charts.axes import (
    RIGHT,
    Chart,
    DataPoint,
    LevelKind,
    MarkKind,
    Range,
    RangeChart,
    Scale,
    number_ticks,
    point_chart,
    span,
)
from lhc.report.document.report import Report
from lhc.report.wording.outcome import interval_text, intervals, of_budget, other_chips, points
from lhc.results import AtTime, Evaluation, Front, FrontPoint, Robustness
from lhc.support.number_formatting import (
    drop_text,
    drop_unit,
    metric_value,
    number_text,
    scale_text,
    share_text,
    time_text,
)

__all__ = [
    "AXES",
    "front_chart",
    "is_measured",
    "noise_chart",
    "outcome_chart",
    "own_drop",
    "own_point",
    "time_chart",
    "training_chart",
    "worst_value",
]

AXES = {
    "macs": ("analog share of multiplications by weights (%)", 100.0),
    "latency": ("latency per sample (ms)", 1e3),
    "energy": ("energy per sample (µJ)", 1e6),
    "tiles": ("tiles", 1.0),
}
"""Of objectives: what stands below the axis, and the factor from an objective's own unit to that of the axis."""
_FIRST_READ_S = 20.0
"""From programming to time 0, as of PCM: the axis of time is logarithmic in the time since programming."""


def outcome_chart(outcome: Outcome) -> RangeChart | None:
    """The intervals of the mean drop and the budget; None where no interval is known."""
    known = [
        (f"{other_chips(outcome)}, {what}", interval, decides)
        for what, interval, decides in intervals(outcome)
        if interval is not None
    ]
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
        f"mean {outcome.drop_word}{drop_unit(outcome.percent, outcome.drop_type, outcome.metric)}",
    )


def time_chart(times: Sequence[AtTime], outcome: Outcome | None) -> Chart:
    """The metric over the time since programming, with the digital value and the budget."""
    found = [point.evaluation for point in times]
    percent, metric = found[0].percent, found[0].metric

    def shown(value: float) -> str:
        return metric_value(value, percent)

    def title(e: Evaluation) -> str:
        interval = "" if e.interval is None else f" [{', '.join(map(shown, e.interval))}]"
        return f"{time_text(e.t_s)}: {shown(e.mean)}{interval}"

    levels: dict[LevelKind, float] = {"digital": found[0].baseline}
    if outcome is not None and of_budget(found[0], outcome):
        levels["budget"] = worst_value(found[0].baseline, outcome)
    return point_chart(
        [DataPoint(math.log10(e.t_s + _FIRST_READ_S), e.mean, e.interval, "verified", title(e)) for e in found],
        [(kind, value, f"{kind} {shown(value)}") for kind, value in levels.items()],
        "time after programming",
        f"{metric}{' (%)' if percent else ''}",
        percent=percent,
        from_zero=False,
        x_texts=[time_text(e.t_s) for e in found],
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


def is_measured(report: Report) -> bool:
    """Whether points of the front were judged on data."""
    return report.front is not None and bool(report.front.verified)


def front_chart(report: Report) -> Chart | None:
    """Drop over the objective; where nothing was judged on data, the estimated damage. None without points."""
    front, outcome = report.front, report.plan.outcome
    if front is None:
        return None
    drawn = sorted(_points(front, report), key=lambda point: (point.x, point.y))
    if not drawn:
        return None
    label, _ = AXES[front.objective]
    if not front.verified:
        return point_chart(drawn, (), label, f"sum of sensitivities ({front.metric})", joined="estimated")
    verified = front.verified[0].evaluation
    assert verified is not None
    levels: list[tuple[LevelKind, float, str]] = []
    if outcome is not None and verified.metric == outcome.metric:
        levels.append(_budget(_absolute(outcome, outcome.max_drop), verified.percent))
    drop = f"{front.drop_word}{drop_unit(verified.percent, 'absolute', verified.metric)}"
    return point_chart(drawn, levels, label, drop, percent=verified.percent, joined="verified")


def _budget(value: float, percent: bool, drop_type: str = "absolute") -> tuple[LevelKind, float, str]:
    """The budget as a level of a chart of drops."""
    return "budget", value, f"budget {drop_text(value, percent, drop_type)}"


def _points(front: Front, report: Report) -> Iterator[DataPoint]:
    """The points of the front that can be drawn, and the report's own placement."""
    for point in front.points:
        x, found = _on_axis(point, front), point.evaluation
        y = found.drop if found is not None else point.predicted_drop if front.verified else point.damage
        if x is None or y is None:
            continue
        size = f"{len(point.analog)} layers, {share_text(point.analog_mac_fraction)} of MACs analog"
        if found is not None:
            drop = drop_text(y, found.percent, "absolute")
            yield DataPoint(x, y, found.drop_interval, "verified", f"{size}: {found.drop_word} {drop} (verified)")
        else:
            yield DataPoint(x, y, None, "estimated", f"{size}: {number_text(y)} (estimated)")
    yield from _own(front, report)


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
    yield DataPoint(x, y, interval, "chosen", f"this placement: {len(own.analog)} layers")


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
    return point_chart(
        points,
        [_budget(found.max_drop, first.percent, drop_type)],
        "all noise, times the hardware's (filled: shown to hold the budget)",
        f"{first.drop_word}{drop_unit(first.percent, drop_type, first.metric)}",
        percent=first.percent or drop_type == "relative",
    )


def training_chart(trained: Retrained, outcome: Outcome) -> Chart:
    """Drop at every validation over the steps of the training, in the metric's unit, as the budget is drawn."""
    percent, word = outcome.percent, outcome.drop_word
    return point_chart(
        [
            DataPoint(p.step, p.drop, None, "judged", f"step {p.step}: {word} {drop_text(p.drop, percent, 'absolute')}")
            for p in trained.curve
        ],
        [_budget(_absolute(outcome, outcome.max_drop), percent)],
        "optimiser steps",
        f"{word} at validation{drop_unit(percent, 'absolute', outcome.metric)}",
        percent=percent,
    )
