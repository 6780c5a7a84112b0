"""A charge-based SRAM macro against ASiM's formula, bit by bit, in plain numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from lhc.hardware import Hardware
from tests.runtime.products import product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261129)
ROWS = 255
MATRIX = RNG.normal(size=(5, ROWS)).astype(np.float32)
X = RNG.uniform(0, 1, size=(1, ROWS)).astype(np.float32)
RANGE = 1.0


def machine(noise: float) -> Hardware:
    base = Hardware.load("sram-asim")
    return base.model_copy(update={"adc": base.adc.model_copy(update={"noise": noise})})


def asim(x: Array, weight: Array, sigma_percent: float, rng: np.random.Generator) -> Array:
    """Products of unsigned inputs by ASiM's formula (arXiv 2411.11022), in float64.

    A sum of ones of an input's and a weight's bit is a share of all rows, has noise in percent of the range, and is
    rounded to 2^8 - 1 steps; the weight's highest bit counts negatively.
    """
    most = np.abs(weight).max()
    codes, inputs = np.rint(weight / most * 127).astype(int), np.rint(x / RANGE * 255).astype(int)
    total = np.zeros((len(x), len(weight)))
    for i in range(8):
        for j in range(8):
            share = (inputs >> j & 1) @ (codes >> i & 1).T / ROWS
            noisy = np.clip(share + sigma_percent / 100 * rng.standard_normal(share.shape), 0, 1)
            counted = np.rint(noisy * 255) / 255 * ROWS
            total += (-1 if i == 7 else 1) * counted * 2.0 ** (i + j)
    return np.asarray(total * most * RANGE / (127 * 255))


def lhc_products(x: Array, hardware: Hardware) -> Array:
    return product(programmed(MATRIX, hardware, ranges=[RANGE]), torch.from_numpy(x)).numpy()


def test_products_without_noise_are_those_of_the_rounded_numbers() -> None:
    x = RNG.uniform(0, 1, size=(50, ROWS)).astype(np.float32)
    wanted = asim(x, MATRIX, 0.0, RNG)
    np.testing.assert_allclose(lhc_products(x, machine(0.0)), wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(wanted - x @ MATRIX.T).max() > 1e-3


@pytest.mark.parametrize("lsb", [0.5, 1.0])
def test_noise_is_that_of_the_formula(lsb: float) -> None:
    """Deviations over 20,000 reads of five outputs are known to 0.35 %; one 3 % off is told apart."""
    reads = 20_000
    x = np.repeat(X, reads, axis=0)
    found = lhc_products(x, machine(lsb))
    wanted = asim(x, MATRIX, 100 * lsb / 255, np.random.default_rng(1))
    np.testing.assert_allclose(found.mean(0), wanted.mean(0), atol=4 * wanted.std() / np.sqrt(reads / 2))
    ratio = (found.std(0) / wanted.std(0)).mean()
    assert abs(ratio - 1) < 0.012
    assert abs(1.03 * ratio - 1) > 0.012


def test_noise_of_the_preset_changes_as_many_conversions_as_its_tails_say() -> None:
    """Half a step is 3.92 deviations. Of 100,000 products of 64 conversions each 562 change, known to 4.2 %."""
    reads, hardware = 20_000, Hardware.load("sram-asim")
    found = lhc_products(np.repeat(X, reads, axis=0), hardware)
    still = lhc_products(X, machine(0.0))
    expected = 64 * 2 * stats.norm.sf(0.5 / hardware.adc.noise)
    assert (found != still).mean() == pytest.approx(expected, rel=0.17)  # 4 % too many: parts of the outermost level
    assert (found > still).sum() == pytest.approx((found < still).sum(), rel=0.3)
