"""Layers whose hardware is not that of the rest: which patterns match, what they change, what contradicts."""

import time

import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lhc.errors import ConfigError, UsageError
from lhc.hardware import Adc, Hardware, Hermes, Override, Pcm
from lhc.hardware.description.tiles_and_converters import moved

LAYERED = Hardware(
    name="layered",
    overrides=(
        Override(layers="conv*", adc={"bits": 6}, dac={"scaling": "static"}),
        Override(layers="*1", adc={"noise": 0.5}, compensation={"drift": "none"}),
        Override(layers="conv2", devices={"model": "hermes", "num_devices": 1}, mapping={"columnwise": False}),
        Override(layers="fc", devices=None),
        Override(layers="fc9", devices={"model": "pcm", "g_max_us": 20.0}),
    ),
)


def test_overrides_are_applied_in_order_and_only_where_they_match() -> None:
    conv1, conv2, fc, fc9 = (LAYERED.for_layer(name) for name in ("conv1", "conv2", "fc", "fc9"))
    assert (conv1.adc, conv1.dac.scaling, conv1.compensation.drift) == (Adc(bits=6, noise=0.5), "static", "none")
    assert conv1.devices == Pcm()
    assert (conv2.devices, conv2.mapping.columnwise) == (Hermes(num_devices=1), False)
    assert (fc.devices, fc.adc) == (None, Adc())
    assert fc9.devices == Pcm(g_max_us=20.0)
    assert all(machine.overrides == () and machine.name == "layered" for machine in (conv1, conv2, fc, fc9))
    assert LAYERED.for_layer("other") == LAYERED.model_copy(update={"overrides": ()})


@pytest.mark.parametrize("pattern", ["re:(a+)+$", "re:", "*a" * 600])
def test_a_pattern_that_could_run_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"globs|characters"):
        Override(layers=pattern)


def test_a_long_glob_ends_soon() -> None:
    started = time.process_time()
    assert not Override(layers="*a" * 400 + "b").matches("a" * 20_000)
    assert time.process_time() - started < 5


def test_patterns_without_a_layer_are_found() -> None:
    assert LAYERED.unmatched_overrides(["conv1", "fc"]) == ["conv2", "fc9"]
    assert LAYERED.unmatched_overrides([]) == ["conv*", "*1", "conv2", "fc", "fc9"]


def test_a_machine_is_what_any_of_its_layers_needs() -> None:
    quiet = Hardware(name="a", devices=None)
    assert not quiet.is_stochastic
    assert not quiet.needs_calibration
    noisy = quiet.model_copy(update={"overrides": (Override(layers="a", devices={"model": "pcm"}),)})
    assert noisy.is_stochastic
    ranged = quiet.model_copy(update={"overrides": (Override(layers="a", dac={"scaling": "static"}),)})
    assert ranged.needs_calibration
    assert not ranged.for_layer("b").needs_calibration


def test_overrides_that_contradict_one_another_are_named_with_the_layer() -> None:
    machine = Hardware(
        name="m",
        adc=Adc(bits=None),
        overrides=(Override(layers="a", adc={"bound": None}), Override(layers="*", adc={"bits": 8})),
    )
    with pytest.raises(ConfigError, match=r"hardware 'm', layer 'a': .*adc\.bits needs adc\.bound"):
        machine.for_layer("a")
    assert machine.for_layer("b").adc == Adc(bits=8)


def test_braces_of_a_message_stay_as_they_are() -> None:
    detail = ErrorDetails(type="table", loc=("spread",), msg="{target: spread} has no row", input=1)
    error = ValidationError.from_exception_data("Override", [moved(detail, ("overrides", 0))]).errors()[0]
    assert (error["msg"], error["loc"]) == ("{target: spread} has no row", ("overrides", 0, "spread"))


def test_times_that_the_devices_of_a_layer_do_not_know_are_refused() -> None:
    wan, cmo = (
        Override(layers="a", devices={"model": "reram_wan2022"}),
        Override(layers="b", devices={"model": "reram_cmo"}),
    )
    machine = Hardware(name="m", overrides=(wan, cmo))
    machine.check_time(86400.0)
    known = "hardware 'm' after 1 minute: reram_wan2022 was measured after 1, 86400, 172800 s only"
    with pytest.raises(UsageError, match=f"{known}; for other times give a table of your own .*--measured"):
        machine.check_time(60.0)
    Hardware(name="m", overrides=(cmo,)).check_time(0.0)
    with pytest.raises(UsageError, match=r"after 0\.5 s: relaxation of reram_cmo was fitted from 1 s on"):
        Hardware(name="m", overrides=(cmo,)).check_time(0.5)
    Hardware(name="m").check_time(0.5)


@pytest.mark.analog
def test_overrides_must_be_resolved_before_a_configuration_is_made() -> None:
    with pytest.raises(ConfigError, match="for_layer"):
        LAYERED.to_rpu_config()
    assert LAYERED.for_layer("conv1").to_rpu_config().pre_post.input_range.enable


def test_overrides_follow_layers_that_are_renamed_and_leave_out_those_that_are_gone() -> None:
    """By name or by glob: every layer has the machine that it had, under its new name."""
    bits = [("stem", 4), ("block*", 5), ("gone", 6), ("lost*", 7), ("other", 8)]
    overrides = tuple(Override(layers=name, adc={"bits": number}) for name, number in bits)
    machine = Hardware(name="m", overrides=overrides)
    names = {"stem": "first", "block1": "block1", "block2": "second", "head": "block9", "wi[d]e": "wide"}
    now = machine.with_names(names, {"gone", "lost1"})
    assert {new: now.for_layer(new).adc.bits for new in names.values()} == {
        names[old]: machine.for_layer(old).adc.bits for old in names
    }
    assert [one.layers for one in now.overrides] == ["first", "block1", "second", "other"]


@pytest.mark.parametrize("field", ["when", "time_s", "samples", "reads"])
def test_what_a_chip_is_calibrated_by_is_not_that_of_a_layer(field: str) -> None:
    with pytest.raises(ValidationError, match=f"calibrated as a whole: {field} cannot differ between layers"):
        Override(layers="a", compensation={field: 3})


def test_a_machine_without_corrections_has_none_in_any_layer() -> None:
    machine = Hardware(name="a", overrides=(Override(layers="a", compensation={"outputs": "offset"}),))
    assert machine.corrects_outputs
    assert not machine.without_output_correction.corrects_outputs


def test_what_was_chosen_for_one_layer_is_not_that_of_another() -> None:
    preset, managed = Hardware.load("static-range"), Hardware.load("lionheart")

    def overridden(preset: Hardware, first: str, second: str) -> Hardware:
        odd = Override(layers=first, adc={"bound_management": "none", "bound": 1.0}, dac={"range_quantile": 0.5})
        return preset.model_copy(update={"overrides": (odd, Override(layers=second))})

    one = overridden(preset, "a", "b")
    assert one.takes_ranges_of(overridden(preset, "a", "b"))
    assert not one.takes_ranges_of(overridden(preset, "b", "a"))
    one = overridden(managed, "a", "b")
    assert one.takes_copies_of(overridden(managed, "a", "b"))
    assert not one.takes_copies_of(overridden(managed, "b", "a"))
    calibrated = preset.with_adc_bounds({"a": 3.0})
    assert calibrated.takes_ranges_of(preset)


def test_ranges_stay_where_inputs_are_driven_likewise() -> None:
    machine = Hardware.load("static-range")
    assert machine.model_copy(update={"devices": Hermes()}).takes_ranges_of(machine)
    wider = machine.model_copy(update={"dac": machine.dac.model_copy(update={"range_quantile": 1.0})})
    assert not wider.takes_ranges_of(machine)
    assert not Hardware.load("lionheart").takes_ranges_of(machine)
