"""Models that nobody here made go the whole way, or are refused with a reason. They are looked for in ``LHC_DATA``."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from typer.testing import CliRunner

import lhc
from lhc.cli.framework.app import app

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
Feeds = Callable[[np.random.Generator], Mapping[str, Array]]


def _normal(name: str, *shape: int, scale: float = 1.0) -> Feeds:
    return lambda rng: {name: (scale * rng.normal(size=shape)).astype(np.float32)}


@dataclass(frozen=True)
class ThirdParty:
    """A model, samples for it, and what ``analyze`` must find.

    Attributes:
        candidates: products, and how many of them can be analog.
        output: the output that is scored; its last axis must hold classes.
        include: the layers that are measured; all where empty. They keep the test short.
    """

    file: str
    feeds: Feeds
    candidates: tuple[int, int]
    output: str
    shape: tuple[str, ...] = ()
    include: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return self.file


PLACED = [
    ThirdParty("mtcnn_pnet", _normal("input_1", 12, 24, 30, 3), (5, 5), "softmax", ("--shape", "input_1=1,24,30,3")),
    ThirdParty("mtcnn_rnet", _normal("input_2", 12, 24, 24, 3), (6, 6), "softmax_1"),
    ThirdParty("mtcnn_onet", _normal("input_3", 12, 48, 48, 3), (8, 8), "softmax_2"),
    ThirdParty(
        "magika_standard_v3_3",
        lambda rng: {"bytes": rng.integers(0, 256, (4, 2048)).astype(np.int32)},
        (3, 3),
        "target_label",
    ),
    ThirdParty(
        "rapidocr_cls",
        _normal("x", 8, 3, 48, 192),
        (54, 54),
        "save_infer_model/scale_0.tmp_1",
        ("--shape", "x=1,3,48,192"),
        ("Conv@0", "Conv@1", "Conv@10", "MatMul@0"),
    ),
    ThirdParty(
        "basic_pitch_nmp",
        _normal("serving_default_input_2:0", 2, 43844, 1, scale=0.1),
        (32, 32),
        "StatefulPartitionedCall:1",
        include=("*cq_t2010v2_1/conv1d_1*", "model_1/re_lu_3/*"),
    ),
]


def _lhc(*arguments: object, code: int = 0) -> tuple[dict[str, Any], str]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr or result.exception
    document: dict[str, Any] = json.loads(result.stdout) if result.stdout else {}
    return document, result.stderr


def _model(lhc_data: Path, name: str) -> Path:
    path = lhc_data / "onnx" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder that LHC_DATA names")
    return path


def _outputs(path: Path, feeds: Mapping[str, Array]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return list(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, dict(feeds)))


@pytest.mark.slow
@pytest.mark.parametrize("case", PLACED, ids=str)
def test_the_whole_way(case: ThirdParty, lhc_data: Path, tmp_path: Path) -> None:
    model, data, out = _model(lhc_data, case.file), tmp_path / "data.npz", tmp_path / "out.onnx"
    feeds = case.feeds(np.random.default_rng(0))
    np.savez(data, allow_pickle=False, **feeds)
    document, _ = _lhc("analyze", model, *case.shape)
    assert (document["totals"]["candidates"], document["totals"]["eligible"]) == case.candidates
    measuring = ["--data", data, "--draws", 4, "--quiet", "--output", case.output]
    measuring += [part for pattern in case.include for part in ("--include", pattern)]
    document, _ = _lhc("sensitivity", model, *measuring)
    assert any(row["mean"] > 0 and row["std"] > 0 for row in document["layers"])
    _lhc("partition", model, *measuring, "--strategy", "all-analog", "--metric", "nmse", "--max-drop", 1e9, "-o", out)
    document, _ = _lhc("inspect", out)
    analog = [row["name"] for row in document["layers"] if row["placement"] == "analog"]
    assert len(analog) >= 1
    document, _ = _lhc("run", out, "--data", data, "--draws", 2, "--quiet", "--output", case.output)
    assert document["digital"] == {"metric": "nmse", "value": 0}, "as it was judged"
    for expected, found in zip(_outputs(model, feeds), _outputs(out, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)


COUNTED_BY_HAND = {"magika_standard_v3_3": [257 * 64 * 2048, 5 * 256 * 512 * (2048 // 4 - 4), 512 * 214]}
"""MACs where onnx-tool lacks an operator: bytes as one of 257, in fours, five wide, then one vector a file."""


def _counted(path: Path, feeds: Mapping[str, Array]) -> list[int]:
    """MACs of the products, by onnx-tool, which adds one for every output of a layer with a bias."""
    if path.stem in COUNTED_BY_HAND:
        return COUNTED_BY_HAND[path.stem]
    onnx_tool = pytest.importorskip("onnx_tool", reason="the independent counter of MACs")
    model = onnx_tool.Model(str(path), {"constant_folding": True})
    model.graph.shape_infer(dict(feeds))
    model.graph.profile()
    nodes = [node for node in model.graph.nodemap.values() if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [int(node.macs[0]) - (len(node.input) > 2) * math.prod(node.outshape) for node in nodes]


@pytest.mark.slow
@pytest.mark.parametrize("case", PLACED, ids=str)
def test_macs_and_outputs_on_perfect_tiles(case: ThirdParty, lhc_data: Path) -> None:
    path = _model(lhc_data, case.file)
    feeds = {name: array[:1] for name, array in case.feeds(np.random.default_rng(0)).items()}
    layers = lhc.analyze(path, shapes={name: array.shape for name, array in feeds.items()}).plan.layers
    assert sorted(layer.macs for layer in layers) == sorted(_counted(path, feeds))
    session = lhc.HybridSession(path, "ideal", "all-analog")
    assert session.analog == {layer.name for layer in layers}
    for found, expected in zip(session.run(None, feeds), _outputs(path, feeds), strict=True):
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_products_in_branches_stay_digital_without_samples(
    lhc_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """silero_vad: a scalar input, and a state of two layers per call: the file fixes a batch of two."""
    model, data, out = _model(lhc_data, "silero_vad"), tmp_path / "data.npz", tmp_path / "out.npz"
    rng = np.random.default_rng(0)
    sound, state = 0.1 * rng.normal(size=(4, 576)).astype(np.float32), np.zeros((4, 2, 128), np.float32)
    np.savez(data, allow_pickle=False, input=sound, state=state, sr=np.array(16000))
    document, _ = _lhc("analyze", model)
    assert document["totals"]["candidates"] == 16  # 12 convolutions, and an LSTM in each of four branches
    assert [row["op_type"] for row in document["layers"]].count("LSTM") == 4
    assert document["totals"]["eligible"] == 0
    assert all("samples (--data) tell which branch calls take" in row["detail"] for row in document["layers"])
    assert "16 operators that multiply lie in the bodies of If, Loop or Scan" in caplog.text
    document, notes = _lhc("run", model, "--data", data, "--metric", "nmse", "--outputs", out)
    assert document["times"][0]["mean"] == 0
    assert (
        "no layer is analog, so neither time nor noise changes anything: it carries no placement" in notes + caplog.text
    )
    expected = [
        _outputs(model, {"input": sound[rows], "state": state[rows], "sr": np.array(16000)})[0]
        for rows in (slice(0, 2), slice(2, 4))
    ]
    np.testing.assert_array_equal(np.load(out)["output"], np.concatenate(expected))


def test_nothing_to_place_is_no_failure(lhc_data: Path, tmp_path: Path) -> None:
    model, data = _model(lhc_data, "ort_logreg_iris"), tmp_path / "data.npz"
    np.savez(data, allow_pickle=False, float_input=np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32))
    result = CliRunner().invoke(app, ["analyze", str(model)])
    assert result.exit_code == 0
    assert "nothing to place: the model has no MatMul, Gemm or Conv" in result.stdout
    out, outputs = tmp_path / "out.onnx", tmp_path / "outputs.npz"
    document, _ = _lhc("partition", model, "--data", data, "--metric", "nmse", "-o", out)
    assert [(row["op_type"], row["placement"], row["macs"]) for row in document["layers"]] == [
        ("ai.onnx.ml::LinearClassifier", "digital", 12)  # as many coefficients are stored
    ]
    _lhc("run", out, "--data", data, "--metric", "nmse", "--outputs", outputs)
    with np.load(outputs) as found:
        assert found["label"].shape == (6,)
        assert found["probabilities"].shape == (6, 3), "a table, though the network gives one map a sample"


@pytest.mark.parametrize("command", ["analyze", "inspect"])
def test_operators_of_an_undeclared_domain_are_refused(command: str, lhc_data: Path) -> None:
    _, message = _lhc(command, _model(lhc_data, "qonnx_TFC_1W1A"), code=3)
    assert "qonnx_TFC_1W1A.onnx: not a valid ONNX model: No opset import for domain 'onnx.brevitas'" in message
