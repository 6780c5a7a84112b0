"""A charge-based SRAM macro against ASiM's formula, bit by bit, in plain numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from lhc.errors import ConfigError, ModelError, UsageError
from lhc.hardware import Hardware
from lhc.lowering.compiled import check_compilable
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime import HybridSession
from lhc.runtime.stream import Position
from lhc.runtime.threads import isolated
from tests.runtime.models_on_tiles import linear
from tests.runtime.products import multiplier, product, programmed

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


def asim(
    x: Array,
    weight: Array,
    sigma_percent: float,
    rng: np.random.Generator,
    mismatch: float = 1.0,
    clips: bool = True,
) -> Array:
    """Products of unsigned inputs by ASiM's formula (arXiv 2411.11022), in float64.

    A sum of ones of an input's and a weight's bit is a share of all rows, has noise in percent of the range and, over
    the root of the ones plus 1, noise of the cells' capacitors, and is rounded to 2^8 - 1 steps; the weight's highest
    bit counts negatively. ``clips``: what noise takes below 0 or above all rows.
    """
    most = np.abs(weight).max()
    codes, inputs = np.rint(weight / most * 127).astype(int), np.rint(x / RANGE * 255).astype(int)
    total = np.zeros((len(x), len(weight)))
    for i in range(8):
        for j in range(8):
            share = (inputs >> j & 1) @ (codes >> i & 1).T / ROWS
            noisy = share + sigma_percent / 100 * rng.standard_normal(share.shape)
            noisy += mismatch * sigma_percent / 100 * rng.standard_normal(share.shape) / np.sqrt(share * ROWS + 1)
            noisy = np.clip(noisy, 0, 1) if clips else noisy
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


@pytest.mark.parametrize("rows", [False, True], ids=["of an image", "of rows"])
def test_mismatch_of_cells_shows_in_small_sums(rows: bool) -> None:
    """Of three inputs that are driven: known to 0.35 % over 40,000 reads; mismatch that is 3 % off is told apart."""
    reads, x = 40_000, np.zeros((1, ROWS), np.float32)
    x[0, :3] = 1, 0.4, 0.7
    many, hardware = np.repeat(x, reads, axis=0), machine(1.0)
    if rows:
        found = lhc_products(many, hardware)
    else:
        with isolated():
            geometry = ConvGeometry((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), "NOTSET", 1)
            image = torch.from_numpy(many.T.reshape(1, ROWS, 200, reads // 200).copy())
            tiles = multiplier(programmed(MATRIX, hardware, ranges=[RANGE]), "fast")
            found = tiles.convolve(image, geometry, Position(0, 1), 0)[0, 0].flatten(1).T.numpy()
    ratios = [
        (found.std(0) / asim(many, MATRIX, 100 / 255, np.random.default_rng(1), mismatch, False).std(0)).mean()
        for mismatch in (1.0, 1.03, 0.97, 0.0)
    ]
    assert abs(ratios[0] - 1) < 0.004
    assert min(abs(ratio - 1) for ratio in ratios[1:]) > 0.004


def test_what_has_no_mismatch_of_cells_refuses() -> None:
    model, whole = (
        linear(np.ones((8, 4), np.float32)),
        machine(1.0).model_copy(update={"dac": Hardware.load("ideal").dac}),
    )
    with pytest.raises(UsageError, match=r"noise that depends on outputs \(adc.cell_mismatch\), .* reference cannot"):
        HybridSession(model, hardware=whole, placement=["a"], engine="reference")
    with pytest.raises(ModelError, match=r"noise that depends on outputs \(adc.cell_mismatch\), which cannot be comp"):
        check_compilable(machine(1.0))
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


def test_noise_of_the_preset_changes_as_many_conversions_as_its_tails_say() -> None:
    """Half a step is at most 3.92 deviations. Of 100,000 products of 64 conversions each 700 change, known to 4 %."""
    reads, hardware = 20_000, Hardware.load("sram-asim")
    found = lhc_products(np.repeat(X, reads, axis=0), hardware)
    still = lhc_products(X, machine(0.0))
    codes, inputs = np.rint(MATRIX / np.abs(MATRIX).max() * 127).astype(int), np.rint(X / RANGE * 255).astype(int)
    ones = np.array([(inputs >> j & 1) @ (codes >> i & 1).T for i in range(8) for j in range(8)])
    deviations = hardware.adc.noise * np.sqrt(1 + 1 / (ones + 1))
    expected = 2 * stats.norm.sf(0.5 / deviations).sum(0).mean()
    assert (found != still).mean() == pytest.approx(expected, rel=0.17)  # 4 % too many: parts of the outermost level
    assert (found > still).sum() == pytest.approx((found < still).sum(), rel=0.3)
