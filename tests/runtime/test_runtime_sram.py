"""A charge-based SRAM macro against ASiM's formula, bit by bit, in plain numpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from lhc.errors import ConfigError
from lhc.hardware import Hardware
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from tests.runtime.products import product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261129)
ROWS = 255
MATRIX = RNG.normal(size=(5, ROWS)).astype(np.float32)
MATRIX[3] = np.abs(MATRIX[3])  # no bit of its sign is set
MATRIX[4] = 0
X = RNG.uniform(0, 1, size=(1, ROWS)).astype(np.float32)
FEW = np.zeros((1, ROWS), np.float32)
FEW[0, :3] = 1, 0.4, 0.7
SIGNED = RNG.uniform(-1, 1, size=(1, ROWS)).astype(np.float32)
RANGE = 1.0


def machine(noise: float, signed: bool = False) -> Hardware:
    base = Hardware.load("sram-asim").with_signs({"a": signed}).for_layer("a")
    return base.model_copy(update={"adc": base.adc.model_copy(update={"noise": noise})})


@dataclass(frozen=True)
class Asim:
    """Mean and variance of products by ASiM's formula (arXiv 2411.11022, and its code), exactly, in float64.

    A sum of ones of an input's and a weight's bit is a share of all rows, has noise in percent of the range and, over
    the root of the ones plus 1, noise of the cells' capacitors, and is clipped to 0 and 1 and rounded to 2^8 - 1
    steps; the weight's highest bit counts negatively, and so does that of inputs with signs.

    Attributes:
        clips: what noise takes below 0 or above all rows.
        reads_zeros: sums without a bit of the weights, or of the inputs, have noise too.
        sign: what the highest bit of inputs counts, as a share of what it should.
    """

    signed: bool = False
    sigma: float = 1.0
    mismatch: float = 1.0
    clips: bool = True
    reads_zeros: bool = True
    sign: float = 1.0

    def __call__(self, x: Array, weight: Array, noise: float) -> tuple[Array, Array]:
        """Of one vector, ``(outputs,)`` each; ``noise`` in steps of the ADC."""
        most, greatest = np.abs(weight).max(), 127 if self.signed else 255
        codes, inputs = np.rint(weight / most * 127).astype(int), np.rint(x / RANGE * greatest).astype(int)
        found = np.zeros((2, len(weight)))
        for i in range(8):
            for j in range(8):
                w, a = codes >> i & 1, inputs >> j & 1
                ones = w @ a
                deviation = self.sigma * noise * np.sqrt(1 + self.mismatch**2 / (ones + 1))
                read = self.reads_zeros | (w.any(1) & a.any())
                mean, variance = self._converted(ones, np.where(read, deviation, 0))
                worth = (-1 if i == 7 else 1) * (-self.sign if self.signed and j == 7 else 1) * 2.0 ** (i + j)
                found += worth * mean * ROWS / 255, np.square(worth * ROWS / 255) * variance
        unit = most * RANGE / (127 * greatest)
        return unit * found[0], unit**2 * found[1]

    def _converted(self, ones: Array, deviation: Array) -> tuple[Array, Array]:
        """Mean and variance of the codes of sums with normal noise."""
        codes = np.arange(0 if self.clips else -20, 256)[:, None]
        edges = np.concatenate([np.full((1, 1), -np.inf), codes[:-1] + 0.5, np.full((1, 1), np.inf)])
        share = ones / ROWS * 255
        below = np.where(deviation > 0, stats.norm.cdf((edges - share) / np.where(deviation > 0, deviation, 1)), 0)
        probable = np.where(deviation > 0, np.diff(below, axis=0), codes == np.rint(share))
        mean = (probable * codes).sum(0)
        return mean, (probable * np.square(codes - mean)).sum(0)


def lhc_products(x: Array, hardware: Hardware, matrix: Array = MATRIX) -> Array:
    return product(programmed(matrix, hardware, ranges=[RANGE]), torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("signed", [False, True])
def test_products_without_noise_are_those_of_the_rounded_numbers(signed: bool) -> None:
    x = RNG.uniform(-signed, 1, size=(50, ROWS)).astype(np.float32)
    wanted = np.stack([Asim(signed)(one, MATRIX, 0.0)[0] for one in x])
    np.testing.assert_allclose(lhc_products(x, machine(0.0, signed)), wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(wanted - x @ MATRIX.T).max() > 1e-3


WRONG: dict[str, dict[str, Any]] = {
    "noise 3 % more": {"sigma": 1.03},
    "noise 3 % less": {"sigma": 0.97},
    "nothing clipped": {"clips": False},
    "zeros not read": {"reads_zeros": False},
    "cells alike": {"mismatch": 0.0},
    "sign 3 % more": {"sign": 1.03},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "noise", "kernel"),
    [
        (X, 0.5, "of an image"),
        (X, 1.0, "of an image"),
        (FEW, 1.0, "of an image"),
        (0 * X, 1.0, "of an image"),
        (SIGNED, 1.0, "of an image"),
        (X, 1.0, "of rows"),
        (SIGNED, 1.0, "of rows"),
    ],
    ids=["half a step", "one step", "few inputs", "no input", "inputs with signs", "rows", "rows with signs"],
)
def test_noise_is_that_of_the_formula(x: Array, noise: float, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean of every output, known to 4.5 standard errors, and deviations over all, known to 0.45 %, 5 outputs together.

    Laws that are a little wrong are told apart. Rows draw their noise at other addresses, by the same law.
    """
    reads = 5_000
    signed = bool((x < 0).any())
    if kernel == "of rows":
        monkeypatch.setattr("lhc.runtime.engines.counter_rng.LEAST_BY_ROWS", 0)
    found = lhc_products(np.repeat(x, reads, axis=0), machine(noise, signed))

    def fits(law: dict[str, Any]) -> bool:
        mean, variance = Asim(signed, **law)(x[0], MATRIX, noise)
        means = np.abs(found.mean(0) - mean) <= 4.5 * np.sqrt(variance / reads) + 1e-6 * np.abs(mean).max()
        return bool(means.all() and abs(np.sqrt(found.var(0).sum() / max(variance.sum(), 1e-9)) - 1) < 0.015)

    assert fits({})
    for name, law in WRONG.items():
        assert not fits(law) or (name.startswith("sign") and not signed), name


@pytest.mark.slow
def test_mismatch_of_cells_shows_in_small_sums() -> None:
    """Of three inputs that are driven: known to 0.35 % over 40,000 reads; mismatch that is 3 % off is told apart."""
    adc = machine(1.0).adc.model_copy(update={"polarity": "bipolar", "bits": 9})  # nothing is clipped
    hardware = machine(1.0).model_copy(update={"adc": adc})
    found = lhc_products(np.repeat(FEW, 40_000, axis=0), hardware).std(0)
    ratios = [
        (found / np.sqrt(Asim(mismatch=m, clips=False)(FEW[0], MATRIX, 1.0)[1])).mean() for m in (1.0, 1.03, 0.97, 0.0)
    ]
    assert abs(ratios[0] - 1) < 0.005
    assert min(abs(ratio - 1) for ratio in ratios[1:]) > 0.005


def test_large_matrices_are_held_as_small_ones_are() -> None:
    """Also the slice of a tile without a bit: no weight of the second column of tiles is negative."""
    matrix = RNG.normal(size=(300, 300)).astype(np.float32)
    matrix[150:] = np.abs(matrix[150:])
    signs = AnalogMatrix(matrix, 1, machine(0.0), "abc", [RANGE] * 2).read(0, 0, 0.0).tiles[0]
    assert not signs[1].weights.any()
    assert signs[1].scales.all()
    assert signs[0].weights.max() == 1


def test_what_has_no_mismatch_of_cells_refuses() -> None:
    for section, wrong in (
        ({"compensation": {"drift": "global"}}, "compensation.drift: none"),
        ({"currents": {"read_noise": 0.1, "read_noise_kind": "constant"}}, "no currents"),
    ):
        with pytest.raises(ConfigError, match=f"adc.cell_mismatch needs {wrong}"):
            machine(0.1).with_fields(section)


def test_predictions_and_training_count_it_as_in_a_sum_of_0() -> None:
    plain = machine(1.0).model_copy(update={"adc": machine(1.0).adc.model_copy(update={"cell_mismatch": 0.0})})
    steps = sum(read**2 for read in plain.dac.reads)
    assert machine(1.0).output_variance == pytest.approx(plain.output_variance + steps)


@pytest.mark.slow
def test_noise_of_the_preset_changes_as_many_conversions_as_its_tails_say() -> None:
    """Half a step is at most 3.92 deviations. Of 50,000 products of 64 conversions each 350 change, known to 5.4 %."""
    reads, hardware, matrix = 10_000, machine(0.1275), MATRIX[:3]
    found = lhc_products(np.repeat(X, reads, axis=0), hardware, matrix)
    still = lhc_products(X, machine(0.0), matrix)
    codes, inputs = np.rint(matrix / np.abs(matrix).max() * 127).astype(int), np.rint(X / RANGE * 255).astype(int)
    ones = np.array([(inputs >> j & 1) @ (codes >> i & 1).T for i in range(8) for j in range(8)])
    deviations = hardware.adc.noise * np.sqrt(1 + 1 / (ones + 1))
    up = stats.norm.sf(0.5 / deviations)
    expected = np.where(ones > 0, 2 * up, up).sum(0).mean()
    assert (found != still).mean() == pytest.approx(expected, rel=0.17)  # 4 % too many: parts of the outermost level
