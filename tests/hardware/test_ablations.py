"""Machines with effects switched off or noise scaled."""

import pytest

from lhc.hardware import EFFECTS, Hardware, effects_of, preset_names, scaled_noise, without
from lhc.hardware.devices.pcm_and_reram import Hermes

BASE = Hardware.load("lionheart")
OVERRIDDEN = Hardware.model_validate(
    BASE.model_dump()
    | {
        "overrides": [
            {"layers": "a*", "adc": {"bits": 10, "noise": 0.1}},
            {"layers": "b*", "devices": {"programming_noise_scale": 2.0}},
            {"layers": "c*", "devices": {"model": "reram_wan2022", "g_max_us": 40}},
            {"layers": "d*", "devices": None},
        ]
    }
)


def test_each_effect_changes_its_own_fields_alone() -> None:
    found = {effect: without(BASE, [effect]) for effect in EFFECTS}
    assert (found["dac"].dac.bits, found["dac"].dac.bound) == (None, None)
    assert (found["adc"].adc.bits, found["adc"].adc.bound, found["adc"].adc.noise) == (None, None, 0.06)
    assert found["output"].adc == BASE.adc.model_copy(update={"noise": 0.0})
    for effect, field in (
        ("programming", "programming_noise_scale"),
        ("drift", "drift_scale"),
        ("read", "read_noise_scale"),
    ):
        devices = found[effect].devices  # type: ignore[index]
        assert devices is not None
        assert BASE.devices is not None
        assert devices == BASE.devices.model_copy(update={field: 0.0})
    assert all(machine.tiles == BASE.tiles and machine.costs == BASE.costs for machine in found.values())


@pytest.mark.parametrize("name", preset_names())
def test_without_all_effects_nothing_is_random(name: str) -> None:
    machine = without(Hardware.load(name), EFFECTS)
    assert effects_of(machine) == ()
    assert machine.adc.noise == 0
    assert Hardware.model_validate(machine.model_dump()) == machine


def test_overrides_lose_the_effect_too_and_keep_the_rest() -> None:
    machine = without(OVERRIDDEN, ["programming", "output"])
    assert machine.for_layer("a1").adc.noise == 0
    assert machine.for_layer("a1").adc.bits == 10
    assert machine.for_layer("b1").devices.programming_noise_scale == 0  # type: ignore[union-attr]
    wan = machine.for_layer("c1").devices
    assert (wan.model, wan.noise_scale, wan.g_max_us) == ("reram_wan2022", 0.0, 40.0)  # type: ignore[union-attr]
    assert machine.for_layer("d1").devices is None


def test_noise_is_scaled_everywhere() -> None:
    machine = scaled_noise(OVERRIDDEN, 3.0)
    plain = machine.for_layer("z")
    assert plain.adc.noise == pytest.approx(0.18)
    assert plain.devices is not None
    assert plain.devices.programming_noise_scale == 3.0  # type: ignore[union-attr]
    assert plain.devices.read_noise_scale == 3.0  # type: ignore[union-attr]
    assert plain.devices.drift_scale == 1.0  # type: ignore[union-attr]
    assert machine.for_layer("a1").adc.noise == pytest.approx(0.3)
    assert machine.for_layer("b1").devices.programming_noise_scale == 6.0  # type: ignore[union-attr]
    assert machine.for_layer("c1").devices.noise_scale == 3.0  # type: ignore[union-attr]
    assert scaled_noise(OVERRIDDEN, 1.0).for_layer("b1") == OVERRIDDEN.for_layer("b1")


def test_an_override_that_starts_from_other_defaults_loses_the_effect_too() -> None:
    """One device a weight's side instead of two is another model, with defaults of its own."""
    overrides = [{"layers": "a*", "devices": {"model": "hermes", "num_devices": 1}}]
    machine = Hardware.model_validate({"name": "h", "devices": {"model": "hermes"}, "overrides": overrides})
    still, loud = without(machine, ["programming", "drift", "read"]), scaled_noise(machine, 2.0)
    for layer, number in (("a1", 1), ("b1", 2)):
        quiet, doubled = still.for_layer(layer).devices, loud.for_layer(layer).devices
        assert isinstance(quiet, Hermes)
        assert isinstance(doubled, Hermes)
        assert quiet.num_devices == doubled.num_devices == number
        assert quiet.programming_noise_scale == quiet.drift_scale == quiet.read_noise_scale == 0
        assert doubled.programming_noise_scale == doubled.read_noise_scale == 2
