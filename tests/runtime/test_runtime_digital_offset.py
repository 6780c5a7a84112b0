"""Weights on single devices whose offset is subtracted behind the ADC, against the formula in numpy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lhc.errors import ConfigError
from lhc.hardware import Adc, Dac, Hardware, Tiles
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.calibration.converter_ranges import calibrate_adcs
from lhc.runtime.engines.protocol import Position
from lhc.runtime.torch_settings import isolated
from lhc.support.documents import write_yaml
from tests.networks import parsed
from tests.runtime.products import multiplier, product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261130)
QUIET = {"programming_noise_scale": 0.0, "drift_scale": 0.0, "read_noise_scale": 0.0}
G_MAX, G_MIN = 25.0, 5.0
OFFSET = (G_MAX + G_MIN) / (G_MAX - G_MIN)
EXACT = Adc(bits=None, bound=None, noise=0.0, bound_management="none")
TILES = [slice(0, 35), slice(35, 70)]


def machine(adc: Adc = EXACT, devices: Mapping[str, object] | None = None, **fields: object) -> Hardware:
    base = {
        "name": "x",
        "tiles": Tiles(rows=64, cols=20),
        "dac": Dac(bits=6, scaling="static"),
        "adc": adc,
        "devices": {
            "model": "pcm",
            "pair": "digital-offset",
            "g_max_us": G_MAX,
            "g_min_us": G_MIN,
            **(QUIET if devices is None else devices),
        },
        "compensation": {"drift": "none", "outputs": "none"},
    }
    return Hardware.model_validate(base | fields)


def by_hand(x: Array, matrix: Array, ranges: list[float], step: float | None) -> Array:
    """Σ over tiles of scale (ADC(Σ q (w + offset)) - offset Σ q), in float64; ADCs do not saturate."""
    total = np.zeros((len(x), len(matrix)))
    for rows, reach in zip(TILES, ranges, strict=True):
        block = matrix[:, rows].astype(np.float64)
        scale = np.abs(block).max(axis=1)
        q = np.rint(np.clip(x[:, rows] / reach, -1, 1) * 31) / 31
        z = q @ (block / scale[:, None] + OFFSET).T
        z = z if step is None else np.rint(z / step) * step
        total += reach * scale * (z - OFFSET * q.sum(axis=1, keepdims=True))
    return total


@pytest.mark.parametrize("bits", [None, 9])
def test_products_are_those_of_the_formula(bits: int | None) -> None:
    matrix = RNG.normal(size=(18, 70)).astype(np.float32)
    x, ranges = RNG.normal(size=(60, 70)).astype(np.float32), [2.0, 1.5]
    adc = Adc(bits=bits, bound=None if bits is None else 120.0, noise=0.0, bound_management="none")
    found = product(programmed(matrix, machine(adc), 3600.0, ranges=ranges), torch.from_numpy(x)).numpy()
    step = None if bits is None else 2 * 120 / (2**bits - 2)
    wanted = by_hand(x, matrix, ranges, step)
    off = np.abs(found - wanted)
    # On a rounding edge of an ADC an output may lie on either side: float32 sums of up to 100.
    assert np.mean(off > 1e-4 * np.abs(wanted).max()) < (0.01 if bits else 1e-9)
    assert np.abs(wanted - x @ matrix.T).max() > 0.1


@pytest.mark.parametrize("by_rows", [False, True])
def test_large_products_and_every_vector_scaled_by_itself(by_rows: bool) -> None:
    shape = (300, 256) if by_rows else (30, 100)
    matrix, x = RNG.normal(size=shape).astype(np.float32), RNG.normal(size=(40, shape[1])).astype(np.float32)
    x[3] = 0
    hardware = machine(dac=Dac(bits=None, bound=None, scaling="abs_max"))
    found = product(programmed(matrix, hardware, 3600.0), torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, x @ matrix.T, atol=2e-4 * np.abs(x @ matrix.T).max())


def test_grouped_convolutions() -> None:
    weight = RNG.normal(size=(6, 4, 3, 3)).astype(np.float32)
    x = torch.from_numpy(RNG.uniform(0.1, 1, size=(3, 8, 6, 6)).astype(np.float32))
    hardware = machine(dac=Dac(bits=None, bound=None, scaling="none"), tiles=Tiles(rows=20, cols=5))
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), "NOTSET", 2)
    tiles = programmed(weight.reshape(6, -1), hardware, 3600.0, groups=2)
    with isolated():
        found = multiplier(tiles, "auto").convolve(x, geometry, Position(0, 3), 0)[0]
    wanted = torch.nn.functional.conv2d(x, torch.from_numpy(weight), groups=2)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-5)


@pytest.mark.parametrize("drift", ["global", "per-column"])
def test_drift_is_compensated_before_the_offset_is_subtracted(drift: str) -> None:
    """Where all devices keep the same share, nothing is lost; without compensation the offset would be."""
    alike = {"drift_g_us": (0.0, 25.0), "drift_nu_mean": (0.05, 0.05), "drift_nu_std": (0.0, 0.0)}
    fields = {"model": "pcm_custom_drift", "programming_noise_scale": 0.0, "read_noise_scale": 0.0, **alike}
    matrix, x = RNG.normal(size=(18, 70)).astype(np.float32), RNG.normal(size=(9, 70)).astype(np.float32)
    errors = []
    for kind in (drift, "none"):
        hardware = machine(devices=fields, compensation={"drift": kind, "outputs": "none"})
        hardware = hardware.model_copy(update={"dac": Dac(bits=None, bound=None, scaling="none")})
        found = product(programmed(matrix, hardware, 86400.0), torch.from_numpy(x)).numpy()
        errors.append(np.abs(found - x @ matrix.T).max())
    assert errors[0] < 1e-3 < 1 < errors[1]


def test_chips_err_as_the_one_device_of_every_weight() -> None:
    """Of 0.5 of the full scale: half of what a device's deviation is of the range, within 1.2 %; 3 % more are seen."""
    matrix = np.full((300, 60), 0.5, np.float32)
    matrix[:, 0] = 1.0
    g = (G_MAX + G_MIN) / 2 + 0.5 * (G_MAX - G_MIN) / 2
    x = g / G_MAX
    wanted = (0.26348 + 1.9650 * x - 1.1731 * x**2) / ((G_MAX - G_MIN) / 2)
    for scale, near in ((1.0, True), (1.03, False)):
        devices = QUIET | {"programming_noise_scale": scale}
        hardware = machine(devices=devices, tiles=Tiles(rows=64, cols=512))
        errors = (programmed(matrix, hardware, 3600.0, ranges=[1.0]).programmed().weights() - matrix)[:, 1:]
        assert (abs(errors.std() / wanted - 1) < 0.0165) == near
        assert abs(errors.mean()) < 4 * wanted / np.sqrt(errors.size)


PRODUCT = """<ir_version: 8, opset_import: ["" : 17]>
product (float[N, 12] x) => (float[N, 5] y) { [layer] y = MatMul (x, w) }"""


def test_calibrated_ranges_of_adcs_hold_the_offset() -> None:
    weights, x = RNG.normal(size=(12, 5)).astype(np.float32), RNG.uniform(0, 1, size=(50, 12)).astype(np.float32)
    model = parsed(PRODUCT, {"w": weights})
    adc = EXACT.model_copy(update={"bits": 8, "bound": 12.0, "range": "layer", "range_quantile": 1.0})
    loaded, hardware = load_model(model), machine(adc, dac=Dac(bits=None, bound=None, scaling="none"))
    bounds, _ = calibrate_adcs(loaded, read_graph(loaded), hardware, ["layer"], [(50, {"x": x})], {})
    held = weights / np.abs(weights).max(axis=0) + OFFSET
    assert bounds["layer"] == pytest.approx(np.abs(x @ held).max(), rel=1e-3)


def test_training_draws_such_chips() -> None:
    from lhc.train.chip_noise import draw_matrix

    matrix = RNG.normal(size=(60, 64)).astype(np.float32)
    hardware = machine(
        devices={}, tiles=Tiles(rows=64, cols=64), compensation={"drift": "global", "outputs": "none", "copies": False}
    )
    torch.manual_seed(3)
    errors = [
        (d.errors * torch.from_numpy(np.abs(matrix).max(1, keepdims=True))).numpy()
        for d in (draw_matrix(torch.from_numpy(matrix), hardware, 86400.0, "devices") for _ in range(20))
    ]
    chips = [
        programmed(matrix, hardware, 86400.0, ranges=[1.0], draw=draw).programmed().weights() - matrix
        for draw in range(20)
    ]
    assert np.std(errors) == pytest.approx(np.std(chips), rel=0.03)
    # A gain that is off shifts all weights alike: that of a chip, known to a quarter of itself.
    shifts = [np.std([one.mean() for one in found]) for found in (errors, chips)]
    assert shifts[0] == pytest.approx(shifts[1], rel=0.6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adc": {"bound_management": "iterative"}}, "digital-offset needs adc.bound_management: none"),
        ({"adc": {"range": "column"}}, "digital-offset needs adc.bound_management: none, and adc.range"),
        ({"compensation": {"drift": "global-exact"}}, "cannot be given with compensation.drift: global-exact"),
        ({"currents": {"read_noise": 0.1}}, "reference-column or digital-offset"),
        ({"costs": {"model": "diana"}}, "does not count unit cells"),
        ({"faults": {"stuck_low": 0.1}}, "a weight has one cell of its own"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    base: dict[str, Any] = {"name": "x", "adc": {"bound_management": "none"}, "compensation": {"drift": "none"}}
    base |= {"devices": {"model": "pcm", "pair": "digital-offset"}}
    sections = {name: base.get(name, {}) | section for name, section in fields.items()}
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(write_yaml(base | sections), "x")


def test_it_has_no_copies() -> None:
    assert "digital-offset" in (machine().copies_obstacle or "")
