"""What a test that weights did not pass means for the next one."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lhc.measure import Budget
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.verify.earlier_budget_tests import as_tested, failed_test, passed_test, with_earlier
from lhc.plan import Outcome, Plan
from lhc.report.wording.outcome import tests_text as told
from lhc.report.wording.outcome import unmet_because
from tests.report.made_reports import judged, place, transformer


@pytest.fixture
def plan() -> Plan:
    """Its budget is not met, though interval and mean are within it."""
    _, plan = judged(*place(transformer(1), lambda index: index % 2 == 0))
    return with_outcome(plan, within_budget=False, error=0.05)


def with_outcome(plan: Plan, **differs: object) -> Plan:
    assert plan.outcome is not None
    return plan.model_copy(update={"outcome": plan.outcome.model_copy(update=differs)})


def study_of(plan: Plan, **differs: Any) -> PreparedNetwork:  # noqa: ANN401
    outcome = plan.outcome
    assert outcome is not None
    known = {
        "model": SimpleNamespace(source=plan.source),
        "plan": plan,
        "task": SimpleNamespace(metric=SimpleNamespace(name=outcome.metric)),
        "t_s": outcome.t_s,
    }
    return cast("PreparedNetwork", SimpleNamespace(**known | differs))


def budget_of(outcome: Outcome | None) -> Budget:
    assert outcome is not None
    return Budget(outcome.max_drop, outcome.drop_type, generalize=outcome.generalized)


def test_a_test_counts_that_asked_no_more_of_the_same_weights(plan: Plan) -> None:
    same, state = budget_of(plan.outcome), study_of(plan)
    assert failed_test(plan, state, same) is plan.outcome
    assert failed_test(plan, state, replace(same, max_drop=same.max_drop / 2)) is plan.outcome, "stricter"
    assert failed_test(plan, state, replace(same, share=0.9)) is plan.outcome, "stricter"
    assert failed_test(plan, state, replace(same, max_drop=2 * same.max_drop)) is None
    assert failed_test(plan, study_of(plan, model=SimpleNamespace(source="others")), same) is None
    assert failed_test(plan, study_of(plan, t_s=0.0), same) is None, "tiles drift less by then"
    passed = with_outcome(plan, within_budget=True)
    assert failed_test(passed, state, same) is None
    assert failed_test(None, state, same) is None


def test_the_placement_is_the_tested_one_with_the_same_layers_and_copies(plan: Plan) -> None:
    name = min(plan.analog)
    assert as_tested(study_of(plan), plan.analog, plan)
    assert not as_tested(study_of(plan), plan.analog - {name}, plan)
    better = plan.hardware.model_copy(update={"description": "with better converters"})
    elsewhere = study_of(plan.model_copy(update={"hardware": better}))
    assert not as_tested(elsewhere, plan.analog, plan)
    assert failed_test(plan, elsewhere, budget_of(plan.outcome)) is plan.outcome, "of the same name: it counts"
    rows = tuple(row.model_copy(update={"copies": 7}) if row.name == name else row for row in plan.layers)
    assert not as_tested(study_of(plan.model_copy(update={"layers": rows})), plan.analog, plan)


def test_chances_of_error_add_up_but_for_the_same_test_once_more(plan: Plan) -> None:
    failed = plan.outcome
    assert failed is not None
    once = with_earlier(failed.model_copy(update={"within_budget": True}), 0.05, None)
    assert (once.tests, once.error, told(once)) == (1, 0.05, None)
    assert with_earlier(failed, 0.05, failed) == failed
    other = failed.model_copy(update={"seed": failed.seed + 1, "within_budget": True})
    twice = with_earlier(other, 0.025, failed)
    assert twice.tests == 2
    assert twice.error == pytest.approx(0.075)
    assert "tested by 2 commands, and only the last one shows it" in (told(twice) or "")
    assert "up to 7.5 %" in (told(twice) or "")
    old = failed.model_copy(update={"error": None})
    assert with_earlier(other, 0.025, old).error == pytest.approx(0.075), "what versions before took"


def test_what_an_earlier_test_did_not_show_is_not_put_down_to_chips(plan: Plan) -> None:
    assert plan.outcome is not None
    assert unmet_because(plan.outcome).startswith(", but an earlier test of the same weights did not show it")


def test_what_narrows_the_interval_is_no_chips_where_samples_alone_decide(plan: Plan) -> None:
    """The half-width is 0.6 points, and that over chips alone 0.1: however many there are, it stays."""
    assert plan.outcome is not None
    fields = {"drop": 0.002, "max_drop": 0.005, "samples": 500, "generalized": True, "drop_type": "absolute"}
    intervals = {"interval": (-0.004, 0.008), "chip_interval": (0.001, 0.003)}
    floor = plan.outcome.model_copy(update={**fields, **intervals})
    said = "; more samples (about 2000 in all, if that is its mean drop) narrow it"
    assert unmet_because(floor) == f", but the interval reaches 0.80 points{said}"
    chips = floor.model_copy(update={"chip_interval": (0.0, 0.004)})
    assert unmet_because(chips).endswith("; more chips or samples narrow it")
    unknown = floor.model_copy(update={"chip_interval": None})
    assert unmet_because(unknown).endswith("; more chips or samples narrow it")
    these = floor.model_copy(update={"generalized": False})
    assert unmet_because(these).endswith("; more chips or samples narrow it")


def test_a_test_that_was_passed_stands_for_what_asks_no_more(plan: Plan) -> None:
    passed = with_outcome(plan, within_budget=True)
    same, state, analog = budget_of(passed.outcome), asked_of(passed), passed.analog
    assert passed_test(passed, state, same, analog) is passed.outcome
    assert passed_test(passed, state, replace(same, max_drop=2 * same.max_drop), analog) is passed.outcome, "laxer"
    assert passed_test(passed, state, replace(same, max_drop=same.max_drop / 2), analog) is None, "stricter"
    assert passed_test(passed, state, replace(same, generalize=True), analog) is None, "stricter"
    assert passed_test(passed, state, replace(same, share=0.9), analog) is None, "stricter"
    assert passed_test(passed, state, replace(same, confidence=0.99), analog) is None, "stricter"
    assert passed_test(passed, state, same, analog - {next(iter(analog))}) is None, "another placement"
    assert passed_test(passed, asked_of(passed, model=SimpleNamespace(source="others")), same, analog) is None
    assert passed_test(passed, asked_of(passed, t_s=0.0), same, analog) is None, "other times were not tested"
    assert (
        passed_test(passed, asked_of(passed, options=SimpleNamespace(output="other", scored="other")), same, analog)
        is None
    )
    assert passed_test(plan, state, same, analog) is None
    assert passed_test(None, state, same, analog) is None


def asked_of(plan: Plan, **differs: Any) -> PreparedNetwork:  # noqa: ANN401
    return study_of(plan, **{"options": SimpleNamespace(output=None, scored=None)} | differs)
