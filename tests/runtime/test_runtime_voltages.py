"""Columns that are sensed as voltages, against the formula in numpy: V = Σ V_i (g⁺ - g⁻) / Σ (g⁺ + g⁻)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import lhc
from lhc.errors import ConfigError, ModelError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.calibration.converter_ranges import calibrate_adcs
from lhc.runtime.engines.protocol import Position
from lhc.runtime.torch_settings import isolated
from lhc.support.documents import write_yaml
from tests.runtime.models_on_tiles import linear
from tests.runtime.products import multiplier, product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261127)
G_MAX, G_MIN = 40.0, 2.0
TILES = [slice(0, 35), slice(35, 70)]
PAIRS = ("one-sided", "two-sided")


def machine(bits: int | None = None, bound: float | None = None, noise: float = 0.0, **fields: object) -> Hardware:
    devices = {"model": "pcm", "g_max_us": G_MAX, "g_min_us": G_MIN}
    quiet = {"programming_noise_scale": 0.0, "drift_scale": 0.0, "read_noise_scale": 0.0}
    base = {
        "name": "x",
        "tiles": {"rows": 64, "cols": 20},
        "dac": {"bits": 6, "scaling": "static"},
        "adc": {"bits": bits, "bound": bound, "noise": noise, "bound_management": "none", "sensing": "voltage"},
        "mapping": {"columnwise": False},
        "devices": devices | quiet | {"pair": fields.pop("pair", "one-sided")},
        "compensation": {"drift": "none", "outputs": "none", "copies": False},
    }
    return Hardware.model_validate(base | fields)


def cells(block: Array, pair: str) -> tuple[Array, Array]:
    """What both devices of every weight of a tile hold, in µS."""
    share, span = block / np.abs(block).max(), G_MAX - G_MIN
    if pair == "two-sided":
        return G_MIN + span * (1 + share) / 2, G_MIN + span * (1 - share) / 2
    return G_MIN + span * np.maximum(share, 0), G_MIN + span * np.maximum(-share, 0)


def by_hand(
    x: Array, matrix: Array, reach: float, step: float | None, bound: float, pair: str = "one-sided", off: float = 1.0
) -> Array:
    """Over tiles: the voltage of every column, converted, times its conductance; ``off``: a planted factor on that."""
    total = np.zeros((len(x), len(matrix)))
    for rows in TILES:
        block, codes = matrix[:, rows].astype(np.float64), np.rint(np.clip(x[:, rows] / reach, -1, 1) * 31) / 31
        plus, minus = cells(block, pair)
        sums = (plus + minus).sum(axis=1)
        volts = codes @ (plus - minus).T / (off * sums)
        volts = volts if step is None else np.clip(np.rint(volts / step) * step, -bound, bound)
        total += reach * volts * off * sums * np.abs(block).max() / (G_MAX - G_MIN)
    return total


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("bits", [None, 5])
def test_products_are_those_of_the_formula(bits: int | None, pair: str) -> None:
    matrix = (RNG.normal(size=(18, 70)) * RNG.uniform(0.05, 1, size=(18, 1))).astype(np.float32)
    x, bound = RNG.normal(size=(60, 70)).astype(np.float32), 0.05
    hardware = machine(bits, None if bits is None else bound, pair=pair)
    found = product(programmed(matrix, hardware, 3600.0, ranges=[2.0, 2.0]), torch.from_numpy(x)).numpy()
    step = None if bits is None else 2 * bound / (2**bits - 2)
    for off, near in ((1.0, True), (1.03, bits is None), (0.97, bits is None)):
        wrong = np.abs(found - by_hand(x, matrix, 2.0, step, bound, pair, off)) > 1e-4
        # On a rounding edge an output may lie on either side; a factor cancels where nothing is rounded.
        assert (np.mean(wrong) < 0.005) == near


def test_convolutions_with_groups() -> None:
    weight = RNG.normal(size=(6, 4, 3, 3)).astype(np.float32)
    x = torch.from_numpy(RNG.uniform(0.1, 1, size=(3, 8, 6, 6)).astype(np.float32))
    hardware = machine(dac={"bits": None, "bound": None, "scaling": "none"}, tiles={"rows": 20, "cols": 5})
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), "NOTSET", 2)
    tiles = programmed(weight.reshape(6, -1), hardware, 3600.0, groups=2)
    with isolated():
        found = multiplier(tiles, "auto").convolve(x, geometry, Position(0, 3), 0)[0]
    wanted = torch.nn.functional.conv2d(x, torch.from_numpy(weight), groups=2)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-5)


WEIGHTS = np.array([[1, 0.5, -0.25, 0.125], [0.1, 0, 0, 0], [1, 1, 1, 1]], np.float32)
INPUTS = np.array([1, -0.5, 0.25, 1], np.float32)
TOTALS = np.abs(WEIGHTS).sum(axis=1) + 4 * 2 * G_MIN / (G_MAX - G_MIN)


@pytest.mark.parametrize("rows", [False, True], ids=["of an image", "of rows"])
@pytest.mark.parametrize(
    ("noise", "read", "wanted"),
    [(0.02, 0.0, 0.02 * TOTALS), (0.0, 0.01, 0.01 * np.linalg.norm(INPUTS) * np.ones(3))],
    ids=["output noise", "constant read noise"],
)
def test_noise_of_the_adc_grows_with_the_column_and_that_of_currents_does_not(
    noise: float, read: float, wanted: Array, rows: bool
) -> None:
    """Output noise is one of voltages, read noise one of currents; both within 1.6 %, where 3 % more are seen."""
    currents = {"read_noise": read, "read_noise_kind": "constant"}
    dac = {"bits": None, "bound": None, "scaling": "none"}
    tiles = programmed(WEIGHTS, machine(noise=noise, currents=currents, dac=dac), 3600.0)
    x = torch.from_numpy(np.tile(INPUTS, (20_000, 1)))
    if rows:
        found = product(tiles, x).numpy()
    else:
        with isolated():
            geometry = ConvGeometry((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), "NOTSET", 1)
            image = x.T.reshape(1, 4, 200, 100).contiguous()
            found = multiplier(tiles, "auto").convolve(image, geometry, Position(0, 1), 0)[0, 0].flatten(1).T.numpy()
    assert found.mean(axis=0) == pytest.approx(WEIGHTS @ INPUTS, abs=3.9 * found.std() / np.sqrt(len(x)))
    assert found.std(axis=0) == pytest.approx(wanted, rel=0.0165)
    assert np.abs(found.std(axis=0) / wanted - 1.03).min() > 0.0165


@pytest.mark.parametrize("columns", [False, True])
def test_calibrated_ranges_are_those_of_voltages(columns: bool) -> None:
    weights, x = RNG.normal(size=(8, 4)).astype(np.float32), RNG.uniform(0, 1, size=(50, 8)).astype(np.float32)
    adc = {"bits": 8, "bound": 1.0, "range": "column" if columns else "layer", "range_quantile": 1.0}
    hardware = machine(
        adc=adc | {"bound_management": "none", "sensing": "voltage"},
        dac={"bits": None, "bound": None, "scaling": "none"},
    )
    model = load_model(linear(weights))
    bounds, shares = calibrate_adcs(model, read_graph(model), hardware, ["a"], [(50, {"x": x})], {})
    plus, minus = cells(weights, "one-sided")
    volts = np.abs(x @ (plus - minus) / (plus + minus).sum(axis=0)).max(axis=0)
    assert bounds["a"] == pytest.approx(volts.max(), rel=1e-3)
    if columns:
        assert shares["a"] == pytest.approx(np.maximum(volts / volts.max(), 1 / 16), abs=1e-3)


def test_what_cannot_sense_voltages_refuses(tmp_path: Path) -> None:
    w, free = np.ones((8, 4), np.float32), {"bits": None, "bound": None, "scaling": "none"}
    hardware = machine(dac=free)
    plan = lhc.analyze(linear(w), hardware=hardware).plan.decide({"a": ("analog", "forced", "")})
    with pytest.raises(ModelError, match=r"voltages \(adc\.sensing\) have no form in the files of split"):
        lhc.split(linear(w), folder=tmp_path / "parts", placement=plan)
    assert "copies do not make greater" in str(
        hardware.with_fields({"compensation": {"drift": "none", "outputs": "none"}}).copies_obstacle
    )
    described = machine(noise=0.1).model_dump(mode="json")
    for name, value, wrong in (
        ("devices", {"model": "pcm", "pair": "reference-column"}, "devices of pairs"),
        ("devices", {"model": "reram_cmo"}, "devices of pairs"),
        ("compensation", {"drift": "global"}, "read-outs are of currents"),
        ("mapping", {"cell_bits": 2, "slices": 2}, "mapping.slices: 1"),
        ("currents", {"ir_drop": 1.0}, "do not depend on weights"),
        ("currents", {"read_noise": 0.1, "read_noise_kind": "constant"}, "either adc.noise or currents.read_noise"),
    ):
        with pytest.raises(ConfigError, match=f"adc.sensing: voltage needs .*{wrong}"):
            Hardware.parse(write_yaml(described | {"costs": None, name: value}), "x")
