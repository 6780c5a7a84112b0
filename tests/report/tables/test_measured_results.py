"""Results as Python users meet them: short where they are shown, a table in every form, a frame, a picture."""

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest

from lhc.report.document.report import Report
from lhc.report.tables.measured_results import AttributionResult, Evaluations, FrontResult, RobustnessResult
from lhc.report.tables.measured_tables import evaluation_table
from lhc.support.notebook import Tabled
from lhc.support.tables import FORMATS


@pytest.fixture
def results(full: Report) -> dict[str, Tabled]:
    assert full.robustness is not None
    times = [at.evaluation for at in full.robustness.times]
    return {
        "evaluate": Evaluations(times, full.plan.outcome),
        "pareto": FrontResult(**vars(full.front)),
        "robustness": RobustnessResult(**vars(full.robustness)),
        "attribute": AttributionResult(**vars(full.attribution)),
    }


@pytest.mark.parametrize("name", ["evaluate", "pareto", "robustness", "attribute"])
def test_results_are_short_tables_frames_and_cells(
    results: dict[str, Tabled], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results[name]
    rows = len(found.as_table().rows)
    assert rows
    assert repr(found).startswith(f"<{type(found).__name__}: ")
    assert len(repr(found)) < 250
    for form in FORMATS:
        assert found.table(form)
    pandas: Any = ModuleType("pandas")
    pandas.read_csv = lambda file: file.read()
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert len(found.to_pandas().splitlines()) == rows + 1
    shown = found._repr_html_()
    assert shown.count("<tr>") == rows + 1
    assert shown.count("<p>") == len(found.summary.splitlines()) > 0, "what a figure rests on stands beside it"


def test_evaluations_are_those_of_single_times_with_the_budget_of_their_placement(
    results: dict[str, Tabled], full: Report
) -> None:
    found, outcome = results["evaluate"], full.plan.outcome
    assert isinstance(found, Evaluations)
    assert found.as_table().rows == evaluation_table(list(found), outcome).rows
    assert [one.t_s for one in found] == sorted(one.t_s for one in found)
    assert repr(found).count(" after ") == len(found)
    assert "digital 90.00 %" in repr(found)


class Axes:
    """Stands for matplotlib's axes: keeps what is drawn."""

    def __init__(self) -> None:
        self.drawn: list[tuple[list[float], list[float]]] = []
        self.labels: dict[str, str] = {}
        self.ticks: list[str] = []

    def plot(self, x: Iterable[float], y: Iterable[float], *style: str, **more: str) -> None:
        self.drawn.append((list(x), list(y)))

    def legend(self) -> None:
        self.labels["legend"] = "shown"

    def set_title(self, text: str) -> None:
        self.labels["title"] = text

    def set_xlabel(self, text: str) -> None:
        self.labels["x"] = text

    def set_ylabel(self, text: str) -> None:
        self.labels["y"] = text

    def set_xticks(self, places: object, labels: list[str]) -> None:
        self.ticks = labels


@pytest.mark.parametrize("name", ["evaluate", "robustness"])
def test_times_are_drawn_with_their_intervals_beside_the_digital_network(results: dict[str, Tabled], name: str) -> None:
    axes, times = Axes(), results["evaluate"]
    found: Any = results[name]
    assert found.plot(axes) is axes
    assert isinstance(times, Evaluations)
    for at, one in enumerate(times):
        assert ([at], [100 * one.mean]) in axes.drawn
        assert one.interval is not None
        assert ([at, at], [100 * bound for bound in one.interval]) in axes.drawn
    assert axes.drawn[-2][1] == [90.0, 90.0], "digital"
    assert axes.drawn[-1][1] == pytest.approx([87.0, 87.0]), "a budget of 3 points"
    assert len(axes.ticks) == len(times)
    assert (axes.labels["y"], axes.labels["title"]) == ("accuracy (%)", "mean of 2 chips, 90 % intervals")


def test_verified_points_of_a_front_are_drawn_over_its_objective(results: dict[str, Tabled]) -> None:
    axes, found = Axes(), results["pareto"]
    assert isinstance(found, FrontResult)
    found.plot(axes)
    points = [one for one in axes.drawn if len(one[0]) == 1]
    wanted = [([100 * p.analog_mac_fraction], [100 * p.evaluation.drop]) for p in found.verified if p.evaluation]
    assert points == wanted
    assert axes.labels == {"x": "MACs on tiles (% of all)", "y": "mean drop (points)"}
