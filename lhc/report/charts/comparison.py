"""Machines side by side as a picture: a panel of bars for every figure, a row for every machine.

The drop has its interval, and a line for the budget; every panel has an axis from 0 with its unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lhc.report.charts.axes import INK, Interval, standalone_svg
from lhc.report.tables.comparison import holding_text
from lhc.support.number_formatting import drop_unit, number_text
from lhc.support.text_escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lhc.pipeline.analysis_and_partition_results import PartitionResult

_NAMES, _PANEL, _ROW, _FRAME = 150, 198, 30, 90
"""Pixels: of the names of machines, of a panel, of a machine, above and below all of them."""
_MOST_NAME = 20
_BAR, _BUDGET = "#94a3b8", "#c2410c"


@dataclass(frozen=True)
class _Panel:
    """One figure of every machine; ``limit``: the budget."""

    label: str
    values: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    limit: float | None = None


def comparison_svg(results: "Sequence[PartitionResult]") -> str:
    """The machines as a self-contained SVG."""
    panels, rows = _panels(results), range(len(results))
    names = [result.plan.hardware.name for result in results]
    aged = [holding_text(result) for result in results] if any(result.ages for result in results) else []

    def draw(figure: "Figure") -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for one, panel in zip(axes, panels, strict=True):
            _draw(one, panel)
        axes[0].set_yticks(rows, [plain(_short(name)) for name in names])
        axes[0].set_ylim(len(results) - 0.5, -0.5)
        if aged:
            beside = axes[-1].secondary_yaxis("right")
            beside.set_yticks(rows, aged)
            axes[-1].set_title("budget held", loc="right", fontsize=10.5)

    width = _NAMES + _PANEL * len(panels) + (_NAMES if aged else 0)
    return standalone_svg(draw, width, _FRAME + _ROW * len(results), " beside ".join(names))


def _panels(results: "Sequence[PartitionResult]") -> list[_Panel]:
    """Panels for the figures that are known of any machine."""
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


def _draw(axes: "Axes", panel: _Panel) -> None:
    """Bars with their intervals, the budget, and what stands below the axis."""
    for row, (value, interval) in enumerate(zip(panel.values, panel.intervals, strict=True)):
        if value is None:
            axes.text(0, row, " not known", va="center")
            continue
        title = number_text(value) + ("" if interval is None else f" [{', '.join(map(number_text, interval))}]")
        axes.barh(row, value, height=0.55, color=_BAR)[0].set_gid(title)
        if interval is not None:
            axes.plot(interval, (row, row), color=INK, linewidth=1.5)
    axes.axvline(0, color=INK, linewidth=1)
    if panel.limit is not None:
        axes.axvline(panel.limit, color=_BUDGET, linewidth=1.5, linestyle=(0, (4, 3)))
        axes.set_title(f"budget {number_text(panel.limit)}", fontsize=10.5, color=_BUDGET)
    axes.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(plain(panel.label))


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"
