"""``--yield``: a share of the chips holds the budget one by one, shown or not, and said so."""

from dataclasses import replace
from typing import Any

import pytest

import lhc
from lhc.commands.partition import pipeline
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.measure import Budget, PlacementJudge
from lhc.options.by_command import PartitionOptions
from lhc.passes import STRATEGIES
from lhc.pipeline.inputs.objective import ample_chips, budget_of_plan, chips_for, chips_of
from lhc.report.exports.json_documents import partition_document
from lhc.report.wording.placement import partition_head
from lhc.samples.metrics import METRICS
from tests.pipeline.known_drops import BUDGET, FakeEvaluator, network, place


@pytest.mark.analog
def test_verdict_and_documents_say_both() -> None:
    machine = Hardware.load("lionheart").with_drift_compensation_alone()
    found = lhc.partition(
        "digits-narrow", hardware=machine, samples=30, draws=2, max_draws=5, strategy="all-analog", objective="macs",
        max_drop=0.9, yield_share="50%",
    )  # fmt: skip
    outcome = found.plan.outcome
    assert outcome is not None
    assert (outcome.within_budget, outcome.yield_share, outcome.yield_shown, outcome.draws) == (True, 0.5, True, 5)
    head = partition_head(found)
    assert "mean over chips and for 50 % of them; each of the 5 chips measured holds it alone, which shows" in head
    assert partition_document(found)["yield_shown"] is True
    unmet = outcome.model_copy(update={"within_budget": False, "yield_shown": False})
    one_chip = found.plan.model_copy(update={"outcome": unmet.model_copy(update={"one_chip": True})})
    assert "\nmean drop on other chips: " in head
    one = partition_head(replace(found, plan=one_chip), details=True)
    assert "\nmean drop on this chip, programmed anew: " in one
    assert "; other chips are not judged\n" in one
    assert (
        "mean over programmings of this chip and for 50 % of them; each of the 5 programmings measured holds it" in one
    )
    assert "allowed, but 50 % of all programmings are not shown to hold it." in one
    assert one.count("chips") == 1, "no line speaks of others, but to say that they are not judged"
    assert len(head.split("\n\n")[1].splitlines()) <= 6
    head = partition_head(replace(found, plan=found.plan.model_copy(update={"outcome": unmet})))
    assert "allowed, but 50 % of all chips are not shown to hold it." in head
    assert "which does not show it for 50 % of all" in head
    assert budget_of_plan(outcome, None, None, 0.9).share == 0.5, "whoever judges it again wants the same"


def test_chips_that_show_a_share() -> None:
    assert (chips_for(0.95, 0.05), ample_chips(0.95, 0.05), ample_chips(None, 0.05)) == (59, 177, 0)


def test_a_mean_within_the_budget_is_not_enough() -> None:
    """Chips around seven tenths of the budget, with a deviation of a quarter of it: one in ten breaks it."""
    graph, plan = network({"a": 0.0})
    evaluator = FakeEvaluator(METRICS["mse"], {"a": 0.7 * BUDGET}, 0, samples=50, chip_spread=0.36)
    for share, accepted in ((None, True), (0.95, False), (0.6, True)):
        judge = PlacementJudge(evaluator, Budget(BUDGET, share=share))
        found = place(graph, plan, STRATEGIES["all-analog"], judge, evaluator)
        assert found.verdict.accepted == accepted
        assert any("chips hold it, which does not show 95 % of all" in note for note in found.notes) != accepted


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"yield_share": 0.95, "max_draws": 58}, r"--max-draws 58: --yield 0\.95 takes 59 chips, if every one"),
        ({"yield_share": "95%", "max_draws": 59, "retrain": True}, "takes 61 chips"),
        (
            {"yield_share": "99.9%"},
            r"--yield 0\.999 takes 2,995 chips, .* Give --max-draws 2995 or more, .*: 100 chips show 97\.0 % of all",
        ),
        ({"yield_share": "99.9%", "max_draws": 2994}, r"takes 2,995 chips, .*; 2994 chips show 99\.8 % of all at most"),
        ({"yield_share": 0}, "--yield must be above 0"),
        ({"yield_share": "most"}, "--yield most: write a share"),
        ({"digital_columns": "auto", "retrain": True}, "--digital-columns auto goes by the weights as they are"),
        ({"yield_share": 1}, "--yield 1: write a share from 0 to below 1"),
    ],
    ids=lambda one: str(one),
)
def test_what_cannot_be_shown_is_refused_at_the_start(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        pipeline(PartitionOptions("digits-narrow", **options))


def test_as_many_chips_are_allowed_as_a_high_share_takes() -> None:
    (judged,) = (step for step in pipeline(PartitionOptions("digits", yield_share=0.99)).steps if step.name == "test")
    (verify,) = (step for step in judged.steps if step.name == "verify")  # type: ignore[attr-defined]
    assert verify.most == 3 * 299


def test_thousands_of_chips_are_measured_where_they_are_asked_for() -> None:
    assert chips_of("--max-draws", 2995, 100, 0.999, 0.05) == 2995
