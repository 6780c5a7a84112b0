"""What a machine has that only the engine aihwkit computes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lhc.cli.hardware import hardware
from lhc.errors import ModelError, UsageError
from lhc.hardware import Hardware
from lhc.hardware.ablations import without
from lhc.hardware.description.tiles_and_converters import Adc, Compensation, Dac, RareEffect
from lhc.hardware.description.uniform_machine import Machine
from lhc.lowering.compiled_model import compile_chips
from lhc.options.viewing import HardwareOptions


def test_rare_effects_are_those_whose_fields_are_not_at_their_defaults() -> None:
    machine = Hardware.load("lionheart")
    assert machine.rare_effects == {}
    changed = {
        "dac": machine.dac.model_copy(update={"slice_bits": 1, "code": "twos-complement"}),
        "adc": machine.adc.model_copy(update={"noise": 1.0, "sensing": "voltage"}),
    }
    found = machine.model_copy(update=changed).rare_effects
    assert {path: rare.what for path, rare in found.items()} == {
        "dac.slice_bits": "drives inputs in slices",
        "dac.code": "drives inputs in the code twos-complement",
        "adc.sensing": "senses voltages",
    }


def test_an_effect_that_operators_are_not_written_for_is_refused_by_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    bent = RareEffect("has DACs that are bent", compiled=False)
    monkeypatch.setattr(Machine, "rare_effects", property(lambda machine: {"dac.bent": bent}))
    plan: Any = SimpleNamespace(hardware=Hardware.load("ideal"))
    nothing: Any = None
    with pytest.raises(ModelError, match=r"'ideal' has DACs that are bent \(dac.bent\), which compiled files have no"):
        next(compile_chips(nothing, nothing, plan))


def test_an_ablation_sets_the_fields_that_name_it_to_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Hardware.load("lionheart")
    machine = machine.model_copy(update={"adc": machine.adc.model_copy(update={"cell_mismatch": 2.0})})
    assert without(machine, ["output"]).adc.cell_mismatch == 2.0, "its noise is off, and so its mismatch"
    monkeypatch.setattr(Adc, "rare_fields", lambda: {"cell_mismatch": RareEffect("…", ablation="output")})
    assert without(machine, ["output"]).adc.cell_mismatch == 0
    assert without(machine, ["dac"]).adc.cell_mismatch == 2.0
    assert set(Dac.rare_fields()) == {"slice_bits", "code"}


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("name: mine\ntiles: {rows: 128}", ("output noise (adc.noise: 0)",)),
        ("name: mine\nadc: {noise: 0.06}", ()),
        (
            "name: mine\nadc: {noise: 0.06}\ndevices: null",
            ("programming noise, drift and read noise (devices: null)",),
        ),
        (
            "name: mine\nadc: {noise: 0.06}\ndevices: {model: pcm, drift_scale: 0, read_noise_scale: 0}",
            ("drift (devices.drift_scale: 0)", "read noise (devices.read_noise_scale: 0)"),
        ),
    ],
    ids=["not said", "all noise", "perfect devices", "no drift"],
)
def test_noise_that_a_machine_has_not_is_known(text: str, absent: tuple[str, ...]) -> None:
    assert Hardware.parse(text, "mine").absent_noise == absent


def test_the_command_that_prints_a_description_says_what_noise_it_is_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\ntiles: {rows: 128}")
    hardware(HardwareOptions(str(mine)))
    assert "mine is without output noise (adc.noise: 0)" in capsys.readouterr().err
    hardware(HardwareOptions("lionheart"))
    assert "is without" not in capsys.readouterr().err


def test_what_is_calibrated_once_later_is_not_known_before() -> None:
    """Chips that are calibrated at an age of an hour say nothing of chips that are younger."""
    machine = Hardware(name="m", compensation=Compensation(when="age", time_s=3600.0))
    machine.check_time(3600.0)
    assert machine.knows(86400.0)
    assert not machine.knows(60.0)
    with pytest.raises(UsageError, match=r"after 1 minute: outputs are calibrated once, after 1 hour \(compensation"):
        machine.check_time(60.0)
    assert Hardware(name="m", compensation=Compensation(when="age", time_s=3600.0, outputs="none")).knows(60.0)
