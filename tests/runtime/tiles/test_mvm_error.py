"""The error of a matrix's products on tiles."""

import numpy as np
import pytest

from lhc.hardware import Hardware
from lhc.runtime.tiles.mvm_error import mvm_error

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(32, 64)).astype(np.float32)
X = RNG.normal(size=(50, 64)).astype(np.float32)


def error(hardware: Hardware, x: np.ndarray = X) -> float:
    return mvm_error(MATRIX, x, hardware, "0", seed=0, t_s=hardware.t_inference_s)


def test_perfect_tiles_have_none_and_zero_vectors_count_nothing() -> None:
    ideal = Hardware.load("ideal")
    assert error(ideal) < 1e-12
    assert error(Hardware.load("lionheart"), 0 * X) == 0
    assert error(Hardware.load("lionheart"), np.concatenate([X, 0 * X])) == pytest.approx(
        error(Hardware.load("lionheart")), rel=0.2
    )


def test_output_noise_alone_has_the_variance_of_the_formula() -> None:
    """Per column: (noise · greatest input · greatest weight)², as a share of the product's square."""
    hardware = Hardware.load("lionheart").model_copy(update={"devices": None})
    hardware = hardware.model_copy(
        update={
            "adc": hardware.adc.model_copy(update={"bits": None}),
            "dac": hardware.dac.model_copy(update={"bits": None}),
            "compensation": hardware.compensation.model_copy(update={"drift": "none"}),
        }
    )
    power = hardware.adc.noise**2 * np.abs(X).max(1) ** 2 * np.square(np.abs(MATRIX).max(1)).sum()
    expected = (power / np.square(X @ MATRIX.T).sum(1)).mean()
    assert error(hardware) == pytest.approx(expected, rel=0.1)


def test_static_ranges_are_calibrated_on_the_vectors() -> None:
    afm = Hardware.load("afm")
    assert error(afm, 1000 * X) == pytest.approx(error(afm), rel=1e-3)
