"""Geometry of the charts: where points, intervals, lines and ticks lie. Lengths are pixels, y grows downward."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.plan import Outcome, Plan
from lhc.report.document import Front, FrontPoint, OverTime, Robustness
from lhc.report.wording import duration, interval_text, metric_value, points

__all__ = [
    "Chart",
    "Level",
    "Mark",
    "Range",
    "RangeChart",
    "Tick",
    "front_chart",
    "noise_chart",
    "outcome_chart",
    "time_chart",
]

WIDTH, HEIGHT = 430, 196
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 36
_FIRST_READ_S = 20.0
"""Usual time from programming to the first read: 0 on the axis of time, which is logarithmic in the time since
programming."""
_LABEL_ROOM = 52

Interval = tuple[float, float]
MarkKind = Literal["verified", "judged", "estimated", "chosen"]


@dataclass(frozen=True)
class Tick:
    """A label at a place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point; ``low`` and ``high`` are the ends of its interval, None without one."""

    x: float
    y: float
    low: float | None
    high: float | None
    kind: MarkKind
    title: str


@dataclass(frozen=True)
class Level:
    """A horizontal line with its name: the budget, or the digital network."""

    y: float
    kind: Literal["budget", "digital"]
    text: str


@dataclass(frozen=True)
class Chart:
    """Points over an axis.

    Attributes:
        line: points that are connected, in order.
        x_label: of the horizontal axis, with its unit.
        y_label: of the vertical one.
    """

    marks: tuple[Mark, ...]
    line: tuple[tuple[float, float], ...]
    levels: tuple[Level, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str
    y_label: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class _Scale:
    """A linear map of an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _span(values: Iterable[float], margin: float = 0.06) -> Interval:
    """What an axis shows: all values and a margin."""
    known = list(values)
    low, high = min(known), max(known)
    room = margin * (high - low) or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within an axis, at most so many."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while (high - low) / step > most:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _numbers(ticks: Sequence[float]) -> list[str]:
    """Ticks with as many decimals as their step needs."""
    texts = [f"{tick:.10g}" for tick in ticks]
    decimals = max((len(text.partition(".")[2]) for text in texts if "e" not in text), default=0)
    return [f"{tick + 0.0:.{decimals}f}" if "e" not in text else text for tick, text in zip(ticks, texts, strict=True)]


def _y_ticks(scale: _Scale, factor: float) -> tuple[Tick, ...]:
    ticks = _round_ticks(factor * scale.low, factor * scale.high)
    return tuple(Tick(scale(tick / factor), text) for tick, text in zip(ticks, _numbers(ticks), strict=True))


def _ends(interval: Interval | None, scale: _Scale) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (scale(interval[0]), scale(interval[1]))


def time_chart(times: OverTime, outcome: Outcome | None) -> Chart:
    """The metric over the time since programming, with the digital value and the budget."""
    how = times.how
    levels = {"digital": how.baseline}
    if outcome is not None and outcome.metric == how.metric:
        levels["budget"] = _worst_value(how.baseline, outcome)
    bounds = [bound for point in times.points if point.interval for bound in point.interval]
    low, high = _span([*levels.values(), *bounds, *(point.value for point in times.points)])
    y = _Scale(low, high, HEIGHT - _BOTTOM, _TOP)
    starts = [math.log10(point.t_s + _FIRST_READ_S) for point in times.points]
    x = _Scale(*_span(starts), _LEFT, WIDTH - _RIGHT)
    marks = []
    for point, start in zip(times.points, starts, strict=True):
        title = f"{duration(point.t_s)}: {metric_value(point.value, how.percent)}"
        if point.interval is not None:
            title += f" [{', '.join(metric_value(bound, how.percent) for bound in point.interval)}]"
        marks.append(Mark(x(start), y(point.value), *_ends(point.interval, y), "verified", title))
    return Chart(
        tuple(marks),
        tuple((mark.x, mark.y) for mark in marks),
        tuple(Level(y(v), kind, f"{kind} {metric_value(v, how.percent)}") for kind, v in levels.items()),  # type: ignore[arg-type]
        _without_overlap(Tick(mark.x, duration(p.t_s)) for mark, p in zip(marks, times.points, strict=True)),
        _y_ticks(y, 100 if how.percent else 1),
        "time after programming",
        f"{how.metric}{' (%)' if how.percent else ''}",
    )


def _worst_value(baseline: float, outcome: Outcome) -> float:
    """The metric's value at which the budget is used up."""
    fall = outcome.max_drop * (abs(baseline) if outcome.drop_type == "relative" else 1)
    higher_is_better = (outcome.baseline - outcome.value) * outcome.drop >= 0
    return baseline - fall if higher_is_better else baseline + fall


def _without_overlap(ticks: Iterable[Tick]) -> tuple[Tick, ...]:
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= _LABEL_ROOM:
            kept.append(tick)
    return tuple(kept)


def _objective(front: Front, point: FrontPoint) -> float | None:
    """Place on the horizontal axis: % of MACs that are analog, ms, or µJ."""
    if front.objective == "macs":
        return 100 * point.analog_macs
    value, factor = (point.latency_s, 1e3) if front.objective == "latency" else (point.energy_j, 1e6)
    return None if value is None else value * factor


_OBJECTIVES = {
    "macs": "analog share of all multiplications (%)",
    "latency": "latency per sample (ms)",
    "energy": "energy per sample (µJ)",
}


def front_chart(front: Front, plan: Plan) -> Chart | None:
    """Drop over the objective; where nothing was judged on data, the estimated damage. None without points."""
    judged = any(point.drop is not None for point in front.points)
    found: list[tuple[float, float, FrontPoint]] = []
    for point in front.points:
        place, height = _objective(front, point), point.drop if judged else point.estimate
        if place is not None and height is not None:
            found.append((place, height, point))
    if not found:
        return None
    found.sort(key=lambda one: one[:2])
    outcome = plan.outcome if judged else None
    heights = [0.0, *(height for _, height, _ in found)]
    heights += [bound for _, _, point in found if judged and point.interval for bound in point.interval]
    if outcome is not None:
        heights.append(outcome.max_drop)
    y = _Scale(*_span(heights), HEIGHT - _BOTTOM, _TOP)
    x = _Scale(*_span([place for place, _, _ in found]), _LEFT, WIDTH - _RIGHT)
    marks = [_front_mark(x, y, one, front, judged) for one in found]
    ticks = _round_ticks(x.low, x.high)
    percent = front.percent or (outcome is not None and outcome.drop_type == "relative")
    unit = " (points)" if front.percent else f" ({front.metric})"
    budget = (
        ()
        if outcome is None
        else (Level(y(outcome.max_drop), "budget", f"budget {points(outcome, outcome.max_drop)}"),)
    )
    return Chart(
        tuple(marks),
        tuple((mark.x, mark.y) for mark in marks if mark.kind != "judged"),
        budget,
        tuple(Tick(x(tick), text) for tick, text in zip(ticks, _numbers(ticks), strict=True)),
        _y_ticks(y, 100 if judged and percent else 1),
        _OBJECTIVES[front.objective],
        f"drop{unit}" if judged else f"sum of sensitivities ({front.metric})",
    )


def _front_mark(x: _Scale, y: _Scale, one: tuple[float, float, FrontPoint], front: Front, judged: bool) -> Mark:
    place, height, point = one
    kind: MarkKind = "verified" if point.verified else "judged" if judged else "estimated"
    value = f"{100 * height:.2f} points drop" if judged and front.percent else f"{height:.4g}"
    if judged and point.interval is not None:
        factor = 100 if front.percent else 1
        value += f" [{', '.join(f'{factor * bound:.3g}' for bound in point.interval)}]"
    title = f"{point.analog} layers, {100 * point.analog_macs:.1f} % of MACs analog: {value}"
    ends = _ends(point.interval, y) if judged else (None, None)
    return Mark(x(place), y(height), *ends, "chosen" if point.chosen else kind, f"{title} ({kind})")


def noise_chart(robustness: Robustness, outcome: Outcome) -> Chart:
    """Drop over the scale of all noise."""
    levels = robustness.levels
    bounds = [bound for level in levels if level.interval for bound in level.interval]
    y = _Scale(*_span([0.0, outcome.max_drop, *bounds, *(level.drop for level in levels)]), HEIGHT - _BOTTOM, _TOP)
    x = _Scale(*_span([level.scale for level in levels]), _LEFT, WIDTH - _RIGHT)
    marks = tuple(
        Mark(
            x(level.scale),
            y(level.drop),
            *_ends(level.interval, y),
            "verified" if level.within_budget else "judged",
            f"noise x {level.scale:g}: drop {points(outcome, level.drop)}",
        )
        for level in levels
    )
    percent = outcome.percent or outcome.drop_type == "relative"
    return Chart(
        marks,
        tuple((mark.x, mark.y) for mark in marks),
        (Level(y(outcome.max_drop), "budget", f"budget {points(outcome, outcome.max_drop)}"),),
        _without_overlap(Tick(x(level.scale), f"{level.scale:g} x") for level in levels),
        _y_ticks(y, 100 if percent else 1),
        "all noise, times the hardware's",
        "drop (points)" if percent else f"drop ({outcome.metric})",
    )


@dataclass(frozen=True)
class Range:
    """An interval as a bar; ``decides``: it is held against the budget."""

    y: float
    low: float
    high: float
    mean: float
    label: str
    value: str
    decides: bool


@dataclass(frozen=True)
class RangeChart:
    """Intervals of the mean drop beside the budget."""

    ranges: tuple[Range, ...]
    zero: float
    budget: float
    budget_text: str
    ticks: tuple[Tick, ...]
    x_label: str
    width: float = WIDTH
    height: float = 118
    left: float = 12
    right: float = WIDTH - _RIGHT
    bottom: float = 84


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
    x = _Scale(*_span([0.0, outcome.max_drop, outcome.drop, *bounds]), 12, WIDTH - _RIGHT)
    percent = outcome.percent or outcome.drop_type == "relative"
    factor = 100 if percent else 1
    ticks = _round_ticks(factor * x.low, factor * x.high, 8)
    ranges = tuple(
        Range(22 + 34 * row, x(i[0]), x(i[1]), x(outcome.drop), label, interval_text(outcome, i), decides)
        for row, (label, i, decides) in enumerate(known)
    )
    return RangeChart(
        ranges,
        x(0.0),
        x(outcome.max_drop),
        f"budget {points(outcome, outcome.max_drop)}",
        tuple(Tick(x(tick / factor), text) for tick, text in zip(ticks, _numbers(ticks), strict=True)),
        f"mean drop{' (points)' if percent else f' ({outcome.metric})'}",
    )
