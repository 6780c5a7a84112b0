"""Codes of DAC and ADC: what every engine computes with."""

import numpy as np
import pytest

from lhc.hardware import Adc, Dac, Hardware
from lhc.hardware.converters import Converters, repeated_reads

IDEAL = Hardware.load("ideal")


def converters(dac: Dac, adc: Adc) -> Converters:
    return Converters.of(IDEAL.model_copy(update={"dac": dac, "adc": adc}))


def test_codes_lie_evenly_about_zero_and_end_at_the_bound() -> None:
    io = converters(Dac(bits=4, bound=0.7), Adc(bits=8, bound=12.0))
    assert io.dac_step == pytest.approx(0.1)
    assert io.dac_limit == pytest.approx(7)
    assert io.adc_limit == pytest.approx(127)
    assert Dac(bits=4, bound=0.7).rounding_variance == pytest.approx(0.01 / 12)


def test_scaled_vectors_end_at_one_so_only_a_lower_bound_clips_them() -> None:
    assert Dac(bound=1.0).clip is None
    assert Dac(bound=0.5).clip == 0.5
    assert Dac(bound=2.0, scaling="none").clip == 2.0
    static = converters(Dac(bits=8, bound=1.0, scaling="static"), Adc())
    assert static.dac_limit == pytest.approx(127)  # the range itself clips


def test_without_a_quantiser_limits_are_bounds() -> None:
    io = converters(Dac(bits=None, bound=None), Adc(bits=None, bound=3.0))
    assert (io.dac_step, io.dac_limit, io.adc_step, io.adc_limit, io.adc_saturated) == (None, None, None, 3.0, 3.0)


@pytest.mark.parametrize("bound", [12.0, 10.0, 1.7, 0.3])
def test_the_last_code_saturates_where_float32_puts_it_beyond_the_bound(bound: float) -> None:
    io = converters(Dac(), Adc(bits=8, bound=bound))
    assert io.adc_step is not None
    assert io.adc_saturated is not None
    beyond = np.float32(127) * np.float32(io.adc_step) > np.float32(bound)
    assert (io.adc_saturated < 127) == beyond


def test_inputs_are_reduced_as_far_as_aihwkit_reduces_them() -> None:
    assert converters(Dac(bits=8), Adc()).reductions == (1, 2, 4, 8, 16, 32)
    assert converters(Dac(bits=None), Adc()).reductions[-1] == 1024
    assert converters(Dac(), Adc(bound_management="none")).reductions == (1,)


def test_reads_are_repeated_until_sums_fit_or_inputs_cannot_be_reduced_further() -> None:
    machine = Hardware.load("lionheart")
    assert repeated_reads(machine, (0.1, 0.2, 0.4, 0.8), 4) == (0 + 0 + 1 + 2) / 4
    assert repeated_reads(machine, (0.1, 0.2, 0.4, 0.8), 1) == 0
    assert repeated_reads(machine, (0.0, 1000.0), 1) == 5 / 2  # inputs are reduced five times at most
    assert repeated_reads(Hardware.load("static-range"), (1000.0,), 1) == 0
