"""The parity gate: injected faults trip it, and it excludes nothing that is right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import lhc
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.pipeline.inputs.model_source import open_model
from lhc.runtime import PARITY_TOLERANCE, parity_errors
from lhc.runtime.engines.compiled.conv.layout import ChannelPlaces, channel_places
from lhc.runtime.lru_cache import LruCache, single
from lhc.runtime.operators.analog_layers import AnalogConv, AnalogMatMul
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4, 9, 9] x) => (float[N, 6] y) {
  [grouped] a = Conv <group = 2, dilations = [2, 2], pads = [2, 2, 2, 2]> (x, w)
  [plain] b = Conv <strides = [2, 2]> (a, v)
  p = GlobalAveragePool (b)
  f = Flatten (p)
  [square] m = MatMul (f, q)
  [gemm] y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (m, r, c)
}"""
SHAPES = {"w": (8, 2, 3, 3), "v": (6, 8, 3, 3), "q": (6, 6), "r": (6, 6), "c": (6,)}


def errors() -> dict[str, float]:
    rng = np.random.default_rng(0)
    proto = parsed(TEXT, drawn(SHAPES, rng))
    model = load_model(proto)
    x = rng.normal(size=(3, 4, 9, 9)).astype(np.float32)
    names = [layer.name for layer in read_graph(model).candidates]
    return parity_errors(model, read_graph(model), Hardware.load("lionheart"), names, {"x": x}, 3)


def test_right_operators_pass() -> None:
    found = errors()
    assert set(found) == {"grouped", "plain", "square", "gemm"}
    assert max(found.values()) < 1e-6


def _transposed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = AnalogMatMul.__init__

    def init(self: AnalogMatMul, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self._matrix = self._matrix.T

    monkeypatch.setattr(AnalogMatMul, "__init__", init)


def _swapped_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    original = AnalogConv.__init__

    def init(self: AnalogConv, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        if self.groups == 2:
            self._matrix = np.roll(self._matrix, len(self._matrix) // 2, axis=0)

    monkeypatch.setattr(AnalogConv, "__init__", init)


def _wrong_dilation(monkeypatch: pytest.MonkeyPatch) -> None:
    def places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> ChannelPlaces:
        near = replace(geometry, dilations=(1,) * len(geometry.dilations))
        pads = geometry.padding(sizes)
        found = channel_places(geometry, sizes)
        return found._replace(offsets=channel_places(replace(near, pads=pads, auto_pad="NOTSET"), sizes).offsets)

    monkeypatch.setattr("lhc.runtime.engines.compiled.conv.layout.channel_places", places)
    monkeypatch.setattr("lhc.runtime.engines.compiled.conv.layout._PLACES", LruCache(0, single))  # nothing is kept


def _forgotten_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnalogMatMul, "_add", lambda self, output, extra: output)


@pytest.mark.parametrize(
    ("fault", "layers"),
    [
        (_transposed, {"square", "gemm"}),
        (_swapped_groups, {"grouped"}),
        (_wrong_dilation, {"grouped"}),
        (_forgotten_bias, {"gemm"}),
    ],
    ids=["transposed weight", "swapped groups", "wrong dilation", "forgotten bias"],
)
def test_faults_trip_the_gate(
    fault: Callable[[pytest.MonkeyPatch], None], layers: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    found = errors()
    assert {name for name, error in found.items() if error > PARITY_TOLERANCE} == layers


def test_faulty_layers_stay_digital_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    _forgotten_bias(monkeypatch)
    result = lhc.partition("digits-narrow", strategy="all-analog", samples=50, draws=2, max_drop="100%")
    rows = {layer.name: layer for layer in result.plan.layers}
    assert (rows["linear"].placement, rows["linear"].reason) == ("digital", "parity")
    assert "differ from onnxruntime" in rows["linear"].detail
    assert any(note.startswith("linear stays digital") for note in result.notes)
    assert rows["conv1"].placement == "analog"


@pytest.mark.parametrize(
    "preset",
    [
        "lionheart",
        "static-range",
        "standard-pcm-torch",
        "standard-pcm",
        "hermes",
        "reram-cmo",
        "reram-wan2022",
        "afm",
        "ideal",
    ],
)
def test_nothing_right_is_excluded_on_any_preset(preset: str) -> None:
    opened = open_model("digits-narrow")
    task = opened.task(None, None, 4)
    graph = opened.graph(None, task)
    names = [layer.name for layer in graph.candidates]
    found = parity_errors(opened.model, graph, Hardware.load(preset), names, next(task.blocks(4))[1], 4)
    assert set(found) == set(names)
    assert max(found.values()) < 1e-5
