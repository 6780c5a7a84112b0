"""What may bring more layers onto tiles."""

from dataclasses import replace

import pytest

from lhc.hardware import Hardware
from lhc.plan import Decision, OutputOutcome, Plan
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.report.document.report import Report
from lhc.report.wording.infeasibility import helped, left_digital, nearest_budget, what_helps
from lhc.report.wording.placement import statements, verdict, verdict_sentence


def _within(plan: Plan, number: int, **fields: object) -> Plan:
    """The plan within its budget, with so many layers digital for it."""
    assert plan.outcome is not None
    outcome = plan.outcome.model_copy(update={"within_budget": True, "retrained": None, "training_note": None} | fields)
    names = [row.name for row in plan.layers]
    decided: dict[str, Decision] = {
        name: ("digital", "sensitivity", "") if index < number else ("analog", "budget", "")
        for index, name in enumerate(names)
    }
    return plan.decide(decided).model_copy(update={"outcome": outcome})


@pytest.mark.parametrize(
    ("number", "fields", "said"),
    [
        (0, {}, ""),
        (2, {"within_budget": False}, ""),
        (
            2,
            {},
            "2 layers stay digital for the budget: a larger --max-drop, --retrain or more chips (--max-draws)",
        ),
        (
            1,
            {"training_note": "not trained", "generalized": True},
            "1 layer stays digital for the budget: a larger --max-drop or more samples (--samples)",
        ),
    ],
)
def test_layers_left_digital_within_the_budget_are_told(
    full: Report, number: int, fields: dict[str, object], said: str
) -> None:
    plan = _within(full.plan, number, **fields)
    bring = f" may bring {'it' if number == 1 else 'them'} onto tiles"
    assert left_digital(plan) == (f"{said}{bring}" if said else "")
    told = dict(statements(full.model_copy(update={"plan": plan, "infeasibility": None})))
    assert said.partition(": ")[2] in told.get("Why not more", "")
    assert ("What helps" in told) == (not fields.get("within_budget", True))


def test_where_nothing_is_analog_a_note_alone_says_whether_chips_help(full: Report) -> None:
    plan = _within(full.plan, len(full.plan.layers))
    assert not plan.analog
    assert left_digital(plan).endswith(
        " digital for the budget: a larger --max-drop or --retrain may bring them onto tiles"
    )


def test_chips_without_noise_are_no_remedy(full: Report) -> None:
    exact = _within(full.plan, 2).model_copy(update={"hardware": Hardware(name="exact", devices=None)})
    assert "--max-draws" not in left_digital(exact)


def test_a_report_of_a_budget_that_is_not_met_points_to_what_helps(full: Report) -> None:
    assert full.infeasibility is not None
    unmet = _within(full.plan, 0, within_budget=False)
    known, unknown = what_helps(full.infeasibility, unmet), what_helps(None, unmet)
    for told in (known, unknown):
        assert told.startswith("page budget-not-met of lhc's documentation says what helps")
        assert "Not tried: " in told
        assert "(--retrain)" in told
    assert "The file does not say" not in known
    assert "The file does not say" in unknown
    assert "faults" not in unknown, "what was not explained may have been tried"


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (None, ""),
        ((-0.02, 0.01), "no difference shown on the same chips"),
        ((-0.02, -0.01), "it helps"),
        ((0.01, 0.02), "it does harm"),
    ],
)
def test_a_remedy_that_was_tried_says_whether_it_helped(
    full: Report, difference: tuple[float, float] | None, said: str
) -> None:
    assert full.infeasibility is not None
    (remedy,) = full.infeasibility.remedies
    assert helped(replace(remedy, difference=difference)) == said


def test_a_budget_that_nothing_on_tiles_holds_is_not_praised(full: Report) -> None:
    """All digital holds any budget: the verdict says that nothing is on tiles, and why."""
    first, *others = (row.name for row in full.plan.layers if row.placement == "analog")
    reasons: dict[str, Decision] = {
        first: ("digital", "cost", ""),
        **dict.fromkeys(others, ("digital", "sensitivity", "")),
    }
    plan = full.plan.decide(reasons).model_copy(update={"outcome": _within(full.plan, 0).outcome})
    assert verdict(plan) == ("nothing on tiles", "open")
    sentence = verdict_sentence(plan, 0)
    assert sentence.startswith(f"Nothing on tiles: all {plan.size} layers stay digital (")
    assert "1 dearer on tiles than digital" in sentence
    assert verdict(_within(full.plan, 1)) == ("within the budget", "good")


def test_digital_layers_in_another_format_alone_meet_no_chips(full: Report) -> None:
    """The mean is not said to be one over chips, and no layer is called analog."""
    outcome = _within(full.plan, 0).outcome
    assert outcome is not None
    reasons: dict[str, Decision] = {row.name: ("digital", "cost", "") for row in full.plan.layers}
    digital = DigitalArithmetic(precision="int8", ranges={"x": (-1.0, 1.0)})
    plan = full.plan.decide(reasons).model_copy(update={"outcome": outcome, "digital": digital})
    assert verdict(plan) == ("nothing on tiles", "open")
    assert "Mean drop 1.20 points" in verdict_sentence(plan, 0)
    said = dict(statements(full.model_copy(update={"plan": plan})))
    assert said["Accuracy"].startswith("90.00 % digital, 88.80 % in int8: a mean drop of 1.20 points")
    assert said["Certainty"].startswith("no layer is on tiles, so all chips answer alike; mean drop ")
    assert "chips measured" not in said["Certainty"]
    beyond = plan.model_copy(
        update={"outcome": outcome.model_copy(update={"limits": {"latency": 1.0}, "limits_kept": False})}
    )
    assert verdict(beyond) == ("beyond the limits", "bad")


def test_the_nearest_budget_of_several_outputs_is_one_that_holds(full: Report) -> None:
    assert full.infeasibility is not None
    assert full.plan.outcome is not None
    other = OutputOutcome(
        output="box",
        metric="mse",
        percent=False,
        higher_is_better=False,
        baseline=0.0,
        value=0.2,
        drop=0.2,
        interval=None,
        max_drop=0.5,
        within_budget=False,
    )
    outcome = full.plan.outcome.model_copy(update={"further": (other,), "max_drop": 0.03})
    _, told = nearest_budget(replace(full.infeasibility, nearest_budget=0.0370149), outcome, full.plan)
    times = float(told.removesuffix(" times that of every output"))
    assert 0.0370149 <= times * 0.03 < 0.0371, "1.23 times would be too little"
