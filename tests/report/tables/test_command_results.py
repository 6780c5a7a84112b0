"""Results as Python users meet them: short where they are shown, a table in every form, a frame, a picture."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from lhc.report.document.report import Report
from lhc.report.tables.command_results import AttributionResult, Evaluations, FrontResult, RobustnessResult
from lhc.report.tables.measured_tables import evaluation_table
from lhc.support.notebook import Tabled
from lhc.support.tables import FORMATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def marks(axes: "Axes") -> list[tuple[list[float], list[float]]]:
    """What is drawn in order, as places on the axes, but for lines across all of them."""
    lines = [line for line in axes.lines if line.get_gid() is not None]
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in lines]


@pytest.mark.parametrize("name", ["evaluate", "robustness"])
def test_times_are_drawn_with_their_intervals_beside_the_digital_network(results: dict[str, Tabled], name: str) -> None:
    axes, times = Figure().add_subplot(), results["evaluate"]
    found: Any = results[name]
    assert found.plot(axes) is axes
    assert isinstance(times, Evaluations)
    drawn = marks(axes)
    for one in times:
        assert [100 * one.mean] in [y for _, y in drawn]
        assert one.interval is not None
        assert [100 * bound for bound in one.interval] in [y for _, y in drawn]
    levels = {line.get_label(): np.asarray(line.get_ydata()).item(0) for line in axes.lines if line.get_gid() is None}
    assert levels["digital 90.00 %"] == pytest.approx(90.0)
    assert levels["budget 87.00 %"] == pytest.approx(87.0), "a budget of 3 points"
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["0 s", "1 hour"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("accuracy (%)", "time after the first read")


def test_points_of_a_front_are_drawn_over_its_objective(results: dict[str, Tabled]) -> None:
    axes, found = Figure().add_subplot(), results["pareto"]
    assert isinstance(found, FrontResult)
    found.plot(axes)
    points = [one for one in marks(axes) if len(one[0]) == 1]
    wanted = [([100 * p.analog_mac_fraction], [100 * p.evaluation.drop]) for p in found.verified if p.evaluation]
    assert points == wanted
    assert axes.get_xlabel() == "analog share of multiplications by weights (%)"
    assert axes.get_ylabel() == "drop (points)"
