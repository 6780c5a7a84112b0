"""Signs of inputs in slices of their own, inputs without signs, ADCs that begin at 0, and zeros that are read."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import lhc
from lhc.errors import ConfigError, UsageError
from lhc.hardware import Adc, Dac, Hardware, without
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime import HybridSession
from lhc.runtime.calibration.converter_ranges import calibrate_adcs, calibrate_signs
from lhc.runtime.engines.protocol import Position
from lhc.runtime.torch_settings import isolated
from lhc.support.documents import write_yaml
from tests.runtime.models_on_tiles import linear
from tests.runtime.products import multiplier, product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261201)
MATRIX = RNG.normal(size=(6, 23)).astype(np.float32)
MATRIX[2] = 0
X = RNG.normal(size=(80, 23)).astype(np.float32)
X[4] = 0
RANGES = [1.5, 2.0]
TILES = [slice(0, 12), slice(12, 23)]
BITS = {"cell_bits": 1, "slices": 5, "code": "twos-complement", "columnwise": False}
QUIET = {"bits": 6, "bound": 9.0, "noise": 0.0, "bound_management": "none", "polarity": "unipolar"}


PLAIN = {"bits": None, "bound": None, "polarity": "bipolar"}
WHOLE = {"cell_bits": None, "slices": 1, "code": "sign-magnitude"}


def machine(**fields: dict[str, Any]) -> Hardware:
    base = {"name": "x", "tiles": {"rows": 16, "cols": 32}, "devices": None, "compensation": {"outputs": "none"}}
    mine = {"dac": {"bits": 5, "scaling": "static", "code": "unsigned"}, "adc": QUIET, "mapping": BITS}
    mine["compensation"] = {"drift": "none", "copies": False, "outputs": "none"}
    return Hardware.parse(write_yaml(base | {k: mine.get(k, {}) | v for k, v in (mine | fields).items()}), "x")


def by_hand(x: Array, hardware: Hardware) -> Array:
    """Every bit of the weights with every slice of the inputs, each sum clipped to [0, bound] and rounded."""
    dac, adc, total = hardware.dac, hardware.adc, np.zeros((len(x), len(MATRIX)))
    assert dac.bits is not None
    assert adc.bits is not None
    assert adc.bound is not None
    step = adc.bound / (2**adc.bits - 1)
    greatest = 2**dac.bits - 1 if dac.code == "unsigned" else 2 ** (dac.bits - 1) - 1
    for rows, reach in zip(TILES, RANGES, strict=True):
        full = np.abs(MATRIX[:, rows]).max()
        weights = np.rint(MATRIX[:, rows] / full * 15).astype(int)
        least = 0 if dac.code == "unsigned" else -1
        codes = np.rint(np.clip(x[:, rows] / reach, least, 1) * greatest).astype(int)
        size = dac.slice_bits or dac.bits
        most = 2**size - 1
        parts = [(codes >> low & most, most * 2.0**low / most) for low in range(0, greatest.bit_length(), size)]
        parts += [(most * (codes < 0), -(2.0 ** (dac.bits - 1)))] if dac.code == "twos-complement" else []
        for part, worth in parts:
            driven = part / most
            for k in range(5):
                z = driven @ (weights >> k & 1).T
                counted = step * np.rint(np.clip(z, 0, adc.bound) / step)
                sign = -1 if k == 4 else 1
                unit = most * worth if worth > 0 else worth
                total += reach * full * sign * 2**k / 15 * unit / greatest * counted
    return total


def equal(found: Array, wanted: Array) -> None:
    """All but sums on a rounding edge, of which one of the highest bits may move an output."""
    off = np.abs(found - wanted) > 1e-5 * np.abs(wanted).max()
    assert np.mean(off) < 0.02


@pytest.mark.parametrize("zero_skipping", [False, True])
def test_inputs_without_signs_and_sums_from_zero(zero_skipping: bool) -> None:
    hardware = machine(adc=QUIET | {"zero_skipping": zero_skipping})
    found = product(programmed(MATRIX, hardware, ranges=RANGES), torch.from_numpy(X)).numpy()
    equal(found, by_hand(X, hardware))
    assert np.abs(found - X @ MATRIX.T).max() > 1, "inputs below 0 count nothing"


@pytest.mark.parametrize("by_rows", [False, True], ids=["windows", "rows"])
@pytest.mark.parametrize(("bits", "size", "code"), [(5, 1, "unsigned"), (8, 3, "unsigned"), (5, 2, "signed")])
def test_slices_of_inputs(bits: int, size: int, code: str, by_rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.runtime.engines.counter_rng.LEAST_BY_ROWS", 0 if by_rows else 2**16)
    code = "twos-complement" if code == "signed" else code
    hardware = machine(dac={"bits": bits, "slice_bits": size, "scaling": "static", "code": code})
    found = product(programmed(MATRIX, hardware, ranges=RANGES), torch.from_numpy(X)).numpy()
    equal(found, by_hand(X, hardware))


@pytest.mark.parametrize("size", [1, 3])
def test_twos_complement_of_inputs_is_the_product_of_the_codes_where_adcs_do_not_round(size: int) -> None:
    fields: dict[str, dict[str, Any]] = {"adc": PLAIN, "mapping": WHOLE}
    both = [
        machine(dac={"bits": 7, "scaling": "static", "slice_bits": size, "code": code}, **fields)
        for code in ("sign-magnitude", "twos-complement")
    ]
    found = [product(programmed(MATRIX, one, ranges=RANGES), torch.from_numpy(X)).numpy() for one in both]
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)


def test_zeros_have_the_noise_of_adcs_where_they_are_read() -> None:
    """Of a column without weights and a vector without inputs: 4,000 reads, deviations known to 1.1 %."""
    adc = PLAIN | {"noise": 0.3}
    fields: dict[str, Any] = {"adc": adc | {"zero_skipping": False}, "mapping": WHOLE}
    fields["dac"] = {"bits": None, "bound": None, "scaling": "none", "code": "sign-magnitude"}
    x = np.repeat(np.stack([0 * X[0], X[0]]), 4000, axis=0)
    for hardware, read in ((machine(**fields), True), (machine(**fields | {"adc": adc}), False)):
        tiles = programmed(MATRIX, hardware)
        found = product(tiles, torch.from_numpy(x)).numpy().reshape(2, 4000, -1).std(1)
        full = np.hypot(*(np.abs(MATRIX[:, rows]).max() for rows in TILES))
        wanted = 0.3 * full * np.ones_like(found)
        if not read:
            wanted[0] = wanted[:, 2] = 0
        np.testing.assert_allclose(found, wanted, rtol=0.05)


def test_convolutions_have_them_too() -> None:
    """Windows of zeros, and groups; with the noise of ADCs, which zeros have."""
    weight = RNG.normal(size=(6, 2, 3, 3)).astype(np.float32)
    x = torch.zeros(1, 4, 40, 40)
    hardware = machine(adc=PLAIN | {"noise": 0.3, "zero_skipping": False}, mapping=WHOLE)
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "NOTSET", 2)
    tiles = programmed(weight.reshape(6, -1), hardware, groups=2, ranges=[1.0, 1.0])
    with isolated():
        found = multiplier(tiles, "auto").convolve(x, geometry, Position(0, 1), 0)[0, 0].flatten(1).std(1).numpy()
    scales = [np.concatenate([tile.scales for tile in row]) for row in tiles.held.tiles]
    np.testing.assert_allclose(found, 0.3 * np.linalg.norm(scales, axis=0), rtol=0.06)  # 1,600 values: known to 1.8 %


@pytest.mark.slow
def test_signs_are_found_on_data_and_go_with_the_plan(tmp_path: Path) -> None:
    hardware = Hardware.load("sram-asim")
    plan = lhc.analyze(linear(MATRIX.T), hardware=hardware).plan.decide({"a": ("analog", "forced", "")})
    plan = plan.with_ranges({"a": (1.0,)})
    with pytest.raises(UsageError, match=r"whether its inputs have signs is found there \(dac.signs\)"):
        HybridSession(linear(MATRIX.T), placement=plan)
    model = load_model(linear(MATRIX.T))
    for x, signed in ((X, True), (np.abs(X), False)):
        assert calibrate_signs(model, read_graph(model), ["a"], [(len(x), {"x": x})]) == {"a": signed}
    result = lhc.partition(
        "digits-narrow", hardware=hardware, strategy="all-analog", samples=20, draws=2, max_drop="100%"
    )
    placed = read_plan(load_model(result.save(tmp_path / "out.onnx")))
    assert placed is not None
    codes = {name: placed.hardware.for_layer(name).dac.code for name in placed.analog}
    assert {placed.hardware.for_layer(name).dac.signs for name in placed.analog} == {"calibrated"}
    assert list(codes.values()).count("twos-complement") < len(codes) / 2, "most layers follow a Relu"
    assert set(codes.values()) <= {"twos-complement", "unsigned"}
    assert placed.hardware.as_described == hardware


def test_ranges_of_adcs_are_those_of_the_slices_that_are_driven() -> None:
    adc = {"bits": 6, "bound": 9.0, "noise": 0.0, "bound_management": "none", "range": "layer", "range_quantile": 1.0}
    dac = {"bits": 5, "slice_bits": 2, "scaling": "static", "code": "twos-complement"}
    hardware, model = machine(adc=adc, dac=dac, mapping=BITS), load_model(linear(MATRIX.T))
    found, _ = calibrate_adcs(model, read_graph(model), hardware, ["a"], [(len(X), {"x": X})], {"a": tuple(RANGES)})
    greatest = 0.0
    for rows, reach in zip(TILES, RANGES, strict=True):
        bits = np.rint(MATRIX[:, rows] / np.abs(MATRIX[:, rows]).max() * 15).astype(int)
        codes = np.rint(np.clip(X[:, rows] / reach, -1, 1) * 15).astype(int)
        for driven in ((codes & 3) / 3, (codes >> 2 & 3) / 3, codes < 0):
            greatest = max(greatest, *(float((driven @ (bits >> k & 1).T).max()) for k in range(5)))
    assert found["a"] == pytest.approx(greatest, rel=1e-5)


def test_without_converters_or_slices_signs_are_seen_again() -> None:
    hardware = machine(dac={"bits": 5, "slice_bits": 1, "scaling": "static", "code": "twos-complement"})
    for effect in ("dac", "weights"):
        other = without(hardware, [effect])
        assert other.adc.polarity == "bipolar"
        assert other.adc.step == hardware.adc.step
    assert without(hardware, ["dac"]).dac.code == "sign-magnitude"
    assert without(hardware, ["adc"]).adc.polarity == "bipolar"
    found = product(programmed(MATRIX, hardware.geometry), torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, X @ MATRIX.T, atol=1e-4)
    some = hardware.with_fields({"overrides": [{"layers": "a", "adc": {"bits": 4}}]})
    other = without(some, ["weights"])
    assert [other.for_layer(name).adc.bits for name in "ab"] == [5, 7]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dac": {"code": "twos-complement"}}, "code: twos-complement needs slice_bits"),
        ({"dac": {"code": "unsigned", "scaling": "abs_max"}}, "code: unsigned and signs need scaling: static"),
        (
            {"dac": {"signs": "layer", "scaling": "none", "code": "sign-magnitude"}},
            "code: unsigned and signs need scaling: static",
        ),
        ({"dac": {"signs": "layer", "code": "unsigned", "scaling": "static"}}, "code is that of the others"),
        ({"dac": {"code": "sign-magnitude"}}, r"polarity: unipolar needs dac.code: twos-complement or unsigned"),
        ({"mapping": {"code": "sign-magnitude"}}, r"unipolar needs mapping.code: twos-complement, or devices.pair"),
        ({"adc": QUIET | {"kind": "sar", "capacitor_mismatch": 0.01}}, "unipolar needs kind: ideal"),
        ({"adc": {"zero_skipping": False}, "mapping": {"columnwise": True}}, "needs mapping.columnwise: false"),
        (
            {
                "adc": PLAIN | {"zero_skipping": False},
                "dac": {"scaling": "abs_max", "code": "sign-magnitude"},
            },
            "zero_skipping: false needs dac.scaling: static or none",
        ),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        machine(**fields)


def test_defaults_are_what_they_were() -> None:
    assert (Dac().code, Dac().signs, Adc().polarity, Adc().zero_skipping) == (
        "sign-magnitude",
        "fixed",
        "bipolar",
        True,
    )
