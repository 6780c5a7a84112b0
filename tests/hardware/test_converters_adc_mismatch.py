"""ADCs whose capacitors differ: levels against sums of capacitors one by one, and both engines against them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lhc.errors import ConfigError
from lhc.hardware import Adc, Hardware
from lhc.hardware.ablations import effects_of, without
from lhc.hardware.converters import capacitor_levels, found_codes
from lhc.support.documents import write_yaml

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261128)


def adc(**fields: Any) -> Adc:  # noqa: ANN401
    return Adc(**{"bits": 7, "bound": 4.137, "bound_management": "none", "kind": "sar", **fields})


def levels_of(one: Adc, columns: int, seed: int) -> Array:
    found = capacitor_levels(one, columns, np.random.SeedSequence(seed))
    assert found is not None
    return found


def level(capacitors: Array, code: int) -> float:
    """What a code is compared with: the capacitors of its bits."""
    return float(sum(c for k, c in enumerate(capacitors) if code >> k & 1))


def converted(values: Array, levels: Array) -> Array:
    """Bit by bit, value by value, ``(..., columns)``."""
    codes = np.zeros(values.shape)
    for where, value in np.ndenumerate(values):
        capacitors, code = levels[:, where[-1]].astype(np.float64), 0
        for bit in reversed(range(len(levels))):
            if level(capacitors, code | 1 << bit) <= abs(value) + 0.5:
                code |= 1 << bit
        codes[where] = np.copysign(code, value)
    return codes


def test_errors_of_levels_have_the_published_deviation() -> None:
    """In the middle s 2^(N/2) / 2 codes, at the ends none; 1 % of 3 is what tells a deviation 3 % too large."""
    found = levels_of(adc(bits=9, capacitor_mismatch=0.01), 40_000, 1)
    wanted = 0.01 * 2**4 / 2
    middle, ends = found[-1] - 128, found.sum(axis=0) - 255
    np.testing.assert_allclose(middle.std(), wanted, rtol=0.012)
    assert abs(1.03 * middle.std() / wanted - 1) > 0.015
    assert np.abs(ends).max() < 0.06  # what the terminating capacitor is off
    below = found[:-1].sum(axis=0) - 127  # the step at the middle: s √(2^N - 1)
    np.testing.assert_allclose((middle - below).std(), 0.01 * np.sqrt(255), rtol=0.012)


def test_codes_are_found_bit_by_bit() -> None:
    levels = levels_of(adc(capacitor_mismatch=0.08), 7, 2)
    values = RNG.uniform(-70, 70, size=(300, 7)).astype(np.float32)
    np.testing.assert_array_equal(found_codes(values, levels), converted(values, levels))
    assert np.mean(found_codes(values, levels) != np.clip(np.rint(values), -63, 63)) > 0.05
    assert np.isnan(found_codes(np.full((1, 7), np.nan, np.float32), levels)).all()
    alike = np.repeat(2.0 ** np.arange(6), 7).reshape(6, 7).astype(np.float32)
    np.testing.assert_array_equal(found_codes(values, alike), np.clip(np.rint(values), -63, 63))


@pytest.mark.parametrize(
    ("fields", "shared"),
    [({}, [0, 1, 2, 3, 4, 5, 6, 7, 8]), ({"columns_per_adc": 4}, [0] * 4 + [1] * 4 + [2]), ({"kind": "ramp"}, [0] * 9)],
)
def test_columns_share_an_array_of_capacitors(fields: dict[str, Any], shared: list[int]) -> None:
    found = levels_of(adc(capacitor_mismatch=0.02, **fields), 9, 3)
    for one, array in enumerate(shared):
        for other, second in enumerate(shared):
            assert (found[:, one] == found[:, other]).all() == (array == second)


def test_it_is_an_effect_of_the_adc_that_differs_from_chip_to_chip() -> None:
    hardware = Hardware(name="x", adc=adc(capacitor_mismatch=0.06), devices=None)
    assert hardware.is_stochastic
    assert not Hardware(name="x", adc=adc(), devices=None).is_stochastic
    assert without(hardware, ["adc"]).adc.kind == "ideal"
    assert "adc" in effects_of(hardware)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capacitor_mismatch": 0.01}, "is that of kind: sar"),
        ({"kind": "ramp", "columns_per_adc": 2}, "columns_per_adc is that of kind: sar"),
        ({"kind": "sar", "bits": None}, "kind: sar needs bits"),
        ({"kind": "ramp", "capacitor_mismatch": 0.05}, "levels that ascend"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(write_yaml({"name": "x", "adc": fields}), "x")
