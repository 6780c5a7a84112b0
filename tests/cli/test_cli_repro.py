"""Files of real exporters, made small, that commands once refused or judged wrongly."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import Result

from tests.conftest import Cli


@pytest.fixture
def repro(lhc_data: Path) -> Path:
    return lhc_data / "repro"


def test_a_norm_of_onnxruntime_in_the_domain_of_onnx(repro: Path, cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    found = cli("analyze", repro / "simplified_layer_norm.onnx")
    assert found.exit_code == 0
    assert "1 of 1 layer can be analog: 100.0 % of MACs" in found.stdout
    assert caplog.text.count("onnx.checker refuses it, and onnxruntime runs it") == 1


CACHE = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, T, 4] x, float[N, P, 6] past) => (float[N, A, 6] y) <float[4, 6] w = {
  1,2,3,4,5,6, 1,2,3,4,5,6, 1,2,3,4,5,6, 1,2,3,4,5,6}> {
  [key] k = MatMul(x, w)
  [all] y = Concat<axis = 1>(past, k)
}"""


def test_a_cache_that_is_empty_at_first(tmp_path: Path, cli: Cli) -> None:
    onnx.save(onnx.parser.parse_model(CACHE), tmp_path / "cache.onnx")
    found = cli("analyze", tmp_path / "cache.onnx", "--shape", "x=1,8,4", "--shape", "past=1,0,6", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["layers"][0]["macs"] == 8 * 24
    found = cli("analyze", tmp_path / "cache.onnx", "--shape", "past=1,-1,6")
    assert "an axis of 0 is empty" in found.stderr


def measured(found: Result) -> dict[str, float]:
    assert found.exit_code == 0, found.stderr
    return {layer["name"]: layer["mean"] for layer in json.loads(found.stdout)["layers"]}


@pytest.mark.analog
@pytest.mark.parametrize("method", ["measure", "fisher"])
def test_float16_passes_the_parity_gate(repro: Path, cli: Cli, method: str) -> None:
    data = ("--data", repro / "fp16_matmul.npz", "--metric", "nmse", "--draws", 2, "--method", method, "--json")
    assert measured(cli("sensitivity", repro / "fp16_matmul.onnx", *data)).keys() == {"fc"}


@pytest.mark.analog
def test_weights_in_four_bits_pass_the_parity_gate_and_have_gradients(repro: Path, cli: Cli) -> None:
    found = measured(
        cli("sensitivity", repro / "int4_qdq.onnx", "--data", repro / "int4_qdq.npz", "--draws", 2, "--json")
    )
    assert len(found) == 17
    assert {"fc0", "fc15", "head"} <= found.keys()


@pytest.mark.analog
def test_sizes_of_resize_between_products(repro: Path, cli: Cli) -> None:
    data = ("--data", repro / "interp.npz", "--metric", "nmse", "--draws", 2, "--json")
    found = measured(cli("sensitivity", repro / "interp_f.onnx", *data))
    assert found.keys() == {"/a/Conv", "/h/Conv", "/l/Conv", "/u/Conv"}


@pytest.mark.analog
def test_with_a_batch_of_one_a_call_is_a_sample(
    repro: Path, cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = repro / "unbatched_output.onnx"
    data = ("--all-analog", "--data", repro / "unbatched_output.npz")
    found = cli("run", model, *data, "--draws", 1, "--outputs", tmp_path / "o.npz")
    assert found.exit_code == 0, found.stderr
    assert "every call gives one answer of output 'boxes'" in caplog.text
    assert "output 'scores' is left out: its shape differs from call to call" in caplog.text
    with np.load(tmp_path / "o.npz") as outputs:
        assert {name: outputs[name].shape for name in outputs} == {"boxes": (6, 64, 4)}
    found = cli("run", model, *data, "--metric", "nmse")
    assert found.exit_code == 0, found.stderr


@pytest.mark.analog
def test_a_file_that_fixes_a_batch_of_one_is_retrained(repro: Path, cli: Cli, tmp_path: Path) -> None:
    data = ("--data", repro / "fixed_batch.npz", "--metric", "kl", "--draws", 2, "--objective", "macs")
    training = ("--retrain", "--steps", 20, "--batch-size", 4, "--max-drop", 0.001)
    found = cli("partition", repro / "fixed_batch_1.onnx", *data, *training, "-o", tmp_path / "trained.onnx")
    assert found.exit_code == 0, found.stderr
    assert "Trained weights " in found.stdout
    declared = onnx.load(tmp_path / "trained.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert declared.dim_value == 1
