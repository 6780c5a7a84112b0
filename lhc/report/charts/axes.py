"""Geometry that all charts share: scales, ticks, marks. Lengths are pixels, y grows downward."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BOTTOM",
    "LEFT",
    "RIGHT",
    "TOP",
    "Chart",
    "DataPoint",
    "Interval",
    "LevelKind",
    "MarkKind",
    "Range",
    "RangeChart",
    "Scale",
    "number_ticks",
    "point_chart",
    "round_ticks",
    "span",
]

WIDTH, HEIGHT = 430, 174
LEFT, RIGHT, TOP, BOTTOM = 46, WIDTH - 14, 10, HEIGHT - 36
_LABEL_ROOM = 52

Interval = tuple[float, float]
MarkKind = Literal["verified", "judged", "estimated", "chosen"]
LevelKind = Literal["budget", "digital"]


@dataclass(frozen=True)
class Tick:
    """A label at a place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class DataPoint:
    """What is drawn as a mark, in the units of the axes: ``interval`` is that of ``y``."""

    x: float
    y: float
    interval: Interval | None
    kind: MarkKind
    title: str


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
    """A horizontal line with its name, left or right: the budget, or the digital network."""

    y: float
    kind: LevelKind
    text: str
    right: bool


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
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


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
    right: float = RIGHT
    bottom: float = 84


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def span(values: Iterable[float], margin: float = 0.06) -> Interval:
    """What an axis shows: all values and a margin.

    >>> span([0.0, 1.0], 0.1), span([2.0])
    ((-0.1, 1.1), (1.8, 2.2))
    """
    known = list(values)
    low, high = min(known), max(known)
    room = margin * (high - low)
    if low - room == low or high + room == high:  # one value, but for rounding
        room = 0.1 * max(abs(low), abs(high)) or 1.0
    return low - room, high + room


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within an axis, at most about so many.

    >>> round_ticks(-0.02, 0.31), round_ticks(3.1, 97)
    ([0.0, 0.1, 0.2, 0.3], [20.0, 40.0, 60.0, 80.0])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= most)
    return [round(n * step, 12) + 0.0 for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def number_ticks(scale: Scale, factor: float = 1, most: int = 5) -> tuple[Tick, ...]:
    """Round numbers of ``factor`` times the values, with as many decimals as their step needs."""
    ticks = round_ticks(factor * scale.low, factor * scale.high, most)
    return tuple(Tick(scale(tick / factor), text) for tick, text in zip(ticks, _numbers(ticks), strict=True))


def _numbers(ticks: Sequence[float]) -> list[str]:
    texts = [f"{tick:.10g}" for tick in ticks]
    if any("e" in text for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def point_chart(
    points: Sequence[DataPoint],
    levels: Iterable[tuple[LevelKind, float, str]],
    x_label: str,
    y_label: str,
    *,
    percent: bool = False,
    joined: MarkKind | None = None,
    from_zero: bool = True,
    x_texts: Sequence[str] = (),
) -> Chart:
    """Points over an axis of numbers, and levels across it.

    Args:
        points: by ascending ``x``.
        percent: values of ``y`` are shares, and shown in %.
        joined: which points a line connects; all by default.
        from_zero: the vertical axis holds 0, whatever the points are.
        x_texts: what stands below each point as far as it fits, in place of round numbers.
    """
    levels = list(levels)
    bounds = [bound for point in points for bound in point.interval or ()]
    heights = [*([0.0] if from_zero else []), *bounds, *(p.y for p in points), *(value for _, value, _ in levels)]
    x, y = Scale(*span(p.x for p in points), LEFT, RIGHT), Scale(*span(heights), BOTTOM, TOP)
    marks = tuple(Mark(x(p.x), y(p.y), *_ends(p.interval, y), p.kind, p.title) for p in points)
    ticks = (Tick(mark.x, text) for mark, text in zip(marks, x_texts, strict=False))
    return Chart(
        marks,
        tuple((mark.x, mark.y) for mark in marks if joined in (None, mark.kind)),
        tuple(_level(y(value), kind, text, marks) for kind, value, text in levels),
        _without_overlap(ticks) if x_texts else number_ticks(x),
        number_ticks(y, 100 if percent else 1),
        x_label,
        y_label,
    )


def _ends(interval: Interval | None, scale: Scale) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (scale(interval[0]), scale(interval[1]))


def _level(y: float, kind: LevelKind, text: str, marks: Sequence[Mark]) -> Level:
    """A line whose name stands on the side where points are farther from it."""
    middle = (LEFT + RIGHT) / 2

    def room(right: bool) -> float:
        inside = (mark for mark in marks if (mark.x > middle) == right)
        return min((_distance(mark, y - 8) for mark in inside), default=math.inf)

    return Level(y, kind, text, room(True) >= room(False))


def _distance(mark: Mark, y: float) -> float:
    """From a point and its interval."""
    top, bottom = (mark.y if end is None else end for end in (mark.high, mark.low))
    return max(top - y, y - bottom, 0.0)


def _without_overlap(ticks: Iterable[Tick]) -> tuple[Tick, ...]:
    """Ticks of ascending places, those left out whose labels would touch the one before."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= _LABEL_ROOM:
            kept.append(tick)
    return tuple(kept)
