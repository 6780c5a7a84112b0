"""Machines side by side as a picture: a panel of bars for every figure, a row for every machine.

The drop has its interval, and a line for the budget; every panel has an axis from 0 with its unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.report.charts.axes import Interval, Scale, number_ticks
from lhc.report.tables.comparison import holding_text
from lhc.support.number_formatting import drop_unit, number_text
from lhc.support.text_escaping import html_text

if TYPE_CHECKING:
    from lhc.pipeline.results import PartitionResult

__all__ = ["comparison_svg"]

_LABELS, _PANEL, _GAP, _ROW, _TOP, _FOOT = 150, 170, 28, 30, 34, 44
_MOST_NAME = 20
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.a{stroke:#333;fill:none}.b{fill:#94a3b8}"
    ".i{stroke:#0f172a;stroke-width:1.5}.l{stroke:#c2410c;stroke-width:1.5;stroke-dasharray:4 3}.u{fill:#777}"
)


@dataclass(frozen=True)
class _Panel:
    """One figure of every machine; ``limit``: the budget."""

    label: str
    values: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    limit: float | None = None


def comparison_svg(results: "Sequence[PartitionResult]") -> str:
    """The machines as a self-contained SVG."""
    panels = _panels(results)
    aged = any(result.ages for result in results)
    width = _LABELS + (_PANEL + _GAP) * len(panels) + (_LABELS if aged else 0)
    height = _TOP + _ROW * len(results) + _FOOT
    names = [result.plan.hardware.name for result in results]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{html_text(' beside '.join(names))}</title><style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *(_text(10, _middle(row) + 4, _short(name), name) for row, name in enumerate(names)),
    ]
    for number, panel in enumerate(panels):
        parts += _drawn(panel, _LABELS + number * (_PANEL + _GAP), len(results))
    if aged:
        left = _LABELS + len(panels) * (_PANEL + _GAP)
        parts.append(_text(left, _TOP - 14, "budget held"))
        parts += [_text(left, _middle(row) + 4, holding_text(result)) for row, result in enumerate(results)]
    return "\n".join([*parts, "</svg>"])


def _panels(results: "Sequence[PartitionResult]") -> list[_Panel]:
    """What is known of any machine."""
    none: tuple[Interval | None, ...] = (None,) * len(results)
    costs = [None if one.cost is None else one.cost.total for one in results]
    panels = [
        _drops(results),
        _Panel("MACs analog (%)", tuple(100 * one.plan.analog_mac_fraction for one in results), none),
        _Panel("energy per sample (µJ)", tuple(None if c is None else 1e6 * c.energy_j for c in costs), none),
        _Panel("latency per sample (ms)", tuple(None if c is None else 1e3 * c.latency_s for c in costs), none),
        _Panel(
            "samples per second",
            tuple(None if one.figures is None else one.figures.throughput.samples_per_s for one in results),
            none,
        ),
        _Panel("tiles", tuple(float(one.plan.tiles(one.facts)) for one in results), none),
    ]
    return [panel for panel in panels if any(value is not None for value in panel.values)]


def _drops(results: "Sequence[PartitionResult]") -> _Panel:
    outcomes = [one.plan.outcome for one in results]
    first = next((outcome for outcome in outcomes if outcome is not None), None)
    if first is None:
        return _Panel("drop", (None,) * len(results), (None,) * len(results))
    unit = 100.0 if first.percent or first.drop_type == "relative" else 1.0
    intervals = [None if outcome is None else outcome.interval for outcome in outcomes]
    return _Panel(
        f"mean {first.drop_word}{drop_unit(first.percent, first.drop_type, first.metric)}",
        tuple(None if outcome is None else unit * outcome.drop for outcome in outcomes),
        tuple(None if one is None else (unit * one[0], unit * one[1]) for one in intervals),
        unit * first.max_drop,
    )


def _drawn(panel: _Panel, left: float, rows: int) -> list[str]:
    """Bars, axis, and what stands below it."""
    bottom = _TOP + _ROW * rows
    known = [0.0, *(v for v in panel.values if v is not None), *(b for i in panel.intervals if i for b in i)]
    known += [] if panel.limit is None else [panel.limit]
    low, high = min(known), max(known)
    x = Scale(low, high + (0.05 * (high - low) or 1.0), left, left + _PANEL)
    parts = [f'<path class="a" d="M{left} {bottom}H{left + _PANEL}M{x(0.0)} {_TOP}V{bottom}"/>']
    parts += [_text(tick.at, bottom + 16, tick.text, anchor="middle") for tick in number_ticks(x, 1, 4)]
    parts.append(_text(left + _PANEL / 2, bottom + 34, panel.label, anchor="middle"))
    for row, (value, interval) in enumerate(zip(panel.values, panel.intervals, strict=True)):
        parts += _bar(x, row, value, interval)
    if panel.limit is not None:
        at = x(panel.limit)
        parts += [
            f'<path class="l" d="M{at} {_TOP - 8}V{bottom}"/>',
            _text(at, _TOP - 14, f"budget {number_text(panel.limit)}", anchor="middle"),
        ]
    return parts


def _bar(x: Scale, row: int, value: float | None, interval: Interval | None) -> list[str]:
    middle = _middle(row)
    if value is None:
        return [f'<text class="u" x="{x(0.0) + 4}" y="{middle + 4}">not known</text>']
    start, end = sorted((x(0.0), x(value)))
    title = number_text(value) + ("" if interval is None else f" [{', '.join(map(number_text, interval))}]")
    place = f'x="{start}" y="{middle - 8}" width="{end - start:.1f}" height="16"'
    bar = f'<rect class="b" {place}><title>{title}</title></rect>'
    ends = [] if interval is None else [f'<path class="i" d="M{x(interval[0])} {middle}H{x(interval[1])}"/>']
    return [bar, *ends]


def _middle(row: int) -> float:
    return _TOP + _ROW * (row + 0.5)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"


def _text(x: float, y: float, text: str, title: str = "", anchor: str = "start") -> str:
    inside = f"<title>{html_text(title)}</title>" if title and title != text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{inside}{html_text(text)}</text>'
