"""A machine in words: what is unlike one pair of devices a weight and one ideal ADC for all layers."""

import pytest

from lhc.hardware import Hardware
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.report.document.report import Report
from lhc.report.wording.machine import all_digital, cells_text, converters_text


def test_an_ordinary_machine_has_its_resolutions_alone() -> None:
    machine = Hardware.load("lionheart")
    assert (cells_text(machine), converters_text(machine)) == ("", "DAC 8 bit, ADC 8 bit")
    assert converters_text(Hardware.load("ideal")) == "DAC not quantised, ADC not quantised"


def test_cells_and_converters_of_a_chip_are_named() -> None:
    adc = {"bits": 6, "kind": "sar", "capacitor_mismatch": 0.02, "columns_per_adc": 8, "range": "layer"}
    changed = {"devices": {"model": "pcm", "pairs_per_weight": 2}, "adc": adc}
    machine = Hardware.load("lionheart").with_fields(changed)
    assert cells_text(machine) == "2 one-sided pairs of devices a weight"
    assert converters_text(machine) == (
        "DAC 8 bit, ADC 6 bit (sar, capacitors mismatched by 2.0 %), one ADC for 8 columns, range of the ADC: layer"
    )
    sram = Hardware.load("sram-asim")
    assert cells_text(sram) == "1 bit a cell, 8 slices a weight"
    driven = "DAC 8 bit driven 1 bit at a time"
    found = f"{driven} in two's complement, or without signs, ADC 8 bit from 0, zeros are read"
    assert converters_text(sram) == found
    known = sram.with_signs({"a": False}).for_layer("a")
    assert converters_text(known) == f"{driven} without signs, ADC 8 bit from 0, zeros are read"


@pytest.mark.parametrize(
    ("as_file", "said"),
    [({}, "all digital in int8"), ({"a": "LSTM", "b": "LSTM"}, "all digital in int8 (LSTM as in the file)")],
)
def test_what_tiles_are_compared_with_names_what_is_not_in_its_format(
    full: Report, as_file: dict[str, str], said: str
) -> None:
    digital = DigitalArithmetic(precision="int8", ranges={"x": (-1.0, 1.0)}, as_file=as_file)
    assert all_digital(full.plan.model_copy(update={"digital": digital})) == said
