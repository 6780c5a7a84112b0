"""Plots of a sweep: energy, MACs on tiles and drop of every run, over what was swept, a column of panels a network.

The horizontal axis is the budget where that differs, else the time of inference, else the settings by name. Runs that
differ otherwise, but for their seed, have a colour of their own; a line joins their means.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from lhc.report.charts.axes import standalone_svg
from lhc.report.tables.sweep_table import settings_text, varying
from lhc.results import RunFigures, SweepRow
from lhc.support.number_formatting import drop_unit, number_text
from lhc.support.text_escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lhc.report.tables.sweep_table import SweepResult

_PANEL, _ROW, _FRAME = 260, 170, 60
"""Pixels: width and height of a panel, and what is around all of them."""
_MOST_NETWORKS, _MOST_SERIES, _MOST_NAME = 8, 12, 24
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b3261e", "#7e57a3", "#8c6d46", "#5a6067", "#c77ba6")


@dataclass(frozen=True)
class _PlottedFigure:
    """A figure of every run: a panel's vertical axis."""

    label: str
    value: Callable[[RunFigures], float | None]


_FIGURES = (
    _PlottedFigure("energy per sample (µJ)", lambda found: None if found.energy_j is None else 1e6 * found.energy_j),
    _PlottedFigure("MACs analog (%)", lambda found: 100 * found.analog_mac_fraction),
    _PlottedFigure("mean drop", lambda found: _in_unit(found, found.drop)),
)


def sweep_svg(result: "SweepResult") -> str:
    """The plots as a self-contained SVG; empty where no run gave figures, or more than `_MOST_NETWORKS` were swept."""
    rows = [row for row in result.rows if row.figures is not None]
    networks = defaultdict[str, list[SweepRow]](list)
    for row in rows:
        networks[str(row.settings["model"])].append(row)
    if not rows or len(networks) > _MOST_NETWORKS:
        return ""
    figures = [one for one in _FIGURES if any(one.value(row.figures) is not None for row in rows if row.figures)]
    keys = varying([row.settings for row in rows])

    def draw(figure: "Figure") -> None:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(len(figures), len(networks), sharex="col", squeeze=False)
        for column, (network, inside) in enumerate(networks.items()):
            grid[0][column].set_title(plain(_short(network)), fontsize=10.5)
            for axes, one in zip(grid[:, column], figures, strict=True):
                _draw(axes, one, inside, keys)
        handles, labels = grid[0][0].get_legend_handles_labels()
        if 1 < len(labels) <= _MOST_SERIES:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))

    width, height = _FRAME + _PANEL * len(networks), 2 * _FRAME + _ROW * len(figures)
    return standalone_svg(draw, width, height, f"runs of {result.name}")


def _draw(axes: "Axes", one: _PlottedFigure, rows: Sequence[SweepRow], keys: Sequence[str]) -> None:
    """A panel: marks of all runs, and a line through the means of each series."""
    place, label, used = _horizontal(rows, keys)
    series = defaultdict[str, list[SweepRow]](list)
    for row in rows:
        named = settings_text(row.settings, [key for key in keys if key not in {*used, "model", "seed"}])
        series[named or "runs"].append(row)
    for number, (name, inside) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        by_place = defaultdict[float | str, list[float]](list)
        for row in inside:
            value = None if row.figures is None else one.value(row.figures)
            if value is None:
                continue
            by_place[place(row)].append(value)
            title = f"{settings_text(row.settings, keys)}: {number_text(value)}"
            axes.plot([place(row)], [value], "o", color=colour, markersize=4, alpha=0.6, gid=title)
        if by_place:
            middle = [fmean(values) for values in by_place.values()]
            axes.plot(list(by_place), middle, color=colour, linewidth=1.3, label=plain(_short(name)))
    axes.grid(axis="y")
    axes.margins(0.08)
    figures = next(row.figures for row in rows if row.figures is not None)
    unit = drop_unit(figures.percent, figures.drop_type, figures.metric) if one.label == "mean drop" else ""
    axes.set_ylabel(plain(f"{one.label}{unit}"))
    if axes.get_subplotspec() is not None and axes.get_subplotspec().is_last_row():  # type: ignore[union-attr]
        axes.set_xlabel(plain(label))


def _horizontal(
    rows: Sequence[SweepRow], keys: Sequence[str]
) -> tuple[Callable[[SweepRow], float | str], str, tuple[str, ...]]:
    """The place of a run on the horizontal axis, the name of that, and the options that it stands for."""
    found = [row.figures for row in rows if row.figures is not None]
    if len({one.max_drop for one in found}) > 1:
        unit = drop_unit(found[0].percent, found[0].drop_type, found[0].metric)
        return (
            (lambda row: _in_unit(row.figures, row.figures.max_drop) if row.figures else 0.0),
            f"budget{unit}",
            ("max-drop",),
        )
    if len({one.t_s for one in found}) > 1:
        return (
            (lambda row: row.figures.t_s / 86400 if row.figures else 0.0),
            "days after the first read",
            ("t-inference",),
        )
    others = [key for key in keys if key not in ("model", "seed")][:1] or ["hardware"]
    return (lambda row: _short(settings_text(row.settings, others)) or "all"), ", ".join(others), tuple(others)


def _in_unit(found: RunFigures, value: float) -> float:
    return 100 * value if found.percent or found.drop_type == "relative" else value


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"
