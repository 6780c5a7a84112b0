"""What copies and calibration brought is measured on the chips and samples of the verification."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lhc
from lhc.hardware import Hardware
from lhc.hardware.description.presets import preset_names
from lhc.measure import PlacementEvaluator
from lhc.measure.measurement import Measurement, SampleScores
from lhc.options.by_command import PartitionOptions
from lhc.passes.strategies.lionheart_retraining import LionHeartOriginal
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.samples.task import Task

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")


def _placed(digits: Task, hardware: Hardware = LIONHEART, **options: str | int | bool) -> lhc.PartitionResult:
    placing: dict[str, Any] = {"strategy": "all-analog", "max_drop": "100%", "draws": 3} | options
    return lhc.partition("digits-narrow", digits, hardware=hardware, **placing)


@pytest.fixture
def healed(digits: Task) -> lhc.PartitionResult:
    return _placed(digits)


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_is_said_where_the_network_breaks_without_it(
    digits: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured = PlacementEvaluator.measure

    def broken(self: PlacementEvaluator, *args: object, **kwargs: object) -> Measurement:
        found = measured(self, *args, **kwargs)  # type: ignore[arg-type]
        if "what healing brings" not in args or self.calibration is not None:
            return found
        assert isinstance(found, SampleScores)
        return replace(found, scores=np.full_like(found.scores, np.nan))

    monkeypatch.setattr(PlacementEvaluator, "measure", broken)
    outcome = _placed(digits, LIONHEART).plan.outcome
    assert outcome is not None
    assert outcome.healing is None
    assert "what healing brings is not reported" in caplog.text


@pytest.mark.slow
def test_what_is_alone_is_said_alone(digits: Task) -> None:
    compensation = LIONHEART.compensation.model_copy(update={"copies": False})
    outcome = _placed(digits, LIONHEART.model_copy(update={"compensation": compensation})).plan.outcome
    assert outcome is not None
    assert outcome.healing is not None
    assert (outcome.healing.copies, outcome.healing.both) == (None, None)
    assert outcome.healing.calibration == pytest.approx(outcome.drop)


@pytest.mark.slow
def test_a_placement_that_was_trained_for_has_it_too(digits: Task) -> None:
    outcome = _placed(digits, retrain=True, steps=5, batch_size=64, strategy="first-last").plan.outcome
    assert outcome is not None
    assert outcome.healing is not None


BARE = ("afm", "neurram", "sram-asim")


@pytest.mark.parametrize("preset", sorted(preset_names()))
def test_shipped_machines_heal_and_the_published_algorithm_gets_its_machine_as_published(preset: str) -> None:
    """But for those that imitate other simulators, and the one of a chip that has none of it published."""
    ours, published = (
        machine_of(PartitionOptions("digits-narrow", hardware=preset, strategy=strategy)).compensation
        for strategy in ("sensitivity", LionHeartOriginal.name)
    )
    assert (published.copies, published.outputs) == (False, "none")
    assert published.drift == ours.drift
    assert (ours.copies, ours.outputs) == ((False, "none") if preset in BARE else (True, "affine"))
