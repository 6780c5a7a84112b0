"""Whole networks: compiled, they do what the emulation does."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import lhc
from lhc.commands.compile import compile_draws, placement_of
from lhc.hardware import Hardware, preset_names
from lhc.lowering import CompiledModel
from lhc.options.by_command import CompileOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.samples.task import Task

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
Compare = Callable[[NetworkPlacement, CompiledModel, Mapping[str, Array]], Any]

EDGES = 2e-3
"""Share of a layer's outputs that may lie on a rounding edge and move by one code."""


def first_samples(task: Task, count: int) -> dict[str, Array]:
    _, feeds = next(task.head(count).blocks(count))
    return dict(feeds)


SLICED = Hardware.parse("name: slices\nmapping: {cell_bits: 3, slices: 2}", "text")


@pytest.mark.parametrize(
    "preset",
    [*preset_names(), pytest.param(SLICED, marks=pytest.mark.slow)],
    ids=lambda p: p if isinstance(p, str) else "slices",
)
def test_every_layer_of_digits_equals_the_emulation(preset: str | Hardware, agreement: Compare) -> None:
    digits = open_model("digits-narrow")
    options = CompileOptions(digits, all_analog=True, hardware=preset, seed=3, noise="off")
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [1], options)
    assert digits.entry is not None
    found = agreement(network, compiled, first_samples(digits.entry.task(), 64))
    assert len(found.moved) == 14
    assert max(found.moved.values()) <= EDGES
    assert not significantly_more(found.flips, found.own_flips)


def test_a_planted_error_of_one_layer_is_found(agreement: Compare) -> None:
    """1 % more gain of one tile is more than float rounding in most of its outputs."""
    digits = open_model("digits-narrow")
    options = CompileOptions(digits, all_analog=True, hardware="ideal", noise="off")
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [0], options)
    scales = next(t for t in compiled.proto.graph.initializer if t.name == "layer1.1.conv1.weight.scales")
    scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scales) * np.float32(1.01), scales.name))
    assert digits.entry is not None
    found = agreement(network, compiled, first_samples(digits.entry.task(), 16))
    assert [name for name, share in found.moved.items() if share > EDGES] == ["layer1.1.conv1"]


OTHERS: dict[str, dict[str, tuple[tuple[int, ...], str]]] = {
    "basic_pitch_nmp": {"serving_default_input_2:0": ((1, 43844, 1), "float32")},
    "magika_standard_v3_3": {"bytes": ((2, 2048), "int32")},
    "mtcnn_onet": {"input_3": ((3, 48, 48, 3), "float32")},
    "mtcnn_pnet": {"input_1": ((3, 40, 40, 3), "float32")},
    "mtcnn_rnet": {"input_2": ((3, 24, 24, 3), "float32")},
    "rapidocr_cls": {"x": ((2, 3, 48, 192), "float32")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_others(name: str, lhc_data: Path, agreement: Compare) -> None:
    path = lhc_data / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"LHC_DATA has no {path.name}")
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {
        key: rng.integers(0, 256, shape, np.int32) if kind == "int32" else rng.normal(size=shape).astype(kind)
        for key, (shape, kind) in OTHERS[name].items()
    }
    options = CompileOptions(path, feeds, all_analog=True, noise="off")
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [0], options)
    onnx.checker.check_model(compiled.proto, full_check=True)
    found = agreement(network, compiled, feeds)
    assert max(found.moved.values()) <= EDGES
    assert not significantly_more(found.flips, found.own_flips)
    if name.startswith("mtcnn"):
        for output, expected in zip(found.outputs, found.expected, strict=True):
            apart = np.abs(output - expected) > 0.05 * np.abs(expected).max()
            assert apart.sum() <= 1, "at most one number got another code of its converter, which is a tenth"


ZOO = [
    *(("resnet20", preset, 100) for preset in ("lionheart", "static-range")),
    *(("minilm", preset, 4) for preset in ("lionheart", "static-range")),
    *(("stories260k", preset, 4) for preset in ("lionheart", "static-range")),
    ("minilm-squad", "lionheart", 1),
]
"""Network, preset and samples; all analog."""


def significantly_more(flips: int, own: int) -> bool:
    """Whether the compiled network flips more predictions than the emulation does when its last bits change.

    Both are counts of rare events: 3 standard deviations of their difference, and 2 where there are next to none.
    """
    return bool(flips - own > 3 * np.sqrt(flips + own) + 2)


def test_what_significantly_more_is() -> None:
    assert not significantly_more(2, 0)
    assert not significantly_more(130, 100)
    assert significantly_more(160, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset", "samples"), ZOO)
def test_networks_of_the_zoo(name: str, preset: str, samples: int, lhc_data: Path, agreement: Compare) -> None:
    assert lhc_data.is_dir()
    opened = open_model(name)
    assert opened.entry is not None
    task = opened.entry.task()
    options = CompileOptions(opened, task.head(64), all_analog=True, hardware=Hardware.load(preset), noise="off")
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [0], options)
    found = agreement(network, compiled, first_samples(task, samples))
    assert max(found.moved.values()) <= EDGES
    assert not significantly_more(found.flips, found.own_flips)


def reader_of_pictures(steps: int = 20, hidden: int = 64) -> onnx.ModelProto:
    """A network that reads text in pictures: a Conv, two LSTMs in both directions over its columns, and classes."""
    rng, tensors = np.random.default_rng(0), dict[str, Array]()

    def weights(name: str, *shape: int) -> str:
        tensors[name] = (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)
        return name

    def numbers(name: str, *values: int) -> str:
        tensors[name] = np.array(values, np.int64)
        return name

    conv = helper.make_node("Conv", ["x", weights("w", 32, 1, 4, 4)], ["c"], "conv", strides=[4, 4])
    nodes = [conv, helper.make_node("Relu", ["c"], ["r"], "relu")]
    nodes += [helper.make_node("Reshape", ["r", numbers("columns", 0, 128, steps)], ["f"], "columns_of_picture")]
    nodes += [helper.make_node("Transpose", ["f"], ["y0"], "steps_first", perm=[2, 0, 1])]
    for number in range(2):
        given = [f"y{number}", weights(f"W{number}", 2, 4 * hidden, 128), weights(f"R{number}", 2, 4 * hidden, hidden)]
        state, turned, joined = f"h{number}", f"t{number}", f"y{number + 1}"
        lstm = helper.make_node("LSTM", given, [state], f"lstm{number}", hidden_size=hidden, direction="bidirectional")
        nodes += [lstm, helper.make_node("Transpose", [state], [turned], f"turn{number}", perm=[0, 2, 1, 3])]
        nodes += [helper.make_node("Reshape", [turned, numbers(f"s{number}", 0, 0, -1)], [joined], f"join{number}")]
    nodes += [helper.make_node("MatMul", ["y2", weights("classes", 2 * hidden, 560)], ["z"], "fc")]
    nodes += [helper.make_node("Transpose", ["z"], ["y"], "samples_first", perm=[1, 0, 2])]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, 16, 4 * steps])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", steps, 560])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def reader() -> tuple[NetworkPlacement, CompiledModel, dict[str, Array]]:
    """The reader on 133 tiles, its samples beside it."""
    feeds = {"x": np.random.default_rng(1).normal(size=(4, 1, 16, 80)).astype(np.float32)}
    machine = Hardware.load("lionheart").with_fields({"tiles": {"rows": 64, "cols": 32}})
    options = CompileOptions(reader_of_pictures(), feeds, all_analog=True, hardware=machine, noise="off")
    network, _ = placement_of(options)
    (compiled,) = compile_draws(network, [0], options)
    held = {layer.weight: layer.tiles for layer in network.plan.layers if layer.placement == "analog"}
    assert sum(held.values()) == 133
    return network, compiled, feeds


@pytest.mark.slow
def test_a_network_of_133_tiles_loads_in_3_seconds(
    reader: tuple[NetworkPlacement, CompiledModel, dict[str, Array]],
) -> None:
    """Of processor time: its steps call the same tiles, and the tiles of a step form one product."""
    data = reader[1].proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    before = time.process_time()
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    assert time.process_time() - before < 3


@pytest.mark.slow
def test_steps_on_many_tiles_equal_the_emulation(
    reader: tuple[NetworkPlacement, CompiledModel, dict[str, Array]], agreement: Compare
) -> None:
    found = agreement(*reader)
    assert max(found.moved.values()) <= EDGES
    assert found.flips <= 1


def test_noise_has_the_distribution_of_the_emulation() -> None:
    """Mean and deviation of each logit over 400 reads of one image on one chip, both with their own noise."""
    digits = open_model("digits-narrow")
    options = CompileOptions(digits, all_analog=True)
    network, _ = placement_of(options)
    assert digits.entry is not None
    image = first_samples(digits.entry.task(), 1)
    many = {name: np.repeat(array, 400, axis=0) for name, array in image.items()}
    (compiled,) = compile_draws(network, [0], options)
    (got,) = compiled.session(noise_seed=1).run(None, many)
    session = lhc.HybridSession(network.model, placement=network.plan)
    assert network.calibration is not None
    session.calibrate(network.calibration.inputs)
    (wanted,) = session.run(None, many)
    deviation = wanted.std(axis=0)
    assert (deviation > 0).all()
    # Means of 400: 4.5 standard errors of their difference. Deviations: 3.5 % each, so 0.22 is 4.5 of those.
    assert (np.abs(got.mean(axis=0) - wanted.mean(axis=0)) < 4.5 * deviation * np.sqrt(2 / 400)).all()
    assert (np.abs(np.log(got.std(axis=0) / deviation)) < 0.22).all()


def test_a_file_of_ir_version_3_compiles_into_one_whose_initializers_need_not_be_inputs() -> None:
    text = '<ir_version: 3, opset_import: ["" : 10]> net (float[N, 8] x, float[8, 4] w) => (float[N, 4] y)'
    model = onnx.parser.parse_model(f"{text} {{ y = MatMul (x, w) }}")
    weights = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.checker.check_model(model)
    x = np.random.default_rng(1).normal(size=(32, 8)).astype(np.float32)
    found = lhc.compile(model, placement=[], hardware="lionheart", data={"x": x})
    onnx.checker.check_model(found.proto)
    assert {value.name for value in found.proto.graph.input} == {"x"}
