"""Which effect does the damage, on digits."""

import pytest

import lhc

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
        "digits-narrow", samples=60, draws=3, hardware=loud, include=["layer2.0.conv1"]
    ).layers.values()
    assert max(one.effects, key=lambda effect: one.effects[effect].mean) == "output"
