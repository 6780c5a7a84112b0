"""What is observed of a large network is observed for a group of layers at a time, and found to be the same."""

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.runtime import HybridExecutor, Position, parity_errors
from lhc.runtime.onnxruntime import activation_recorder as observed
from lhc.runtime.onnxruntime.activation_recorder import in_groups
from lhc.runtime.onnxruntime.sessions import create_session
from tests.runtime.models_on_tiles import Array, model_of, normal

pytestmark = pytest.mark.analog

NAMES = ["conv", "gemm", "matmul"]
SAMPLES = 8
ADCS = """
name: adcs
tiles: {rows: 40, cols: 8}
dac: {bits: 6, scaling: static}
adc: {bits: 8, bound: 12, range: layer, range_quantile: 0.99}
"""


def _network() -> OnnxModel:
    rng = np.random.default_rng(4)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "c", "cb"], ["conv"], name="conv", kernel_shape=[3, 3]),
        onnx.helper.make_node("Relu", ["conv"], ["r"]),
        onnx.helper.make_node("Flatten", ["r"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "g", "gb"], ["gemm"], name="gemm"),
        onnx.helper.make_node("Relu", ["gemm"], ["s"]),
        onnx.helper.make_node("MatMul", ["s", "m"], ["y"], name="matmul"),
    ]
    shapes = {"c": (6, 4, 3, 3), "cb": (6,), "g": (96, 8), "gb": (8,), "m": (8, 5)}
    constants = {name: normal(rng, shape) for name, shape in shapes.items()}
    return load_model(model_of(nodes, {"x": np.zeros((2, 4, 6, 6), np.float32)}, {"y": 2}, constants))


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        (96 + 96 + 8, [["conv", "gemm"], ["matmul"]]),
        (96 + 96 + 8 - 1, [["conv"], ["gemm", "matmul"]]),
        (96 + 96 + 8 + 8 + 5, [["conv", "gemm", "matmul"]]),
        (1, [["conv"], ["gemm"], ["matmul"]]),
    ],
)
def test_groups_count_inputs_and_outputs_once(
    monkeypatch: pytest.MonkeyPatch, values: int, groups: list[list[str]]
) -> None:
    """Per sample: conv writes 96 values, gemm reads 96 others and writes 8, matmul reads 8 others and writes 5."""
    graph = read_graph(_network())
    monkeypatch.setattr(observed, "OBSERVED_BYTES", 4 * values)

    found = in_groups(NAMES, lambda name: (*graph[name].inputs, *graph[name].outputs), graph, 1)

    assert found == groups


def _feeds(start: int = 0) -> dict[str, Array]:
    return {"x": normal(np.random.default_rng(9), (3 * SAMPLES, 4, 6, 6))[start : start + SAMPLES]}


BLOCKS = [(SAMPLES, _feeds(start)) for start in (0, SAMPLES)]


def _parity(model: OnnxModel, graph: LayerGraph) -> object:
    return parity_errors(model, graph, Hardware.load("lionheart"), NAMES, _feeds(), SAMPLES)


def _gradients(model: OnnxModel, graph: LayerGraph) -> object:
    from lhc.runtime.gradients.network import DifferentiableModel, parity

    return parity(DifferentiableModel(model, graph), _feeds())


def _ranges(model: OnnxModel, graph: LayerGraph) -> object:
    from lhc.runtime.calibration.converter_ranges import calibrate_adcs, calibrate_ranges

    machine = Hardware.parse(ADCS, "text")
    ranges = calibrate_ranges(model, graph, machine, NAMES, BLOCKS)
    return ranges, calibrate_adcs(model, graph, machine, NAMES, BLOCKS, ranges)


def _sums(model: OnnxModel, graph: LayerGraph) -> object:
    from lhc.runtime.calibration.converter_ranges import calibrate_sums

    return calibrate_sums(model, graph, Hardware.load("lionheart"), NAMES, BLOCKS, {}, 86400.0)


def _corrections(model: OnnxModel, graph: LayerGraph) -> object:
    from lhc.runtime.calibration.chip_outputs import calibrated_alone, digital_moments

    executor = HybridExecutor(model, graph, NAMES)
    calls = [(feeds, Position(number * SAMPLES, SAMPLES)) for number, (_, feeds) in enumerate(BLOCKS)]
    chips = calibrated_alone(executor, model, graph, Hardware.load("lionheart"), 0, [0, 3], 86400.0, calls)
    moments = digital_moments(model, graph, executor.layers, calls)
    return [{name: _plain(one) for name, one in chip.items()} for chip in chips], {
        n: _plain(m) for n, m in moments.items()
    }


def _plain(found: object) -> dict[str, list[float]]:
    assert dataclasses.is_dataclass(found)
    return {field.name: getattr(found, field.name).tolist() for field in dataclasses.fields(found)}


@pytest.mark.parametrize("what", [_parity, _gradients, _ranges, _sums, _corrections])
def test_groups_change_nothing(
    monkeypatch: pytest.MonkeyPatch, what: Callable[[OnnxModel, LayerGraph], object]
) -> None:
    """To the last bit, and every layer is a group of its own."""
    model = _network()
    graph = read_graph(model)
    together = what(model, graph)
    sessions = []

    def counted(proto: onnx.ModelProto, label: str, packs: bool) -> object:
        sessions.append([value.name for value in proto.graph.output])
        return create_session(proto, label, packs)

    monkeypatch.setattr(observed, "create_session", counted)
    monkeypatch.setattr(observed, "OBSERVED_BYTES", 1)

    assert what(model, graph) == together
    assert all(len(tensors) <= 2 for tensors in sessions), "one layer's"
