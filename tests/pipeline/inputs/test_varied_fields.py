"""What is varied is a number of the machine, within its bounds."""

import pytest

from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.hardware.description.overrides import Override
from lhc.pipeline.inputs.varied_fields import numeric_fields, overridden, varied_fields, with_values

MACHINE = Hardware.load("lionheart")


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["adc.bits=4..8"], [(4, 5, 6, 7, 8)]),
        (["adc.bits=8,4,6"], [(4, 6, 8)]),
        (["adc.noise=0..0.4", "adc.bits=2..10"], [(0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4), (2, 4, 6, 8, 10)]),
        (["adc.noise=0.25..4", "adc.bits=4,5"], [(0.25, 0.354, 0.5, 0.707, 1, 1.41, 2, 2.83, 4), (4, 5)]),
        (["adc.noise=0,1", "tiles.rows=64..1024"], [(0, 1), (64, 128, 256, 512, 1024)]),
        (["t_inference_s=1min,1h,1d"], [(60, 3600, 86400)]),
    ],
    ids=lambda one: " ".join(map(str, one)),
)
def test_ranges_and_lists(texts: list[str], values: list[tuple[float, ...]]) -> None:
    assert [field.values for field in varied_fields(texts, MACHINE)] == values


def test_a_single_field_is_divided_finely() -> None:
    (field,) = varied_fields(["devices.programming_noise_scale=0.5..4"], MACHINE)
    assert (len(field.values), field.values[0], field.values[-1], field.own) == (33, 0.5, 4, 1)
    assert max(b / a for a, b in zip(field.values, field.values[1:], strict=False)) < 1.08


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["adc.bit=4..8"], "'lionheart' has no number of that name; nearest: adc.bits"),
        (["programming_noise=1..2"], "nearest: devices.programming_noise_scale"),
        (["adc.kind=1..2"], "adc.kind: is no single number"),
        (["adc.bits"], "write FIELD=A..B"),
        (["adc.bits=4..x"], "'x' is no number: write numbers alone, in the unit that the name ends with"),
        (["devices.g_max_us=10us..20us"], "'10us' is no number"),
        (["t_inference_s=1h..soon"], "'soon' is no number: write seconds, or a time such as 1h"),
        (["adc.bits=4.5,6"], "4.5: write whole numbers"),
        (["adc.noise=0,inf"], "inf: write finite numbers"),
        (["adc.bits=4,4"], "two different values at least"),
        (["adc.bits=4..40"], r"adc\.bits: must be at most 24 \(got 40\)"),
        (["adc.noise=-1..1"], r"adc\.noise: must be at least 0"),
        (["adc.bits=4..8", "adc.bits=4..6"], "adc.bits: is given twice"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_what_is_no_number_of_the_machine_is_refused(texts: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=f"--vary .*{why}"):
        varied_fields(texts, MACHINE)


def test_every_field_that_is_named_can_be_set() -> None:
    """Its own number is one that it can have, whatever the preset."""
    for name in ("lionheart", "hermes", "neurram", "sram-asim"):
        machine = Hardware.load(name)
        kinds = numeric_fields(machine)
        numbers = {
            path: kind(value) for path, kind in kinds.items() if isinstance(value := at(machine, path), int | float)
        }
        assert len(numbers) > 20
        assert machine.with_numbers(numbers) == machine


def at(machine: Hardware, path: str) -> object:
    found: object = machine
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_numbers_alone_change() -> None:
    fields = varied_fields(["adc.noise=0..0.1", "adc.bits=4..8"], MACHINE)
    other = with_values(MACHINE, fields, (0.1, 4.0))
    assert (other.adc.noise, other.adc.bits) == (0.1, 4)
    assert other.with_numbers({"adc.noise": MACHINE.adc.noise, "adc.bits": 8}) == MACHINE


def test_layers_with_numbers_of_their_own_are_known() -> None:
    own = (Override(layers="a*", adc={"bits": 10}), Override(layers="b", devices=None), Override(layers="c"))
    machine = MACHINE.model_copy(update={"overrides": own})
    assert overridden(machine, "adc.bits") == ("a*",)
    assert overridden(machine, "adc.noise") == ()
    assert overridden(machine, "devices.g_max_us") == ("b",)
