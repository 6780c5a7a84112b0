"""Static input ranges: found as quantiles of what tiles are driven with, stored, and used by every consumer."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lhc
from lhc.errors import ModelError, UsageError
from lhc.hardware import Hardware, ReramCmo
from lhc.hardware.tile_geometry import split_sizes
from lhc.onnx_io import load_model, read_graph, read_plan
from lhc.options.by_command import RunOptions
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.runtime import HybridSession
from lhc.runtime.calibration.converter_ranges import (
    QUANTILES,
    RangeRecorder,
    Reservoir,
    calibrate_adcs,
    calibrate_ranges,
    calibrate_sums,
)
from lhc.runtime.engines.protocol import Position
from tests.networks import parsed
from tests.runtime.models_on_tiles import linear

pytestmark = pytest.mark.analog

STATIC = Hardware.load("static-range")


@given(st.integers(1, 2000), st.integers(1, 600))
def test_splits_are_those_of_aihwkit(size: int, most: int) -> None:
    parts = split_sizes(size, most)
    assert sum(parts) == size
    assert max(parts) <= most
    assert max(parts) - min(parts) <= 1
    assert len(parts) == -(-size // most)


def _record(recorder: RangeRecorder, x: torch.Tensor) -> torch.Tensor:
    return recorder.multiply(x, Position(0, 1), 0)


def test_range_is_the_quantile_of_driven_magnitudes_per_row_split() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.hstack([rng.normal(0, 1, (500, 6)), rng.normal(0, 3, (500, 5))]).astype(np.float32))
    recorder = RangeRecorder(11, 4, 6)
    padded = torch.cat([x, torch.zeros(700, 11)])
    assert _record(recorder, padded).shape == (1, 1200, 4)
    expected = [np.quantile(x[:, :6].abs().numpy(), 0.9), np.quantile(x[:, 6:].abs().numpy(), 0.9)]
    assert recorder.ranges(0.9) == pytest.approx(expected, rel=1e-6)


def test_many_values_are_thinned_without_bias() -> None:
    rng = np.random.default_rng(1)
    recorder = RangeRecorder(8, 2, 256)
    for _ in range(4):
        values = torch.from_numpy(rng.normal(size=(20_000, 8)).astype(np.float32))
        _record(recorder, values)
    assert recorder.ranges(0.99)[0] == pytest.approx(2.5758, rel=0.02)


def test_the_quantile_of_one_is_the_greatest_of_all_values_also_where_few_are_kept() -> None:
    values = torch.from_numpy(np.random.default_rng(2).normal(size=(20_000, 8)).astype(np.float32))
    values[12_345, 6] = 50
    recorder = RangeRecorder(8, 2, 4)
    _record(recorder, values)
    assert recorder.ranges(1.0) == (float(values[:, :4].abs().max()), 50.0)


def test_vectors_that_are_zero_on_a_row_split_count_nothing_there() -> None:
    x = torch.rand(500, 8) + 0.5
    x[100:, 4:] = 0
    recorder = RangeRecorder(8, 2, 4)
    _record(recorder, x)
    assert recorder.ranges(0.5)[1] == pytest.approx(np.quantile(x[:100, 4:].numpy(), 0.5), rel=1e-6)


def test_no_more_values_are_held_than_asked_for_of_early_and_late_ones_alike() -> None:
    held = Reservoir(torch.Generator().manual_seed(0), 1000)
    for number in range(200):
        held.add(torch.full((20, 2), float(number)))
        assert held.count <= 1000
    rows = held.rows()
    assert rows.shape[1:] == (2,)
    assert rows.size == held.count > 300
    assert rows.mean() == pytest.approx(99.5, abs=12)


def test_few_values_are_all_held() -> None:
    held, x = Reservoir(torch.Generator(), 1000), torch.arange(1000.0)
    for part in torch.split(x, 70):
        held.add(part)
    np.testing.assert_array_equal(held.rows(), x.numpy())


@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_layer_that_is_never_driven_has_range_one_unless_another_one_drives_its_tiles(scale: float) -> None:
    source = _shared()
    source.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.float32), "ten"))
    model, adcs = load_model(source), Hardware.parse(ADCS.replace("SCALING", "none"), "text")
    x = scale * np.random.default_rng(1).uniform(0.5, 1, (64, 8)).astype(np.float32)
    blocks = [(64, {"x": x})]
    ranges = calibrate_ranges(model, read_graph(model), STATIC, ["a", "b"], blocks)
    bounds, _ = calibrate_adcs(model, read_graph(model), adcs, ["a", "b"], blocks, {})
    for found in (ranges["b"][0], bounds["b"]):
        assert found < 0.5 if scale else found == 1


def _shared() -> onnx.ModelProto:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 8] x) => (float[N, 8] y, float[N, 8] z) {'
    model = onnx.parser.parse_model(text + " [a] y = MatMul (x, w) t = Mul (x, ten) [b] z = MatMul (t, w) }")
    rng = np.random.default_rng(0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=(8, 8)).astype(np.float32), "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(10, np.float32), "ten"))
    return model


def test_layers_that_share_tiles_share_the_wider_range() -> None:
    model = load_model(_shared())
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    found = calibrate_ranges(model, read_graph(model), STATIC, ["a", "b"], [(64, {"x": x})])
    assert found["a"] == found["b"]
    assert found["a"][0] == pytest.approx(10 * np.quantile(np.abs(x), STATIC.dac.range_quantile), rel=1e-5)


def test_without_ranges_the_data_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="needs calibration data"):
        HybridSession(_shared(), hardware="static-range", placement="all-analog")


def test_ranges_of_hardware_with_other_tiles_are_refused() -> None:
    rows = Hardware.load("static-range")
    narrow = rows.model_copy(update={"tiles": rows.tiles.model_copy(update={"rows": 40})})
    result = lhc.partition("digits-narrow", hardware=rows, strategy="all-analog", samples=100, draws=2, max_drop="100%")
    with pytest.raises(UsageError, match="needs calibration data: its tiles have static input ranges"):
        HybridSession(result.source, hardware=narrow, placement=result.plan)


def test_ranges_are_stored_per_node_and_used_when_the_model_runs(tmp_path: Path) -> None:
    result = lhc.partition(
        "digits-narrow", hardware="static-range", strategy="all-analog", samples=100, draws=2, max_drop="100%"
    )
    path = result.save(tmp_path / "out.onnx")
    model = load_model(path)
    plan = read_plan(model)
    assert plan is not None
    assert plan.ranges.keys() == plan.analog
    assert all(len(ranges) == 1 and ranges[0] > 0 for ranges in plan.ranges.values())
    node = next(n for n in model.proto.graph.node if n.name == "conv1")
    written = next(e.value for e in node.metadata_props if e.key == "lhc.input_range")
    assert float(written) == pytest.approx(plan.ranges["conv1"][0], rel=1e-5)

    session = HybridSession(path)
    assert session.hardware.name == "static-range"
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    assert np.isfinite(session.run(None, {"x": images})[0]).all()
    from_file = lhc.evaluate(path, {"x": images, "labels": np.zeros(4, np.int64)}, draws=2)
    assert from_file[0].draws == 2


def test_clipping_acts_at_the_range() -> None:
    """With everything else off, inputs beyond the range answer as if they were on it."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y) { [a] y = MatMul (x, w) }'
    model = parsed(text, {"w": np.eye(2, dtype=np.float32)})
    hardware = STATIC.model_copy(
        update={
            "dac": STATIC.dac.model_copy(update={"bits": None}),
            "adc": STATIC.adc.model_copy(update={"bits": None, "noise": 0.0}),
            "devices": None,
        }
    )
    plan = lhc.analyze(model, hardware=hardware).plan
    plan = plan.decide({"a": ("analog", "forced", "")}).with_ranges({"a": (2.0,)})
    session = HybridSession(model, hardware=hardware, placement=plan)
    x = np.array([[1.0, -0.5], [5.0, -3.0]], np.float32)
    assert session.run(None, {"x": x})[0] == pytest.approx(np.array([[1.0, -0.5], [2.0, -2.0]]), abs=1e-6)


def test_noise_model_that_is_not_defined_for_a_tile_says_so() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y) { [a] y = MatMul (x, w) }'
    model = parsed(text, {"w": np.ones((2, 2), np.float32)})
    with pytest.raises(ModelError, match="weights are all equal"):
        HybridSession(model, hardware=Hardware(name="x", devices=ReramCmo()), placement="all-analog")


def test_drift_to_no_number_says_so() -> None:
    """aihwkit takes the logarithm of a conductance that noise made negative."""
    rng = np.random.default_rng(0)
    model = linear(rng.normal(size=(64, 32)).astype(np.float32))
    machine = Hardware(name="x", devices=ReramCmo(g_min_us=0.5))
    with pytest.raises(ModelError, match=r"greater devices\.g_min_us"):
        HybridSession(model, hardware=machine, placement="all-analog", t_inference=86400.0)


def test_overrides_may_not_part_layers_that_share_tiles() -> None:
    hardware = Hardware.parse("name: mine\noverrides: [{layers: a, adc: {noise: 0.01}}]", "test")
    with pytest.raises(UsageError, match="a, b share their tiles"):
        lhc.analyze(_shared(), hardware=hardware)
    with pytest.raises(UsageError, match="'nothing' matches no layer"):
        lhc.analyze(
            _shared(), hardware=Hardware.parse("name: mine\noverrides: [{layers: nothing, adc: {noise: 0.01}}]", "test")
        )


def test_overrides_reach_the_tiles_of_their_layer() -> None:
    """With every other effect off, only the overridden layer is noisy."""
    text = (
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) {'
        " [a] y = MatMul (x, v) [b] z = MatMul (x, w) }"
    )
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name in "vw":
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=(4, 4)).astype(np.float32), name))
    ideal = Hardware.load("ideal").to_yaml()
    hardware = Hardware.parse(ideal.replace("overrides: []", "overrides: [{layers: b, adc: {noise: 0.5}}]"), "test")
    x = rng.normal(size=(50, 4)).astype(np.float32)
    y, z = HybridSession(model, hardware=hardware, placement="all-analog").run(None, {"x": x})
    exact_y, exact_z = HybridSession(model, placement=()).run(None, {"x": x})
    assert np.abs(y - exact_y).max() < 1e-5
    assert np.abs(z - exact_z).max() > 0.1


ADCS = """
name: adcs
tiles: {rows: 6, cols: 3}
dac: {bits: 5, scaling: SCALING}
adc: {bits: 8, bound: 12, bound_management: none, range: layer, range_quantile: 0.99}
"""


@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize("scaling", ["abs_max", "static"])
def test_range_of_adcs_is_the_quantile_of_what_tiles_give(scaling: str, slices: bool) -> None:
    more = "mapping: {cell_bits: 2, slices: 2}" if slices else ""
    text = ADCS.replace("SCALING", scaling).replace("{bits: 5", "{bits: 5, slice_bits: 2" if slices else "{bits: 5")
    machine = Hardware.parse(text + more, "text")
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(300, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    model = load_model(linear(w))
    ranges = {"a": (1.7, 1.1)} if scaling == "static" else {}
    found, columns = calibrate_adcs(model, read_graph(model), machine, ["a"], [(300, {"x": x})], ranges)

    values = []
    for split, inputs in enumerate((slice(0, 4), slice(4, 8))):
        scale = 1.7 - 0.6 * split if ranges else np.abs(x[:, inputs]).max(axis=1, keepdims=True)
        codes = np.rint(np.clip(x[:, inputs] / scale, -1, 1) * 15)
        parts = [codes / 15]
        if slices:
            parts = [np.sign(codes) * (np.abs(codes) // 4**read % 4) / 3 for read in range(2)]
        full = np.abs(w[inputs]).max(axis=0)  # of columns
        held = [w[inputs] / full]
        if slices:
            whole = np.rint(np.abs(w[inputs]) / full * 15)
            held = [np.sign(w[inputs]) * (whole // 4**k % 4) / 3 for k in range(2)]
        values += [np.abs(part @ weights).ravel() for part in parts for weights in held]
    assert found == {"a": pytest.approx(np.quantile(np.concatenate(values), 0.99), rel=1e-5)}
    assert columns == {}

    fixed = machine.with_adc_bounds(found)
    assert fixed.for_layer("a").adc.bound == found["a"]
    assert fixed.for_layer("b").adc.range == "layer"
    assert fixed.for_layer("a").copies_obstacle is not None


@pytest.mark.parametrize("copies", [9, 25])
def test_sums_tell_which_vectors_the_engine_reads_again(copies: int) -> None:
    """A vector that is read again answers otherwise than on a machine that clips its sums."""
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(2000, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    source = linear(w)
    model, machine = load_model(source), Hardware.load("lionheart").model_copy(update={"devices": None})
    machine = machine.model_copy(update={"adc": machine.adc.model_copy(update={"noise": 0.0})})
    sums = calibrate_sums(model, read_graph(model), machine, ["a"], [(2000, {"x": x})], {}, 0.0)["a"]
    assert len(sums) == QUANTILES
    clipping = machine.model_copy(update={"adc": machine.adc.model_copy(update={"bound_management": "none"})})
    answers = []
    for hardware in (machine, clipping):
        plan = lhc.analyze(source, hardware=machine).plan.decide({"a": ("analog", "forced", "")})
        plan = plan.with_copies(read_graph(model), {"a": copies}).model_copy(update={"hardware": hardware})
        answers.append(HybridSession(source, hardware=hardware, placement=plan).run(None, {"x": x})[0])
    again = (answers[0] != answers[1]).any(axis=1).mean()
    assert again > 0.05
    assert again == pytest.approx(np.mean(copies * np.array(sums) > 1), abs=1 / QUANTILES)


def test_sums_are_found_on_a_machine_with_static_ranges_of_inputs() -> None:
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(64, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    preset = Hardware.load("lionheart")
    machine = preset.model_copy(update={"dac": preset.dac.model_copy(update={"scaling": "static"})})
    found = lhc.sensitivity(linear(w), {"x": x}, hardware=machine, draws=2, metric="nmse")
    assert found.layers["a"].mean > 0


def test_layers_that_share_tiles_share_the_wider_range_of_adcs() -> None:
    model, machine = load_model(_shared()), Hardware.parse(ADCS.replace("SCALING", "none"), "text")
    x = 0.05 * np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    found, _ = calibrate_adcs(model, read_graph(model), machine, ["a", "b"], [(64, {"x": x})], {})
    alone, _ = calibrate_adcs(model, read_graph(model), machine, ["a"], [(64, {"x": x})], {})
    assert found["a"] == found["b"] > 3 * alone["a"]


@pytest.mark.slow
def test_calibrated_ranges_of_adcs_go_with_the_plan(tmp_path: Path) -> None:
    machine = Hardware.load("static-range")
    machine = machine.model_copy(update={"adc": machine.adc.model_copy(update={"range": "layer"})})
    with pytest.raises(UsageError, match=r"needs calibration data: the range of its ADCs"):
        HybridSession(_shared(), hardware=machine.model_copy(update={"dac": Hardware(name="x").dac}), placement=["a"])
    result = lhc.partition(
        "digits-narrow", hardware=machine, strategy="all-analog", samples=100, draws=2, max_drop="100%"
    )
    path = result.save(tmp_path / "out.onnx")
    plan = read_plan(load_model(path))
    assert plan is not None
    bounds = {name: plan.hardware.for_layer(name).adc.bound for name in plan.analog}
    assert {plan.hardware.for_layer(name).adc.range for name in plan.analog} == {"calibrated"}
    assert len(set(bounds.values())) == len(bounds) > 10
    assert plan.hardware.as_described == machine
    # What was found is kept where the machine is named again, as where none is named.
    for hardware in (machine, None):
        assert machine_of(RunOptions(path, hardware=hardware), plan) == plan.hardware
    x = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    fast, reference = (
        HybridSession(path, engine=engine).run(None, {load_model(path).proto.graph.input[0].name: x})[0]
        for engine in ("fast", "aihwkit")
    )
    assert np.corrcoef(fast.ravel(), reference.ravel())[0, 1] > 0.9
