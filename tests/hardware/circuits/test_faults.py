"""Faults in a hardware description."""

import pytest
from pydantic import ValidationError

from lhc.errors import ConfigError
from lhc.hardware import Faults, Hardware, effects_of, without

LIONHEART = Hardware.load("lionheart")


def test_a_description_has_no_faults_unless_it_says_so() -> None:
    faulty = Hardware.parse("name: x\nfaults: {stuck_low: 0.01, dead_rows: 0.02, remap: true}\n", "x")

    assert not LIONHEART.faults.any
    assert faulty.faults == Faults(stuck_low=0.01, dead_rows=0.02, remap=True)
    assert Hardware.parse(faulty.to_yaml(), "x") == faulty


def test_faults_are_an_effect_of_their_own() -> None:
    faulty = LIONHEART.model_copy(update={"faults": Faults(stuck_high=0.01)})

    assert "faults" in effects_of(faulty)
    assert "faults" not in effects_of(LIONHEART)
    assert without(faulty, ["faults"]) == LIONHEART


def test_perfect_devices_with_faults_are_random_and_may_have_copies() -> None:
    faulty = Hardware.load("ideal").model_copy(
        update={"faults": Faults(stuck_high=0.01), "compensation": LIONHEART.compensation}
    )

    assert faulty.is_stochastic
    assert faulty.copies_obstacle is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults: {stuck_low: 0.6, stuck_high: 0.6}", "at most 1 together"),
        ("faults: {stuck_low: 2}", r"faults\.stuck_low: "),
        (
            "faults: {stuck_low: 0.1}\ndevices: {model: reram_cmo}",
            r"a weight of reram_cmo is one device; .* take devices of pairs, such as a table of your own .*--measured",
        ),
        ("faults: {stuck_low: 0.1}\ntiles: {rows: 65536, cols: 65536}", "at most 4194304 pairs"),
        ("faults: {stuck_lo: 0.1}", "stuck_low"),
    ],
)
def test_what_cannot_be_emulated_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: x\n{text}\n", "x")


def test_a_layer_whose_devices_have_no_pairs_is_refused() -> None:
    with pytest.raises((ConfigError, ValidationError), match="reram_cmo is one device"):
        Hardware.parse(
            "name: x\nfaults: {stuck_low: 0.1}\noverrides: [{layers: a, devices: {model: reram_cmo}}]\n", "x"
        ).for_layer("a")
