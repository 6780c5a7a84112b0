"""Words and numbers as people read them."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from lhc.plan.summary import format_outcome
from lhc.report.charts.report_charts import front_svg
from lhc.report.document.report import Report
from lhc.report.exports.formats import parse_report
from lhc.report.exports.markdown import markdown
from lhc.report.html.page import html
from lhc.report.tables.measured_tables import evaluation_footer, evaluation_table, front_table, robustness_footer
from lhc.report.wording.infeasibility import infeasibility_lines
from lhc.report.wording.layers import digital_layers, never_text
from lhc.report.wording.outcome import budget_of_chips, intervals
from lhc.report.wording.placement import verdict_sentence


def _as_error(found: Any) -> Any:  # noqa: ANN401
    """The same report, of an error instead of an accuracy."""
    if isinstance(found, list):
        return [_as_error(one) for one in found]
    if not isinstance(found, dict):
        return found
    error: dict[str, Any] = {"metric": "nmse", "percent": False, "higher_is_better": False}
    if {"baseline", "value"} <= found.keys():  # what fell rises by as much
        error["value"] = 2 * found["baseline"] - found["value"]
    return {name: _as_error(one) for name, one in found.items()} | (error if "percent" in found else {})


def _said(report: Report) -> str:
    """All that is said of a placement where words for people are made."""
    outcome, robustness, front = report.plan.outcome, report.robustness, report.front
    assert outcome is not None
    assert robustness is not None
    assert front is not None
    texts = [
        markdown(report),
        re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", html(report), flags=re.DOTALL),
        *infeasibility_lines(report.infeasibility, report.plan),
        verdict_sentence(report.plan, 3),
        format_outcome(outcome),
        evaluation_table([robustness.chips], outcome).render(),
        evaluation_footer([robustness.chips], outcome),
        front_table(front).render(),
        front_svg(front),
        robustness_footer(robustness),
    ]
    return "\n".join(texts)


def test_the_verdict_says_of_what_the_loss_is(full: Report) -> None:
    assert verdict_sentence(full.plan, 17) == (
        "Within the budget: 17 of 26 layers run on 17 analog tiles of 256x255, with 61.8 % of the multiplications by"
        " weights. 1,152 more are of two activations. Mean drop 1.20 points,"
        " 3.00 points allowed."
    )
    error = parse_report(json.dumps(_as_error(json.loads(full.to_json()))).encode(), "made")
    share = "(3.3 % of the digital value; with --drop-type relative, the budget is such a share)"
    assert verdict_sentence(error.plan, 17).endswith(f". Mean rise of nmse 0.012, 0.03 allowed {share}.")
    assert "a rise of 0.03 (3.3 % of the digital value) is allowed." in markdown(error).replace("\\", "")
    for of_itself in ({"baseline": 0.0}, {"drop_type": "relative"}):
        assert error.plan.outcome is not None
        outcome = error.plan.outcome.model_copy(update=of_itself)
        plan = error.plan.model_copy(update={"outcome": outcome})
        assert "the budget is such a share" not in verdict_sentence(plan, 17), of_itself
    digital = digital_layers(full.plan)
    never = [row for row in digital if row.reason == "no-static-weight"]
    assert (never_text(digital), never_text(never)) == (
        ", 8 of which cannot be analog",
        ", none of which can be analog",
    )


def test_an_error_rises_and_a_score_drops(full: Report) -> None:
    drops, rises = r"(?<!-max-)(?<!IR )\bdrops?\b(?!-type)", r"\brises?\b"
    score, error = _said(full), _said(parse_report(json.dumps(_as_error(json.loads(full.to_json()))).encode(), "made"))
    assert not re.findall(rises, score, re.IGNORECASE)
    assert not re.findall(drops, error, re.IGNORECASE)
    assert len(re.findall(drops, score, re.IGNORECASE)) == len(re.findall(rises, error, re.IGNORECASE)) > 20


def test_latency_and_energy_stand_in_the_units_of_all_tables(full: Report) -> None:
    front = full.front
    assert front is not None
    point = replace(front.points[0], latency_s=1.3861e-3, energy_j=None)
    table = front_table(front, [point])
    row = dict(zip(table.headers, table.rows[0], strict=True))
    assert (row["µs"], row["µJ"]) == ("1,386.10", "-")
    assert "1386.10" in table.render("csv")


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ((-0.004, 0.028), ["these samples", "other samples"]),
        ((0.006, 0.01800001), ["these samples and others alike"]),
    ],
)
def test_two_intervals_that_read_the_same_are_told_as_one(
    full: Report, others: tuple[float, float], told: list[str]
) -> None:
    assert full.plan.outcome is not None
    outcome = full.plan.outcome.model_copy(update={"sample_interval": others})
    assert [what for what, *_ in intervals(outcome)] == told
    assert [what for what, _, decides in intervals(outcome) if decides] == told[:1]
    page = markdown(full.model_copy(update={"plan": full.plan.model_copy(update={"outcome": outcome})}))
    assert all(what in page for what in told)
    assert ("the budget is compared with the interval for these samples" in page) == (len(told) == 2)


@pytest.mark.parametrize(("within", "said"), [(1.0, "the only chip measured holds"), (0.0, "does not hold")])
def test_a_single_chip_is_no_several(full: Report, within: float, said: str) -> None:
    assert full.plan.outcome is not None
    told = budget_of_chips(full.plan.outcome.model_copy(update={"draws": 1, "chips_within": within}))
    assert said in told
    assert "the 1" not in told
