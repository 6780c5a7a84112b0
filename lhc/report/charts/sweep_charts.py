"""Plots of a sweep: energy, MACs on tiles and drop of every run, over what was swept, a column of panels a network.

The horizontal axis is the budget where that differs in one unit, else the time of inference, else the settings by name.
Runs that differ otherwise, but for their seed, have a colour of their own; a line joins their means. Drops of several
metrics or units have a panel each.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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


_COMMON = (
    _PlottedFigure("energy per sample (µJ)", lambda found: None if found.energy_j is None else 1e6 * found.energy_j),
    _PlottedFigure("MACs analog (%)", lambda found: 100 * found.analog_mac_fraction),
)


def sweep_svg(result: "SweepResult") -> str:
    """The plots as a self-contained SVG; empty where no run gave figures, or more than `_MOST_NETWORKS` were swept."""
    rows = [row for row in result.rows if row.figures is not None]
    networks = defaultdict[str, list[SweepRow]](list)
    for row in rows:
        networks[str(row.settings["model"])].append(row)
    if not rows or len(networks) > _MOST_NETWORKS:
        return ""
    common = [one for one in _COMMON if any(one.value(row.figures) is not None for row in rows if row.figures)]
    figures = {network: [*common, *_drops(inside)] for network, inside in networks.items()}
    panels = max(map(len, figures.values()))
    keys, titles = varying([row.settings for row in rows]), _shown(networks)
    horizontals = {network: _horizontal(inside, keys) for network, inside in networks.items()}
    series = _shown(_series(row, keys, horizontals[network]) for network, inside in networks.items() for row in inside)

    def draw(figure: "Figure") -> None:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(panels, len(networks), sharex="col", squeeze=False)
        for column, (network, inside) in enumerate(networks.items()):
            grid[0][column].set_title(plain(titles[network]), fontsize=10.5)
            for axes, one in zip(grid[:, column], figures[network], strict=False):  # some have drops in fewer units
                _draw(axes, one, inside, keys, horizontals[network], series)
            for axes in grid[len(figures[network]) :, column]:
                axes.set_yticks([])
            grid[-1][column].set_xlabel(plain(horizontals[network].label))
        told = [axes.get_legend_handles_labels() for axes in grid[0]]
        handles = {label: handle for found in told for handle, label in zip(*found, strict=True)}
        if 1 < len(handles) <= _MOST_SERIES:
            figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=min(3, len(handles)))

    width, height = _FRAME + _PANEL * len(networks), 2 * _FRAME + _ROW * panels
    return standalone_svg(draw, width, height, f"runs of {result.name}")


def _drops(rows: Sequence[SweepRow]) -> list[_PlottedFigure]:
    """Mean drops, one figure for each metric and unit."""
    kinds = dict.fromkeys(_kind_of_drop(row.figures) for row in rows if row.figures is not None)

    def drop_of(kind: tuple[str, str]) -> Callable[[RunFigures], float | None]:
        return lambda found: _in_unit(found, found.drop) if _kind_of_drop(found) == kind else None

    of_several = len({metric for metric, _ in kinds}) > 1
    return [
        _PlottedFigure(f"mean drop{f' of {kind[0]}' if of_several else ''}{kind[1]}", drop_of(kind)) for kind in kinds
    ]


def _kind_of_drop(found: RunFigures) -> tuple[str, str]:
    """Metric and unit, without which drops and budgets cannot be compared."""
    return found.metric, drop_unit(found.percent, found.drop_type, found.metric)


def _series(row: SweepRow, keys: Sequence[str], horizontal: "_Horizontal") -> str:
    """What tells a run from others at its place: one colour in the panels of all networks."""
    return settings_text(row.settings, [k for k in keys if k not in {*horizontal.used, "model", "seed"}]) or "runs"


def _draw(
    axes: "Axes",
    one: _PlottedFigure,
    rows: Sequence[SweepRow],
    keys: Sequence[str],
    horizontal: "_Horizontal",
    names: Mapping[str, str],
) -> None:
    """A panel: marks of all runs, and a line through the means of each series; ``names``: of all series, as shown."""
    series = defaultdict[str, list[SweepRow]](list)
    for row in rows:
        series[_series(row, keys, horizontal)].append(row)
    for name, inside in series.items():
        colour = _COLOURS[list(names).index(name) % len(_COLOURS)]
        by_place = defaultdict[float, list[float]](list)
        for row in inside:
            value = None if row.figures is None else one.value(row.figures)
            if value is None:
                continue
            place = horizontal.place(row)
            by_place[place].append(value)
            title = f"{settings_text(row.settings, keys)}: {number_text(value)}"
            axes.plot([place], [value], "o", color=colour, markersize=4, alpha=0.6, gid=title)
        if by_place:
            places = sorted(by_place)
            middle = [fmean(by_place[place]) for place in places]
            axes.plot(places, middle, color=colour, linewidth=1.3, label=plain(names[name]))
    if horizontal.ticks:
        axes.set_xticks(range(len(horizontal.ticks)), list(map(plain, horizontal.ticks)))
    axes.grid(axis="y")
    axes.margins(0.08)
    axes.set_ylabel(plain(one.label))


@dataclass(frozen=True)
class _Horizontal:
    """The horizontal axis of a network's panels.

    Attributes:
        place: of a run; of settings by name, their number.
        used: options that it stands for.
        ticks: settings by name, in the order of the sweep; empty where places are numbers.
    """

    place: Callable[[SweepRow], float]
    label: str
    used: tuple[str, ...]
    ticks: tuple[str, ...] = ()


def _horizontal(rows: Sequence[SweepRow], keys: Sequence[str]) -> _Horizontal:
    found = [row.figures for row in rows if row.figures is not None]
    kinds = {_kind_of_drop(one) for one in found}
    if len({one.max_drop for one in found}) > 1 and len(kinds) == 1:
        return _Horizontal(
            lambda row: _in_unit(row.figures, row.figures.max_drop) if row.figures else 0.0,
            f"budget{kinds.pop()[1]}",
            ("max-drop",),
        )
    if len({one.t_s for one in found}) > 1:
        return _Horizontal(
            lambda row: row.figures.t_s / 86400 if row.figures else 0.0, "days after the first read", ("t-inference",)
        )
    used = tuple([key for key in keys if key not in ("model", "seed")][:1] or ["hardware"])
    shown = _shown(settings_text(row.settings, used) or "all" for row in rows)
    numbers = {name: number for number, name in enumerate(shown)}
    return _Horizontal(
        lambda row: numbers[settings_text(row.settings, used) or "all"], ", ".join(used), used, tuple(shown.values())
    )


def _in_unit(found: RunFigures, value: float) -> float:
    return 100 * value if found.percent or found.drop_type == "relative" else value


def _shown(names: Iterable[str]) -> dict[str, str]:
    """Names as they are drawn: long ones cut in the middle, and numbered where others would read the same."""
    found, cuts = dict[str, str](), Counter[str]()
    for name in dict.fromkeys(names):
        half = (_MOST_NAME - 1) // 2
        cut = name if len(name) <= _MOST_NAME else f"{name[:half]}…{name[-half:]}"
        number = cuts[cut] = cuts[cut] + 1
        found[name] = cut if number == 1 else f"{cut} ({number})"
    return found
