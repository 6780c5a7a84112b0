"""What is on the charts of a report, in the units of their axes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lhc.plan import CurvePoint, Outcome, Retrained
from lhc.report.charts.axes import Chart, RegionChart, chart_svg
from lhc.report.charts.report_charts import (
    front_chart,
    noise_chart,
    outcome_chart,
    region_chart,
    time_chart,
    training_chart,
    worst_allowed,
    worst_value,
)
from lhc.report.document.builder import over_time
from lhc.report.document.report import Report
from lhc.report.exports.markdown import markdown
from lhc.report.html.sections import sections
from lhc.report.wording.placement import statements
from lhc.results import AtTime, Evaluation


def test_time_runs_to_the_right_and_worse_is_lower(full: Report, make_evaluated: Callable[..., Evaluation]) -> None:
    times = over_time(make_evaluated(0.89 - 0.01 * n, t) for n, t in enumerate((0.0, 60.0, 1e4, 1e9)))
    chart = time_chart([at.evaluation for at in times], worst_allowed([times[0].evaluation], full.plan.outcome))
    assert [point.x for point in chart.points] == sorted(point.x for point in chart.points)
    assert [point.y for point in chart.points] == [at.evaluation.mean for at in times]
    assert [point.interval for point in chart.points] == [at.evaluation.interval for at in times]
    digital, budget = (next(level for level in chart.levels if level.kind == kind) for kind in ("digital", "budget"))
    assert (digital.text, budget.text) == ("digital 90.00 %", "budget 87.00 %")
    assert digital.value > chart.points[0].y > budget.value > chart.points[-1].y


@pytest.mark.parametrize(
    ("value", "drop", "drop_type", "worst"),
    [(0.88, 0.02, "absolute", 0.87), (0.92, 0.02, "absolute", 0.93), (0.88, 0.022, "relative", 0.873)],
    ids=["higher is better", "lower is better", "relative"],
)
def test_the_worst_value_allowed(full: Report, value: float, drop: float, drop_type: str, worst: float) -> None:
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"value": value, "drop": drop, "drop_type": drop_type})
    assert worst_value(0.9, outcome) == pytest.approx(worst)


def test_a_measured_front_shows_drops_and_the_budget(full: Report) -> None:
    chart = front_chart(full)
    assert chart is not None
    assert [mark.kind for mark in chart.points].count("verified") == 4
    chosen = next(mark for mark in chart.points if mark.kind == "chosen")
    (budget,) = chart.levels
    assert budget.text == "budget 3.00 points"
    assert [chosen.y, budget.value] == pytest.approx([0.012, 0.03])
    assert "drop 1.20 points" in chart.points[1].title, "as in the table"


def test_an_estimated_front_shows_damage(full: Report) -> None:
    assert full.front is not None
    points = tuple(point.__class__(**{**vars(point), "evaluation": None}) for point in full.front.points)
    estimated = full.front.__class__(**{**vars(full.front), "points": points})
    chart = front_chart(full.model_copy(update={"front": estimated}))
    assert chart is not None
    assert chart.levels == ()
    assert chart.y_label == "estimated damage (kl)"
    assert front_chart(full.model_copy(update={"front": None})) is None


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_fronts_of_other_objectives(full: Report, objective: str) -> None:
    assert full.front is not None
    front = full.front.__class__(**{**vars(full.front), "objective": objective})
    chart = front_chart(full.model_copy(update={"front": front}))
    assert chart is not None
    assert objective in chart.x_label
    verified = [mark for mark in chart.points if mark.kind == "verified"]
    assert [mark.y for mark in verified] == sorted((mark.y for mark in verified), reverse=True), (
        "less latency or energy, more drop"
    )


def test_noise(full: Report) -> None:
    assert full.robustness is not None
    chart = noise_chart(full.robustness)
    assert [mark.kind for mark in chart.points] == ["verified", "verified", "judged"]


def test_a_region_over_two_fields_has_a_ground_of_what_follows_from_its_points(full: Report) -> None:
    assert full.region is not None
    chart = region_chart(full.region)
    assert isinstance(chart, RegionChart)
    assert (chart.x_texts, chart.y_texts) == (("1", "1.5", "2"), ("4", "8"))
    assert chart.cells == ((None, None, False), (True, True, True)), "by rows from below"
    assert [(mark.x, mark.y, mark.kind) for mark in chart.marks] == [
        (0, 0, "not shown"), (2, 0, "broken"), (0, 1, "shown"), (2, 1, "shown")
    ]  # fmt: skip
    assert chart.marks[1].title == "adc.noise 2, adc.bits 4: broken, drop 20.00 points"
    svg = chart_svg(chart, "region", "name", "description")
    assert svg.count("<title>adc.noise") == 4


def test_a_region_over_one_field_is_drops_over_it(full: Report) -> None:
    assert full.region is not None
    points = tuple(replace(point, values=point.values[:1]) for point in full.region.points[2:])
    chart = region_chart(replace(full.region, fields=full.region.fields[:1], points=points))
    assert isinstance(chart, Chart)
    assert [(mark.x, mark.kind) for mark in chart.points] == [(1, "verified"), (2, "verified")]


def test_relative_drops_are_in_percent_in_charts_and_tables(full: Report) -> None:
    """Of a metric that is no share: 0.012 of the digital value is 1.2 %, in the chart as in the table beside it."""
    assert full.robustness is not None
    assert full.infeasibility is not None
    assert full.plan.outcome is not None
    scales = tuple(
        replace(scale, evaluation=replace(scale.evaluation, metric="mse", percent=False))
        for scale in full.robustness.scales
    )
    chips = replace(full.robustness.chips, metric="mse", percent=False)
    found = replace(full.robustness, drop_type="relative", scales=scales, chips=chips)
    chart = noise_chart(found)
    assert chart.points[1].title == "noise x 1: drop 1.20 % of the digital value"
    assert chart.y_label == "drop (% of the digital value)"
    outcome = full.plan.outcome.model_copy(update={"drop_type": "relative"})
    plan = full.plan.model_copy(update={"outcome": outcome})
    shown = {section.id: section for section in sections(full.model_copy(update={"robustness": found, "plan": plan}))}
    (table,) = shown["noise"].tables
    assert table.columns[1][0] == "Mean drop (% of the digital value)"
    assert [cell.text for cell in table.rows[1][1:3]] == ["1.20", "-0.80 to 3.20"]
    (remedies,) = shown["infeasible"].tables
    assert remedies.columns[2][0] == "Mean drop (% of the digital value)"


def test_a_learning_curve_is_in_the_unit_of_its_table(full: Report) -> None:
    """Drops are in the metric's unit, whatever the budget is in: 3 % of 0.9 are 2.7 points."""
    assert full.plan.outcome is not None
    trained = Retrained(
        source="0" * 64,
        layers=("a",),
        steps=10,
        batch_size=4,
        loss="mse",
        seed=0,
        samples=8,
        data="0" * 64,
        curve=(CurvePoint(step=10, loss=0.1, drop=0.02),),
    )
    chart = training_chart(trained, full.plan.outcome.model_copy(update={"drop_type": "relative"}))
    assert chart.points[0].title == "step 10: drop 2.00 points"
    assert [level.text for level in chart.levels] == ["budget 2.70 points"]


def test_a_relative_budget_lies_where_it_is_on_a_front(full: Report) -> None:
    """Points of a front are in points; the budget of 3 % of 0.9, and the placement's own drop of 1.2 %, too."""
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"drop_type": "relative"})
    chart = front_chart(full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})}))
    absolute = front_chart(full)
    assert chart is not None
    assert absolute is not None
    assert [level.text for level in chart.levels] == ["budget 2.70 points"]
    chosen, before = (next(m for m in c.points if m.kind == "chosen") for c in (chart, absolute))
    assert [chosen.y, before.y] == pytest.approx([0.0108, 0.012])


def test_time_within_a_relative_budget_is_judged_in_its_unit(full: Report) -> None:
    """Times measured as points, a budget of 3 % of 0.9: 2.8 points are beyond it, and all is said as the budget is."""
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"drop_type": "relative"})
    said = said_over_time(full, outcome, (0.011, 0.029))
    assert said.endswith(
        "the mean drop is shown to be within the budget at first, and is 3.11 % of the digital value at 1 hour."
    )
    plan = full.plan.model_copy(update={"outcome": outcome})
    robust = replace(full.robustness, drop_type="absolute") if full.robustness is not None else None
    report = full.model_copy(update={"plan": plan, "robustness": robust})
    assert report.over_time_type == "relative"
    assert "Mean drop (% of the digital value)" in markdown(report)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((0.011, 0.029), "is shown to stay within the budget up to 1 hour, the longest time measured."),
        (
            (0.011, 0.031),
            "is shown to be within the budget at first, and is 2.80 points at 1 hour, not shown to be within",
        ),
        ((0.031, 0.031), "is 1.00 points at 0 s, not shown to be within the budget."),
        ((None, 0.031), "is 1.00 points at 0 s, not shown to be within the budget."),
    ],
)
def test_a_mean_within_the_budget_shows_nothing_without_its_bound(
    full: Report, bounds: tuple[float | None, float], said: str
) -> None:
    assert full.plan.outcome is not None
    assert said in said_over_time(full, full.plan.outcome, bounds)


def said_over_time(full: Report, outcome: Outcome, bounds: tuple[float | None, float]) -> str:
    """What is said of drops of 1.0 and 2.8 points at once and after an hour, with these upper bounds."""
    times = tuple(
        AtTime(
            replace(full.over_time[0].evaluation, drop=d, t_s=t, drop_interval=None if b is None else (0.0, b)),
            None,
            None,
        )
        for d, t, b in zip((0.01, 0.028), (0.0, 3600.0), bounds, strict=True)
    )
    changes = {"robustness": None, "times": times, "plan": full.plan.model_copy(update={"outcome": outcome})}
    return dict(statements(full.model_copy(update=changes)))["Over time"]


def test_both_intervals_and_which_decides(full: Report) -> None:
    outcome = full.plan.outcome
    assert outcome is not None
    chart = outcome_chart(outcome)
    assert chart is not None
    assert [(r.label, r.decides) for r in chart.ranges] == [
        ("other chips, these samples", True),
        ("other chips, other samples", False),
    ]
    assert [(one.low, one.high) for one in chart.ranges] == [outcome.chip_interval, outcome.sample_interval]
    assert (chart.mean, chart.budget) == (outcome.drop, outcome.max_drop)
    assert outcome_chart(Outcome(**{**dict(outcome), "chip_interval": None, "sample_interval": None})) is None
