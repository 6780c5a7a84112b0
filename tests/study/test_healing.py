"""What copies and calibration brought is measured on the chips and samples of the verification."""

from typing import Any

import pytest

import lhc
from lhc.hardware import Hardware
from lhc.samples.task import Task

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")


def _placed(digits: Task, hardware: Hardware = LIONHEART, **options: str | int | bool) -> lhc.PartitionResult:
    placing: dict[str, Any] = {"strategy": "all-analog", "max_drop": "100%", "draws": 3} | options
    return lhc.partition("digits-narrow", digits, hardware=hardware, **placing)


@pytest.fixture
def healed(digits: Task) -> lhc.PartitionResult:
    return _placed(digits)


def test_both_are_the_verification_and_neither_is_the_machine_without_them(
    healed: lhc.PartitionResult, digits: Task
) -> None:
    outcome = healed.plan.outcome
    assert outcome is not None
    assert outcome.healing is not None
    found = outcome.healing
    assert found.both == pytest.approx(outcome.drop)  # three draws are the three chips that are compared
    assert (found.draws, found.reads) == (3, LIONHEART.compensation.reads)
    assert found.calibration_samples > 0
    assert found.copies is not None
    assert found.calibration is not None
    assert found.both is not None
    assert found.neither > found.both


def test_nothing_is_said_where_there_is_no_healing(digits: Task) -> None:
    outcome = _placed(digits, LIONHEART.with_drift_compensation_alone()).plan.outcome
    assert outcome is not None
    assert outcome.healing is None


def test_what_is_alone_is_said_alone(digits: Task) -> None:
    compensation = LIONHEART.compensation.model_copy(update={"copies": False})
    outcome = _placed(digits, LIONHEART.model_copy(update={"compensation": compensation})).plan.outcome
    assert outcome is not None
    assert outcome.healing is not None
    assert (outcome.healing.copies, outcome.healing.both) == (None, None)
    assert outcome.healing.calibration == pytest.approx(outcome.drop)


def test_a_placement_that_was_trained_for_has_it_too(digits: Task) -> None:
    outcome = _placed(digits, retrain=True, steps=5, batch_size=64, strategy="first-last").plan.outcome
    assert outcome is not None
    assert outcome.healing is not None
