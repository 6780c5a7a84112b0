"""Charts as matplotlib draws them: every mark is there with its figure, escaped, the same bytes every time."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from lhc.report.charts.axes import (
    Chart,
    DataPoint,
    IntervalChart,
    Level,
    Range,
    chart_svg,
    standalone_svg,
)

HOSTILE = "<script>$\\frac{1}{2}$ & \"'\x1b[31m\u202e\n漢😀"


def points(*values: float, text: str = "point") -> tuple[DataPoint, ...]:
    """The first is estimated, the last the report's own; all others have an interval."""
    kinds = ("estimated", *("verified",) * (len(values) - 2), "chosen")
    return tuple(
        DataPoint(n, y, (y - 0.01, y + 0.01) if kind == "verified" else None, kind, f"{text} {n}")  # type: ignore[arg-type]
        for n, (y, kind) in enumerate(zip(values, kinds, strict=True))
    )


def chart(text: str = "point") -> Chart:
    levels = (Level("budget", 0.05, f"budget {text}"), Level("digital", 0.0, f"digital {text}"))
    return Chart(points(0.01, 0.02, 0.03, 0.04, text=text), levels, f"tiles {text}", f"drop {text}", percent=True)


def intervals(text: str = "chips") -> IntervalChart:
    ranges = (Range(-0.01, 0.02, f"other {text}", "-1 to 2", True), Range(-0.02, 0.03, text, "-2 to 3", False))
    return IntervalChart(ranges, 0.005, 0.04, f"budget {text}", f"mean drop {text}", True)


def shown(text: str) -> list[str]:
    """Words of a picture that stand in it, in their order."""
    root = ElementTree.fromstring(text)
    return ["".join(one.itertext()) for one in root.iter() if one.tag.rpartition("}")[2] == "text"]


def titles(text: str) -> list[str | None]:
    root = ElementTree.fromstring(text)
    return [one.text for one in root.iter() if one.tag.rpartition("}")[2] == "title"]


def test_every_point_level_and_axis_is_shown() -> None:
    drawn = chart_svg(chart(), "front", "Trade-off", "four points")
    words = shown(drawn)
    assert {"budget point", "digital point", "tiles point", "drop point"} <= set(words)
    assert {"0", "2", "4"} <= set(words), "drops are in %"
    # A mark each, an interval each of the two in the middle, and a ring around the last.
    assert sorted(filter(None, titles(drawn))) == sorted(
        ["Trade-off", "point 0", *["point 1"] * 2, *["point 2"] * 2, *["point 3"] * 2]
    )
    assert 'aria-labelledby="front-title front-desc"' in drawn
    assert '<desc id="front-desc">four points</desc>' in drawn


def test_both_intervals_and_the_budget_are_shown() -> None:
    drawn = chart_svg(intervals(), "drop", "Drop", "")
    assert {"other chips: -1 to 2", "chips: -2 to 3", "budget chips", "mean drop chips"} <= set(shown(drawn))
    assert titles(drawn).count("other chips: -1 to 2, compared with the budget") == 2, "bar and mean"


@pytest.mark.parametrize("make", [chart, intervals], ids=["points", "intervals"])
def test_texts_mean_nothing_and_are_shown(make: Callable[[str], Chart | IntervalChart]) -> None:
    """No formula, no markup, no character that steers; a font without a character is no reason to fail."""
    drawn = chart_svg(make(HOSTILE), "front", HOSTILE, HOSTILE)
    assert "<script" not in drawn
    assert not re.search("[\x1b\u202e]", drawn)
    assert sum("$\\frac{1}{2}$ & \"'" in text for text in shown(drawn)) >= 3


@pytest.mark.parametrize("make", [chart, intervals], ids=["points", "intervals"])
def test_a_chart_is_the_same_bytes_whatever_the_users_matplotlib_is_told(
    make: Callable[[], Chart | IntervalChart],
) -> None:
    once = chart_svg(make(), "front", "Trade-off", "")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert chart_svg(make(), "front", "Trade-off", "") == once
        assert mpl.rcParams["font.size"] == 30, "which stays as it is"


def test_a_page_may_hold_several_charts_and_forbid_styles() -> None:
    """Identifiers are a chart's own, each one that is referred to is there; colours are those of the style sheet."""
    drawn = [chart_svg(chart(), name, name, "") for name in ("one", "two")]
    one, two = ({*re.findall(r' id="(.*?)"', text)} for text in drawn)
    assert one
    assert not one & two
    for text, found in zip(drawn, (one, two), strict=True):
        assert {*re.findall(r'(?:href="|url\()#([^")]+)', text)} <= found
        assert not re.search(r"style|http|#[0-9a-f]{6}\b", text)
        assert {"var(--ink)", "var(--bad)", "var(--digital)", "var(--analog)"} <= {*re.findall(r"var\(--\w+\)", text)}


@pytest.mark.parametrize(
    ("x", "y"),
    [((3.0,), (0.0,)), ((0.0, 1e-12), (5.0, 5.0)), ((0.0, 1e300), (-1e300, 1e300))],
    ids=["one point at 0", "all but one place", "far apart"],
)
def test_any_finite_numbers_can_be_drawn(x: tuple[float, ...], y: tuple[float, ...]) -> None:
    found = tuple(DataPoint(at, value, None, "judged", "p") for at, value in zip(x, y, strict=True))
    drawn = chart_svg(Chart(found, (), "x", "y"), "c", "c", "")
    assert titles(drawn).count("p") == len(x)
    assert "nan" not in drawn


def test_labels_of_points_that_would_touch_are_left_out() -> None:
    places = (0.0, 0.01, 1.0, 2.0)
    found = tuple(DataPoint(at, 1.0, None, "verified", "p") for at in places)
    drawn = chart_svg(Chart(found, (), "time", "y", x_texts=("now", "soon", "later", "much later")), "c", "c", "")
    words = shown(drawn)
    assert {"now", "later", "much later"} <= set(words)
    assert "soon" not in words


def test_ticks_are_round_numbers_in_full() -> None:
    found = tuple(DataPoint(at, y, None, "judged", "p") for at, y in ((0.0, 1000.012), (1.0, 1000.033)))
    axes = Figure().add_subplot()
    Chart(found, (), "x", "y", from_zero=False).draw(axes)
    axes.figure.canvas.draw()
    ticks = [float(label.get_text()) for label in axes.get_yticklabels()]
    assert len(ticks) > 2
    assert {round(b - a, 9) for a, b in pairwise(ticks)} <= {0.005, 0.01}


def test_a_picture_that_stands_alone_is_an_svg_file_on_white() -> None:
    drawn = standalone_svg(lambda figure: chart().draw(figure.add_subplot()), 300, 200, HOSTILE)
    root = ElementTree.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["viewBox"] == "0 0 300 200"
    assert (titles(drawn)[0] or "").startswith("<script>")
    assert "#ffffff" in drawn
    assert "var(" not in drawn
    assert standalone_svg(lambda figure: chart().draw(figure.add_subplot()), 300, 200, HOSTILE) == drawn


def test_a_picture_says_nothing_of_matplotlibs_own_affairs(tmp_path: Path) -> None:
    """Its folders cannot be made and its font lacks a character: the picture is the same, and stderr is empty."""
    script = (
        "from lhc.report.charts.axes import standalone_svg\n"
        "print(standalone_svg(lambda figure: figure.add_subplot().set_xlabel('\u6f22'), 90, 60, 'x')[:4])"
    )
    (tmp_path / "file").touch()
    homes = {name: str(tmp_path / "file" / "x") for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    environment = {key: value for key, value in os.environ.items() if key != "MPLCONFIGDIR"} | homes
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "<svg\n", "")
