"""Which effect does the damage, on digits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lhc
from lhc.errors import DataError
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import PlacementEvaluator
from lhc.measure.measurement import Measurement, SampleScores
from lhc.models import zoo_entry
from lhc.report.tables.measured_tables import attribution_footer, attribution_table

pytestmark = pytest.mark.analog


def test_attribution_names_what_does_damage() -> None:
    found = lhc.attribute("digits-narrow", samples=60, draws=3, include=["conv1", "layer1.0.conv1"])
    assert list(found.layers) == ["conv1", "layer1.0.conv1"]
    for one in found.layers.values():
        assert set(one.effects) == {"dac", "adc", "programming", "drift", "read", "output"}
        assert one.damage.mean > 0
        # Perfect tiles compute the layer itself.
        assert one.rest.mean == pytest.approx(0, abs=1e-9)
    loud = lhc.Hardware.load("lionheart")
    loud = loud.model_copy(update={"adc": loud.adc.model_copy(update={"noise": 1.0})})
    (one,) = lhc.attribute(
        "digits-narrow", samples=240, draws=3, hardware=loud, include=["layer2.0.conv1"]
    ).layers.values()
    assert max(one.effects, key=lambda effect: one.effects[effect].mean) == "output"


def test_damage_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = PlacementEvaluator.measure

    def broken(self: PlacementEvaluator, *args: object, **kwargs: object) -> Measurement:
        found = measured(self, *args, **kwargs)  # type: ignore[arg-type]
        assert isinstance(found, SampleScores)
        return replace(found, scores=np.full_like(found.scores, np.nan))

    monkeypatch.setattr(PlacementEvaluator, "measure", broken)
    with pytest.raises(DataError, match="NaN or infinite values on some samples"):
        lhc.attribute("digits-narrow", samples=20, draws=2, include=["layer2.0.conv1"])


def test_calibration_is_told_apart_from_frozen_read_noise() -> None:
    """With loud read noise, a calibration that saw inference's own would promise what no machine keeps."""
    loud = lhc.Hardware.load("lionheart")
    assert loud.devices is not None
    devices = loud.devices.model_copy(update={"read_noise_scale": 4.0})
    compensation = Compensation(outputs="affine", samples=64)
    machine = loud.model_copy(update={"devices": devices, "compensation": compensation})
    found = lhc.attribute("digits-narrow", samples=200, draws=4, hardware=machine, include=["conv1"])
    (one,) = found.layers.values()
    assert one.calibration is not None
    assert one.frozen is not None
    assert one.frozen.mean > 0.1 * one.damage.mean
    assert found.calibrated == 50
    assert found.samples == 150
    table, footer = attribution_table(found), attribution_footer(found)
    assert table.headers[-2:] == ["calibration", "more if frozen"]
    assert "150 samples and 50 others that every chip was calibrated on" in footer

    aged = compensation.model_copy(update={"when": "programming"})
    later = machine.model_copy(update={"compensation": aged})
    (one,) = lhc.attribute("digits-narrow", samples=60, draws=2, hardware=later, include=["conv1"]).layers.values()
    assert one.calibration is not None
    assert one.frozen is None, "inference has no read at that time"


def test_uncalibrated_chips_have_no_figures_of_it() -> None:
    plain = lhc.Hardware.load("lionheart").model_copy(update={"compensation": Compensation(outputs="none")})
    found = lhc.attribute("digits-narrow", samples=20, draws=2, include=["layer2.0.conv1"], hardware=plain)
    (one,) = found.layers.values()
    assert one.calibration is None
    assert one.frozen is None
    assert found.calibrated == 0
    assert attribution_table(found).headers[-1] == "without all"


def test_chips_that_agree_on_a_few_answers_leave_doubt() -> None:
    samples = 20
    found = lhc.attribute("digits-narrow", samples=samples, draws=2, include=["layer2.0.conv1"], metric="accuracy")
    (one,) = found.layers.values()
    assert one.rest.std == 0, "this case is of chips that agree"
    assert one.rest.interval is not None
    low, high = one.rest.interval
    assert high - low > 1 / found.samples, "no spread of less than half an answer can be seen"


def test_layers_of_a_placed_model_have_the_copies_of_its_placement(tmp_path: Path) -> None:
    placed = lhc.partition("digits-narrow", samples=60, draws=2, max_drop="50%", copies="off", objective="macs")
    file = placed.save(tmp_path / "placed.onnx")
    digits = zoo_entry("digits-narrow").task()
    few: dict[str, Any] = {"samples": 60, "draws": 3, "include": ["layer1.0.conv1"]}
    (own,) = lhc.attribute(file, digits, **few).layers.values()
    (again,) = lhc.attribute(file, digits, hardware="lionheart", **few).layers.values()
    (other,) = lhc.attribute("digits-narrow", digits, **few).layers.values()
    assert own.damage == again.damage
    assert own.damage.mean > 1.5 * other.damage.mean, "errors of devices average out over copies, of which it has none"
