"""Ranges of ADCs for every column: found as quantiles, computed with, stored, and refused where there are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lhc
from lhc.errors import ConfigError, ModelError, UsageError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridSession
from lhc.runtime.calibration.converter_ranges import LEAST_SHARE, calibrate_adcs
from tests.networks import parsed
from tests.runtime.models_on_tiles import linear

pytestmark = pytest.mark.analog

ADCS = """
name: adcs
tiles: {rows: 6, cols: 6}
dac: {bits: 12, scaling: none}
adc: {bits: 8, bound: 12, bound_management: none, range: column, range_quantile: 0.99}
"""


def test_range_of_every_column_is_the_quantile_of_what_it_gives() -> None:
    """On two rows of tiles, for two groups, which share their greatest range as the layer's bound."""
    machine = Hardware.parse(ADCS, "text")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 16, 1)).astype(np.float32)
    w = (rng.normal(size=(6, 8, 1)) * np.array([1, 1, 0.01, 1, 2, 0]).reshape(6, 1, 1)).astype(np.float32)
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16, 1] x) => (float[N, 6, 1] y) {
      [a] y = Conv <group = 2> (x, w) }"""
    source = parsed(text, {"w": w})
    model = load_model(source)
    bounds, columns = calibrate_adcs(model, read_graph(model), machine, ["a"], [(300, {"x": x})], {})

    codes = np.rint(np.clip(x, -1, 1)[:, :, 0] * 2047) / 2047
    found = np.zeros(6)
    for output in range(6):
        driven = codes[:, 8 * (output // 3) : 8 * (output // 3) + 8]
        values = []
        for split in (slice(0, 4), slice(4, 8)):
            full = np.abs(w[output, split]).max() or 1.0
            values.append(np.abs(driven[:, split] @ w[output, split, 0] / full))
        found[output] = np.quantile(np.concatenate(values), 0.99)
    assert bounds["a"] == pytest.approx(found.max(), rel=1e-5)
    wanted = np.maximum(found / found.max(), LEAST_SHARE)
    assert columns["a"] == pytest.approx(wanted, abs=1.01e-3)
    assert (np.array(columns["a"]) >= wanted - 1e-6).all()
    fixed = machine.with_adc_bounds(bounds, columns).for_layer("a")
    assert (fixed.adc.range, fixed.adc.columns) == ("calibrated", columns["a"])


def test_few_vectors_are_held_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lhc.runtime.calibration.converter_ranges.MOST", 2000)
    rng = np.random.default_rng(3)
    w, x = rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(20_000, 8)).astype(np.float32)
    model, machine = load_model(linear(w)), Hardware.parse(ADCS.replace("0.99", "0.5"), "text")
    blocks = [(1000, {"x": part}) for part in np.split(x, 20)]
    bounds, columns = calibrate_adcs(model, read_graph(model), machine, ["a"], blocks, {})

    codes = np.rint(np.clip(x, -1, 1) * 2047) / 2047
    parts = [np.abs(codes[:, own] @ (w[own] / np.abs(w[own]).max(axis=0))) for own in (slice(0, 4), slice(4, 8))]
    wanted = np.quantile(np.concatenate(parts), 0.5, axis=0)
    assert bounds["a"] * np.array(columns["a"]) == pytest.approx(wanted, rel=0.15)
    assert bounds["a"] != pytest.approx(wanted.max(), rel=1e-5)


def with_columns(machine: Hardware, outputs: int, share: float) -> Hardware:
    """Every column has that share of the machine's range."""
    adc = machine.adc.model_copy(update={"columns": (share,) * outputs})
    return machine.model_copy(update={"adc": adc})


QUIET = Hardware.load("afm").model_copy(update={"dac": Hardware(name="x").dac, "devices": Hardware(name="x").devices})


@pytest.mark.parametrize("size", [20, 300], ids=["small", "large"])
def test_columns_with_half_the_range_answer_as_a_tile_with_half_the_bound(size: int) -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(size, size)).astype(np.float32), rng.normal(size=(40, size)).astype(np.float32)
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[N, {size}] x) => (float[N, {size}] y) {{'
    model = parsed(text + "[a] y = MatMul (x, w) }", {"w": w})
    half = QUIET.model_copy(update={"adc": QUIET.adc.model_copy(update={"bound": 7.0})})
    found = [
        HybridSession(model, hardware=hardware, placement=["a"], engine="aihwkit").run(None, {"x": x})[0]
        for hardware in (with_columns(QUIET, size, 0.5), half, QUIET)
    ]

    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[1] - found[2]).max() > 0


def test_columns_with_ranges_of_their_own_are_converted_in_their_own_steps() -> None:
    rng = np.random.default_rng(1)
    w, x = rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(50, 8)).astype(np.float32)
    shares = (1.0, 0.25, 0.6, 0.1)
    perfect = Hardware.load("ideal").model_copy(update={"adc": QUIET.adc.model_copy(update={"bits": 5, "bound": 3.0})})
    machine = perfect.model_copy(update={"adc": perfect.adc.model_copy(update={"columns": shares})})
    found = HybridSession(linear(w), hardware=machine, placement=["a"]).run(None, {"x": x})[0]

    full = np.abs(w).max(axis=0)
    step = 3.0 / 15 * np.array(shares)
    exact = x @ (w / full) / step
    np.testing.assert_allclose(found / (full * step), np.clip(np.rint(exact), -15, 15), atol=1e-4)


def test_what_has_no_range_for_a_column_refuses(tmp_path: Path) -> None:
    w = np.ones((8, 4), np.float32)
    with pytest.raises(UsageError, match=r"layer 'a' has 4 outputs, and adc\.columns 3 ranges"):
        HybridSession(linear(w), hardware=with_columns(QUIET, 3, 0.5), placement=["a"])
    plan = lhc.analyze(linear(w), hardware=with_columns(QUIET, 4, 0.5)).plan.decide({"a": ("analog", "forced", "")})
    with pytest.raises(ModelError, match="no form in the files of split"):
        lhc.split(linear(w), folder=tmp_path / "parts", placement=plan)
    for text in ("adc: {range: column, noise: 0.1}", "adc: {range: column}\ncurrents: {ir_drop: 1}"):
        with pytest.raises(ConfigError, match="range: column"):
            Hardware.parse(f"name: x\n{text}\n", "x")


@pytest.mark.slow
def test_ranges_of_columns_go_with_the_plan(tmp_path: Path) -> None:
    machine = QUIET.model_copy(update={"adc": QUIET.adc.model_copy(update={"range": "column"})})
    few: dict[str, Any] = {
        "hardware": machine,
        "strategy": "all-analog",
        "samples": 60,
        "draws": 2,
        "max_draws": 2,
        "explain": False,
    }
    result = lhc.partition("digits-narrow", max_drop="100%", **few)
    path = result.save(tmp_path / "out.onnx")

    for row in result.plan.layers:
        if row.placement == "analog":
            columns = result.plan.hardware.for_layer(row.name).adc.columns
            assert columns is not None
            assert max(columns) == 1
    again = lhc.evaluate(path, data="digits-narrow", samples=20, draws=2)[0]
    by_plan = lhc.evaluate("digits-narrow", placement=result.plan, samples=20, draws=2)[0]
    assert again.values == by_plan.values
    with pytest.raises(UsageError, match="`digital_columns`: the hardware's ADCs have a range for every column"):
        lhc.partition("digits-narrow", max_drop="100%", digital_columns="10%", **few)
