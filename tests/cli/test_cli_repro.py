"""Files of real exporters, made small, that commands once refused or judged wrongly."""

import json
from pathlib import Path

import onnx
import pytest

from tests.conftest import Cli


@pytest.fixture
def repro(lhc_data: Path) -> Path:
    return lhc_data / "repro"


def test_a_norm_of_onnxruntime_in_the_domain_of_onnx(repro: Path, cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    found = cli("analyze", repro / "simplified_layer_norm.onnx")
    assert found.exit_code == 0
    assert "1 of 1 layers can be analog: 100.0 % of MACs" in found.stdout
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
