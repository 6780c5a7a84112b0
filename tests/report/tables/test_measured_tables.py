"""What `run`, `robustness` and `attribute` print, on made-up results."""

from dataclasses import replace
from math import nextafter

import pytest

from lhc.plan import Outcome, Retrained, Sensitivity
from lhc.report.exports.json_documents import evaluations_document, fields_of
from lhc.report.tables.command_results import Evaluations
from lhc.report.tables.measured_tables import (
    attribution_footer,
    attribution_table,
    evaluation_footer,
    evaluation_table,
    robustness_footer,
    robustness_table,
)
from lhc.report.wording.outcome import within_budget
from lhc.results import AtScale, AtTime, Attribution, Calibration, Evaluation, LayerAttribution, Robustness
from tests.report.made_reports import judged, place, transformer


def evaluated(drop: float, percent: bool = True, t_s: float = 86400.0) -> Evaluation:
    return Evaluation(
        metric="accuracy" if percent else "mse",
        percent=percent,
        baseline=0.9,
        values=(0.9 - drop,) * 2,
        mean=0.9 - drop,
        std=0.0,
        interval=None,
        drop=drop,
        drop_interval=(drop - 0.005, drop + 0.005),
        sample_interval=None,
        drops=(drop - 0.003, drop + 0.003),
        samples=100,
        seed=0,
        t_s=t_s,
        confidence=0.95,
    )


def test_a_bound_over_the_budget_does_not_read_as_the_budget() -> None:
    """Rounded to hundredths it would say 1.00 of 1.00, and "not shown" beside it."""
    over = replace(evaluated(0.005), values=(0.895,), drops=(0.005,), drop_interval=(0.0012, 0.010021))
    outcome = outcome_of().model_copy(update={"max_drop": 0.01})
    table, footer = evaluation_table([over], outcome), evaluation_footer([over], outcome)
    row = dict(zip(table.headers, table.rows[0], strict=True))
    assert row["interval of the drop"] == "0.12 to 1.002"
    assert table.rows[0][-1] == "not shown"
    assert "; 1 draw, " in footer


def test_times_of_a_run_are_told_as_people_say_them_and_in_json_in_seconds() -> None:
    times = (0.0, 90.0, 3600.0, 86400.0, 1e6, 31536000.0)
    results = [evaluated(0.01, t_s=t) for t in times]
    table = evaluation_table(results)
    assert table.headers[0] == "time"
    assert [row[0] for row in table.rows] == [
        "0 s",
        "1.5 minutes",
        "1 hour",
        "1 day",
        "1000000 s (11.6 days)",
        "1 year",
    ]
    assert [row["t_s"] for row in evaluations_document(Evaluations(results))["times"]] == list(times)  # type: ignore[attr-defined]


def test_an_interval_beside_a_deviation_of_zero_is_explained() -> None:
    alike = replace(evaluated(0.01), interval=(0.885, 0.895))
    assert "intervals take the std as at least 0.50 %, half a sample: less is not seen" in evaluation_footer([alike])
    rounded = (0.9875, nextafter(0.9875, 1))
    without = [replace(alike, interval=interval) for interval in ((0.89, 0.89), rounded, None)]
    for unlike in (replace(alike, std=0.01), *without):
        assert "half a sample" not in evaluation_footer([unlike])


def test_drops_with_no_sum_predict_none() -> None:
    told = [str(Calibration.of([1.0, 2.0], drops)) for drops in ([0.1, -0.1 + 1e-17], [-0.2, 0.1], [0.1, 0.3])]
    assert told[:2] == ["the 2 measured placements lost nothing together: estimated damage predicts no drop"] * 2
    assert told[2].startswith("measured damage is 0.133 x estimated damage")


def outcome_of(**changes: object) -> Outcome:
    _, plan = judged(*place(transformer(1), lambda index: index % 3 > 0))
    assert plan.outcome is not None
    known = {"metric": "accuracy", "percent": True, "baseline": 0.95, "drop": 0.01, "max_drop": 0.02}
    return plan.outcome.model_copy(update=known | {"drop_type": "absolute", "samples": 60, "data": "d"} | changes)


def test_a_run_says_at_which_times_the_budget_is_held() -> None:
    results = [evaluated(0.01), evaluated(0.0149), evaluated(0.0151), replace(evaluated(0.01), drop_interval=None)]
    table = evaluation_table(results, outcome_of())
    assert table.headers[-2:] == ["interval of the drop", "holds a budget of 2.00 points"]
    assert [row[-1] for row in table.rows] == ["yes", "yes", "not shown", "not shown"]
    assert evaluation_table([evaluated(0.0251)], outcome_of()).rows[0][-1] == "no", "all of the interval is above"
    assert table.rows[0][-2] == "0.50 to 1.50"
    relative = outcome_of(drop_type="relative", max_drop=0.0155 / 0.9)
    assert [within_budget(one, relative) for one in results[:3]] == [True, False, False], "of a baseline of 0.9"
    table = evaluation_table(results, relative)
    assert table.headers[-3:] == [
        "drop (% of the digital value)",
        "interval of the drop",
        "holds a budget of 1.72 % of the digital value",
    ]
    assert table.rows[0][-3:] == ["1.11", "0.56 to 1.67", "yes"], "in the unit of the plan's verdict"
    nothing = [replace(evaluated(0.01, percent=False), baseline=0.0)]
    other = outcome_of(drop_type="relative", metric="mse", percent=False)
    assert evaluation_table(nothing, other).headers[4] == "drop (mse)", "nothing is relative to 0"
    wider = replace(evaluated(0.01), sample_interval=(0.0, 0.03))
    assert not within_budget(wider, outcome_of(generalized=True))
    times: list[dict[str, object]] = evaluations_document(Evaluations(results, outcome_of()))["times"]  # type: ignore[assignment]
    assert [row["within_budget"] for row in times] == [True, True, False, False]
    for unlike in (None, outcome_of(metric="kl")):
        assert evaluation_table(results, unlike).headers[-1] == "interval of the drop"
        assert "plan" not in evaluation_footer(results, unlike)


def test_a_run_of_trained_weights_says_what_drops_are_against() -> None:
    trained = Retrained(source="a" * 64, layers=("a",), steps=5, batch_size=2, loss="hard", seed=0, samples=9, data="")
    outcome = outcome_of(retrained=trained)
    assert within_budget(evaluated(0.01), outcome) is None
    told = evaluation_footer([evaluated(0.01)], outcome)
    assert "drops are against the weights of this file, which were trained" in told
    assert (
        "against the network as it was given (95.00 %), with a drop of 1.00 points on 60 samples: not compared" in told
    )
    given = replace(evaluated(0.01), against="a" * 64)
    assert within_budget(given, outcome)
    told = evaluation_footer([given], outcome)
    assert "digital accuracy of the network that drops are against 90.00 %" in told
    assert "the budget is compared with the upper bound of the drop" in told
    for unlike, plan in ((replace(given, against="other"), outcome), (given, outcome_of())):
        assert within_budget(unlike, plan) is None
        assert "drops are against another network than the plan's verdict" in evaluation_footer([unlike], plan)


def test_a_run_says_which_samples_guided_the_search() -> None:
    def told(outcome: Outcome, samples: int = 100, data: str = "d", skipped: str | None = None) -> str:
        return evaluation_footer([replace(evaluated(0.01), samples=samples, data=data, skipped=skipped)], outcome)

    searched = outcome_of(strategy="sensitivity", held_out=True)
    assert "that verdict is of 60 of these samples; others of them guided its search" in told(searched)
    assert "samples differ from those that the plan was made with" in told(searched, data="other")
    assert "samples differ from those that the plan was made with" in told(searched, data="other", skipped="another")
    assert "none of these guided its search" in told(searched, data="other", skipped="d")
    whole = outcome_of(strategy="sensitivity", held_out=False)
    assert "these samples guided its search too" in told(whole, 60)
    assert "that verdict is of 60 of these samples; they guided its search too" in told(whole)  # others calibrated
    assert "guided" not in told(outcome_of(strategy="all-analog"))


def robust(percent: bool = True, margin: float = 1.5) -> Robustness:
    month = AtTime(evaluated(0.012, percent, 30 * 86400), 1.1, (1.0, 1.25))
    scales = (AtScale(1.0, evaluated(0.01, percent), margin >= 1), AtScale(1.75, evaluated(0.04, percent), False))
    return Robustness(0.02, "absolute", (month,), evaluated(0.01, percent), 0.5, scales, margin, 1.75)


def test_robustness_tells_times_drops_and_their_intervals() -> None:
    lines = robustness_table(robust()).render("table").splitlines()
    assert lines[0].split("  ")[0] == "condition"
    for title in ("accuracy", "mean drop (points)", "95 % interval over chips"):
        assert title in lines[0]
    assert " ".join(lines[2].split()) == "after 30 days 88.80 % 1.20 0.70 to 1.70 yes 1.10 (1.00 to 1.25)"
    assert "holds a budget of 2.00 points" in lines[0]
    assert lines[3].split()[-2:] == ["yes", "-"]
    assert lines[4].split()[-2:] == ["no", "-"]


def test_an_interval_that_reaches_beyond_the_budget_shows_neither() -> None:
    wide = replace(evaluated(0.01), drop_interval=(-0.03, 0.05))
    scales = (AtScale(1.0, evaluated(0.01), True), AtScale(1.75, wide, False))
    found = replace(robust(), scales=scales)
    assert robustness_table(found).render("table").splitlines()[4].split()[-3:] == ["not", "shown", "-"]
    assert robustness_footer(found).splitlines()[2].endswith("; not shown to be met at 1.75")


def test_figures_at_several_times_say_that_chips_are_calibrated_at_each() -> None:
    told = "chips are calibrated anew at every time; 'lhc compare --ages' shows how a calibration ages"
    days = [replace(evaluated(0.01), t_s=86400.0 * day, calibrated=9) for day in (1, 2)]
    anew = [replace(one, calibrated_at_s=one.t_s) for one in days]
    assert told in evaluation_footer(anew)
    assert told not in evaluation_footer(anew[:1])
    assert told not in evaluation_footer([replace(one, calibrated_at_s=86400.0) for one in days])
    times = tuple(AtTime(one, None, None) for one in anew)
    assert told in robustness_footer(replace(robust(), times=times))


def test_the_margin_says_its_budget_and_the_time_of_the_chips() -> None:
    after = "1 day after the first read, drops from 0.70 to 1.30 points"
    assert robustness_footer(robust()).splitlines() == [
        "digital accuracy 90.00 %; 100 samples, seed 0",
        f"the budget is for the mean over chips; 1 of the 2 chips measured holds it alone {after}",
        "margin: the budget of 2.00 points is met up to 1.5 times the machine's noise; not met at 1.75",
    ]
    assert robustness_footer(robust(percent=False)).splitlines()[2].startswith("margin: the budget of 0.02 is met")
    relative = replace(robust(percent=False), drop_type="relative")
    assert "the budget of 2.00 % of the digital value is met" in robustness_footer(relative)


def test_what_differs_from_the_decision_is_said_with_the_margin() -> None:
    found = replace(robust(), differs=("other samples (60 instead of 398)", "a level of 95 % instead of 99.2 %"))
    assert robustness_footer(found).splitlines()[-1] == (
        "measured, unlike the decision, with other samples (60 instead of 398) and a level of 95 % instead of 99.2 %"
    )


def test_the_interval_that_decides_is_the_one_that_is_shown() -> None:
    wide = replace(evaluated(0.01), sample_interval=(-0.03, 0.05))
    found = replace(robust(), scales=(AtScale(1.0, wide, False),), generalized=True)
    lines = robustness_table(found).render("table").splitlines()
    assert "95 % interval over chips and samples" in lines[0]
    assert "-3.00 to 5.00" in lines[3]


def test_no_margin_is_not_zero_times_the_noise() -> None:
    over, unclear = (replace(evaluated(0.03), drop_interval=(low, 0.05)) for low in (0.021, 0.01))
    for least, word in ((over, "not met"), (unclear, "not shown to be met")):
        found = replace(robust(margin=0.0), scales=(AtScale(0.0625, least, False),), fails_at=0.0625)
        last = robustness_footer(found).splitlines()[2]
        assert last == f"margin: none: the budget of 2.00 points is {word} with any noise tried"


def test_no_margin_with_few_draws_is_put_down_to_the_interval() -> None:
    few = replace(evaluated(0.004), drop_interval=(-0.042, 0.05))
    found = replace(robust(margin=0.0), scales=(AtScale(0.0625, few, False),))
    assert robustness_footer(found).splitlines()[3] == (
        "at 0.0625 times the noise the mean drop is 0.40 points, within the budget, but its interval over 2 draws"
        " reaches 5.00 points; more --draws narrow it"
    )
    worse = replace(found, scales=(AtScale(0.0625, evaluated(0.03), False),))
    assert robustness_footer(worse).endswith("the mean drop is 3.00 points, over the budget")
    assert len(robustness_footer(robust()).splitlines()) == 3


def damage(mean: float, half: float = 0.0) -> Sensitivity:
    return Sensitivity(metric="kl", mean=mean, std=0.0, interval=(mean - half, mean + half), draws=4)


def attributed(whole: float) -> Attribution:
    effects = {"adc": damage(0.0005, 0.001), "programming": damage(0.008, 0.001)}
    layer = LayerAttribution(damage(whole), effects, damage(1e-15))
    return Attribution("kl", {"conv1": layer}, 100, 4, 0, 3600.0, 0.95)


def test_layers_are_called_by_their_modules_but_not_in_json() -> None:
    found = replace(attributed(0.02), titles={"conv1": "stem.conv (conv1)"})
    assert attribution_table(found).rows[0][0] == "stem.conv (conv1)"
    document = fields_of(found)
    assert list(document["layers"]) == ["conv1"]  # type: ignore[call-overload]
    assert "titles" not in document


@pytest.mark.parametrize(
    ("whole", "cells"),
    [(0.02, ["(2 %)", "40 %"]), (0.0, ["(0.0005)", "0.008"])],
    ids=["shares", "no damage to share"],
)
def test_effects_are_shares_of_the_damage(whole: float, cells: list[str]) -> None:
    table = attribution_table(attributed(whole))
    assert table.headers == ["layer", "kl", "ADC", "programming noise", "without all"]
    assert table.rows == [["conv1", f"{whole:.3g}", *cells, "1e-15"]]
    footer = attribution_footer(attributed(whole))
    assert "in brackets where the 95 % interval holds 0" in footer
    assert "shares need not add up to 100 %" in footer
    assert footer.endswith("4 draws, 100 samples, 1 hour after the first read, seed 0")


def test_documents_are_counted_beside_their_windows() -> None:
    found = replace(evaluated(0.01), samples=40, documents=12, calibrated=3)
    assert "12 documents (40 windows) and 3 other windows that every chip was calibrated on" in evaluation_footer(
        [found]
    )
    assert evaluations_document(Evaluations([found]))["documents"] == 12
    assert evaluations_document(Evaluations([evaluated(0.01)]))["documents"] is None
