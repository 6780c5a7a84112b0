"""Charts on ordinary axes, drawn by matplotlib: points over a number, and intervals beside a budget.

As SVG a chart is the same bytes for the same data: no date, identifiers from the chart's own, and no setting of the
user's matplotlib. Text stays text. On a page, colours are the variables of its style sheet, so that they follow light,
dark and print, and nothing needs a style of its own, which the page's content security policy forbids.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from xml.etree import ElementTree

from lhc.support.log_levels import quiet_logger
from lhc.support.notebook import axes_or_new
from lhc.support.text_escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float]
MarkKind = Literal["verified", "judged", "estimated", "chosen"]
LevelKind = Literal["budget", "digital"]

PAPER, INK, QUIET, LINE = "#ffffff", "#1c1e21", "#5a6067", "#d5d9dd"
ANALOG, DIGITAL, BAD = "#f28e2b", "#4e79a7", "#b3261e"
_VARIABLES = {
    PAPER: "paper",
    INK: "ink",
    QUIET: "quiet",
    LINE: "line",
    ANALOG: "analog",
    DIGITAL: "digital",
    BAD: "bad",
}
"""Names of the colours in the style sheet of the page."""
_MARKS: Mapping[MarkKind, Mapping[str, Any]] = {
    "verified": {"color": INK, "markersize": 6.5},
    "judged": {"markerfacecolor": PAPER, "markeredgecolor": INK, "markeredgewidth": 1.4, "markersize": 6},
    "estimated": {"markerfacecolor": PAPER, "markeredgecolor": QUIET, "markeredgewidth": 1.4, "markersize": 5},
    "chosen": {"color": INK, "markersize": 6.5},
}
RegionMarkKind = Literal["shown", "not shown", "broken"]
_REGION_MARKS: Mapping[RegionMarkKind, Mapping[str, Any]] = {
    "shown": {"marker": "o", "color": INK},
    "not shown": {"marker": "o", "markerfacecolor": PAPER, "markeredgecolor": INK, "markeredgewidth": 1.4},
    "broken": {"marker": "x", "color": BAD, "markeredgewidth": 1.8},
}
_LEVELS: Mapping[LevelKind, Mapping[str, Any]] = {
    "budget": {"color": BAD, "linestyle": (0, (4, 2))},
    "digital": {"color": DIGITAL, "linestyle": (0, (1.5, 2))},
}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.labelcolor": QUIET,
    "axes.labelpad": 3,
    "axes.edgecolor": LINE,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
}
_LABEL_ROOM = 0.14
"""Part of the axis that a label of a tick needs."""


@dataclass(frozen=True)
class DataPoint:
    """A mark, in the units of the axes: ``interval`` is that of ``y``, ``title`` what it says when pointed at."""

    x: float
    y: float
    interval: Interval | None
    kind: MarkKind
    title: str


@dataclass(frozen=True)
class Level:
    """A horizontal line with its name: the budget, or the digital network."""

    kind: LevelKind
    value: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Points over an axis of numbers, and levels across it.

    Attributes:
        points: by ascending ``x``.
        x_label: of the horizontal axis, with its unit.
        y_label: of the vertical one.
        percent: values of ``y`` are shares, and shown in %.
        joined: the kind of points that a line connects; all by default.
        from_zero: the vertical axis holds 0, whatever the points are.
        x_texts: labels below the points as far as they fit, in place of round numbers.
    """

    points: tuple[DataPoint, ...]
    levels: tuple[Level, ...]
    x_label: str
    y_label: str
    percent: bool = False
    joined: MarkKind | None = None
    from_zero: bool = True
    x_texts: tuple[str, ...] = ()
    width: ClassVar[int] = 430
    height: ClassVar[int] = 174

    def draw(self, axes: "Axes") -> None:
        """Put the chart on axes of matplotlib."""
        unit = 100.0 if self.percent else 1.0
        line = [point for point in self.points if self.joined in (None, point.kind)]
        if len(line) > 1:
            axes.plot([p.x for p in line], [unit * p.y for p in line], color=QUIET, linewidth=1.3)
        for level in self.levels:
            axes.axhline(unit * level.value, linewidth=1.6, label=plain(level.text), **_LEVELS[level.kind])
        for point in self.points:
            if point.interval is not None:
                ends = [unit * end for end in point.interval]
                axes.plot((point.x, point.x), ends, color=INK, linewidth=1.3, marker="_", gid=point.title)
            if point.kind == "chosen":
                ring: Mapping[str, Any] = {
                    "markerfacecolor": "none",
                    "markeredgecolor": ANALOG,
                    "markeredgewidth": 3,
                    "markersize": 14,
                }
                axes.plot([point.x], [unit * point.y], "o", gid=point.title, **ring)
            axes.plot([point.x], [unit * point.y], "o", gid=point.title, **_MARKS[point.kind])
        axes.margins(0.06)
        if self.from_zero:
            axes.update_datalim([(self.points[0].x, 0.0)])
            axes.autoscale_view()
        axes.grid(axis="y")
        axes.set_xlabel(plain(self.x_label))
        axes.set_ylabel(plain(self.y_label))
        _number_axes(axes)
        if self.x_texts:
            axes.set_xticks(*_without_overlap([point.x for point in self.points], self.x_texts))
        if self.levels:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(self.levels))

    def on(self, axes: "Axes | None") -> "Axes":
        """The axes, new ones by default, with the chart on them."""
        axes = axes_or_new(axes)
        self.draw(axes)
        return axes

    def arrange(self, figure: "Figure") -> None:
        """Draw it on a figure of its own."""
        self.draw(figure.add_axes((0.12, 0.22, 0.85, 0.66)))


@dataclass(frozen=True)
class Range:
    """An interval as a bar; ``decides``: it is held against the budget."""

    low: float
    high: float
    label: str
    value: str
    decides: bool


@dataclass(frozen=True)
class IntervalChart:
    """Intervals of the mean drop beside the budget; ``percent``: drops are shares, and shown in %."""

    ranges: tuple[Range, ...]
    mean: float
    budget: float
    budget_text: str
    x_label: str
    percent: bool
    width: ClassVar[int] = 430
    height: ClassVar[int] = 118

    def draw(self, axes: "Axes") -> None:
        """Put the chart on axes of matplotlib."""
        unit = 100.0 if self.percent else 1.0
        axes.axvline(0, color=LINE, linewidth=1.5)
        axes.axvline(unit * self.budget, linewidth=1.6, label=plain(self.budget_text), **_LEVELS["budget"])
        ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}
        for row, one in enumerate(self.ranges):
            title = f"{one.label}: {one.value}{', compared with the budget' if one.decides else ''}"
            style: Mapping[str, Any] = (
                {"color": INK, "linewidth": 5} if one.decides else {"color": QUIET, "linewidth": 2}
            )
            axes.plot((unit * one.low, unit * one.high), (row, row), solid_capstyle="butt", gid=title, **style)
            axes.plot([unit * self.mean], [row], "o", color=INK, markersize=10, gid=title)
            text = plain(f"{one.label}: {one.value}")
            axes.text(0, row - 0.3, text, transform=axes.get_yaxis_transform(), bbox=ground)
        axes.margins(x=0.06)
        axes.set_ylim(len(self.ranges) - 0.6, -0.8)
        axes.set_xlabel(plain(self.x_label))
        _number_axes(axes)
        axes.set_yticks([])
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))

    def arrange(self, figure: "Figure") -> None:
        """Draw it on a figure of its own."""
        self.draw(figure.add_axes((0.03, 0.3, 0.94, 0.58)))


@dataclass(frozen=True)
class RegionMark:
    """A point that was judged, by its places on the axes, and what it says when pointed at."""

    x: int
    y: int
    kind: RegionMarkKind
    title: str


@dataclass(frozen=True)
class RegionChart:
    """Points of a grid that were judged, on a ground of cells that are known to be within the region or beyond it.

    Attributes:
        x_texts, y_texts: values of the axes, at equal distances.
        cells: of every row of the grid, from below, whether each of its points lies within; None: not known.
    """

    marks: tuple[RegionMark, ...]
    cells: tuple[tuple[bool | None, ...], ...]
    x_texts: tuple[str, ...]
    y_texts: tuple[str, ...]
    x_label: str
    y_label: str
    width: ClassVar[int] = 430
    height: ClassVar[int] = 200

    def draw(self, axes: "Axes") -> None:
        """Put the chart on axes of matplotlib."""
        for y, row in enumerate(self.cells):
            for x, within in enumerate(row):
                if within is not None:
                    ground = DIGITAL if within else BAD
                    sides = (x - 0.5, x + 0.5, x + 0.5, x - 0.5), (y - 0.5, y - 0.5, y + 0.5, y + 0.5)
                    axes.fill(*sides, color=ground, alpha=0.25 if within else 0.1, linewidth=0)
        for kind, style in _REGION_MARKS.items():
            axes.plot([], [], linestyle="none", label=kind, **style)
        for mark in self.marks:
            axes.plot([mark.x], [mark.y], linestyle="none", gid=mark.title, **_REGION_MARKS[mark.kind])
        axes.set_xlim(-0.5, len(self.x_texts) - 0.5)
        axes.set_ylim(-0.5, len(self.y_texts) - 0.5)
        axes.set_xticks(*_without_overlap([float(x) for x in range(len(self.x_texts))], self.x_texts))
        axes.set_yticks(range(len(self.y_texts)), list(self.y_texts))
        axes.set_xlabel(plain(self.x_label))
        axes.set_ylabel(plain(self.y_label))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(_REGION_MARKS))

    def on(self, axes: "Axes | None") -> "Axes":
        """The axes, new ones by default, with the chart on them."""
        axes = axes_or_new(axes)
        self.draw(axes)
        return axes

    def arrange(self, figure: "Figure") -> None:
        """Draw it on a figure of its own."""
        self.draw(figure.add_axes((0.12, 0.18, 0.85, 0.72)))


def _number_axes(axes: "Axes") -> None:
    """About five round numbers on either axis, written in full."""
    axes.locator_params(nbins=5, steps=[1, 2, 5, 10])
    axes.ticklabel_format(useOffset=False)


def _without_overlap(places: Sequence[float], texts: Sequence[str]) -> tuple[list[float], list[str]]:
    """Ticks of ascending places, those left out whose labels would touch the one before."""
    room = _LABEL_ROOM * (places[-1] - places[0])
    kept: list[tuple[float, str]] = []
    for place, text in zip(places, texts, strict=True):
        if not kept or place - kept[-1][0] >= room:
            kept.append((place, text))
    return [place for place, _ in kept], [text for _, text in kept]


def chart_svg(
    chart: Chart | IntervalChart | RegionChart, id: str, name: str, description: str, at: Interval | None = None
) -> str:
    """A chart as an SVG element of a page or a sheet, in the colours of its style sheet.

    Args:
        chart: what is drawn.
        id: begins all identifiers in it.
        name: read out in place of the picture.
        description: the same in sentences.
        at: its place on a sheet, in pixels; on a page the style sheet says.
    """
    root = _drawn(chart.arrange, chart.width, chart.height, id, {})
    _plain_attributes(root, _VARIABLES)
    for tag in ("desc", "title"):
        said = ElementTree.Element(tag, {"id": f"{id}-{tag}"})
        said.text = plain({"title": name, "desc": description}[tag])
        root.insert(0, said)
    place = {} if at is None else {"x": f"{at[0]:g}", "y": f"{at[1]:g}", "height": f"{chart.height}"}
    root.attrib |= {**place, "width": f"{chart.width}", "role": "img", "aria-labelledby": f"{id}-title {id}-desc"}
    return ElementTree.tostring(root, encoding="unicode")


def standalone_svg(draw: Callable[["Figure"], None], width: float, height: float, title: str) -> str:
    """A picture as an SVG file of its own, on white."""
    root = _drawn(draw, width, height, "picture", {"figure.facecolor": PAPER, "axes.facecolor": "none"})
    _plain_attributes(root, {})
    said = ElementTree.Element("title")
    said.text = plain(title)
    root.insert(0, said)
    root.attrib |= {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "font-family": "sans-serif"}
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _drawn(
    draw: Callable[["Figure"], None], width: float, height: float, id: str, style: Mapping[str, str]
) -> ElementTree.Element:
    """SVG elements of a figure of so many pixels; every artist with an identifier has that as its title."""
    with _quiet():
        import matplotlib as mpl
        from matplotlib.figure import Figure

    clear = {"figure.facecolor": "none", "axes.facecolor": "none"}
    with mpl.rc_context(), _quiet():
        mpl.rcdefaults()
        settings: Any = {**_STYLE, **clear, **style, "svg.hashsalt": id}
        mpl.rcParams.update(settings)
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        draw(figure)
        titles = {}
        for number, artist in enumerate(figure.findobj(lambda artist: artist.get_gid() is not None)):
            titles[f"title-{number}"] = artist.get_gid() or ""
            artist.set_gid(f"title-{number}")
        file = BytesIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    found = ElementTree.fromstring(file.getvalue())
    root = ElementTree.Element("svg", {"viewBox": found.attrib["viewBox"]})
    root.extend(child for child in found if child.find("{*}style") is None)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if (title := titles.get(element.attrib.get("id", ""))) is not None:
            said = ElementTree.Element("title")
            said.text = plain(title)
            element.insert(0, said)
    return root


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep matplotlib from telling lhc's users of its cache of fonts, of its folders, and of characters in no font."""
    with quiet_logger("matplotlib"), warnings.catch_warnings(action="ignore"):
        yield


def _plain_attributes(root: ElementTree.Element, variables: Mapping[str, str]) -> None:
    """Attributes in place of styles, colours by their name in a style sheet, identifiers where something refers to one.

    Fonts are those of the page or of the root.
    """
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', text))
    for element in root.iter():
        given = element.attrib
        styles = dict(part.strip().split(": ", 1) for part in given.pop("style", "").split(";") if part.strip())
        if given.get("id") not in used:
            given.pop("id", None)
        if (target := given.pop("{http://www.w3.org/1999/xlink}href", None)) is not None:
            given["href"] = target
        if element.tag == "text" and given.get("transform", "").startswith("rotate(-0 "):
            del given["transform"]
        for key, value in styles.items():
            if key != "font-family":
                given[key] = f"var(--{variables[value]})" if value in variables else value
