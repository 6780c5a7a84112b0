"""Damage of layers by themselves, where a network does not stand it."""

import numpy as np
import onnx
import pytest

import lhc
from lhc.errors import DataError
from tests.networks import parsed

ROOTS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 4] y) {
  [power] p = MatMul (x, w)
  [root] y = Sqrt (p)
}"""


@pytest.mark.analog
def test_a_layer_whose_errors_the_network_does_not_stand_is_named() -> None:
    """Powers that are 0 are below it with noise, and have no root."""
    x = np.zeros((16, 4), np.float32)
    x[:, 0] = 1
    model = parsed(ROOTS, {"w": np.eye(4, dtype=np.float32)})
    with pytest.raises(DataError, match=r"with .power. alone on tiles, .* gives NaN .*keep these digital"):
        lhc.sensitivity(model, {"x": x}, draws=2, metric="nmse", method="measure")


ONE_ROOT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 8] y) {
  [power] p = MatMul (x, w)
  [root] r = Sqrt (p)
  [plain] q = MatMul (x, v)
  [both] y = Concat <axis = 1> (r, q)
}"""


def _one_root() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Three of four roots are of differences, half of which are 0: errors of the tile make some of them negative."""
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, (400, 1)) - np.maximum(rng.normal(0, 0.5, (400, 4)), 0) * [0, 1, 1, 1]
    differences = np.array([[1, 1, 1, 1], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, -1]], np.float32)
    return parsed(ONE_ROOT, {"w": differences, "v": np.eye(4, dtype=np.float32)}), {"x": x.astype(np.float32)}


@pytest.mark.analog
def test_a_layer_whose_errors_the_network_does_not_stand_has_no_figure_beside_others_that_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, data = _one_root()
    table = lhc.sensitivity(model, data, draws=5, metric="nmse", method="measure")
    assert list(table.layers) == ["plain"]
    assert list(table.not_finite) == ["power"]
    assert "no sensitivity of 1 layer, e.g. 'power'" in caplog.text


@pytest.mark.analog
def test_a_partition_leaves_such_a_layer_digital_and_says_why() -> None:
    model, data = _one_root()
    result = lhc.partition(model, data, max_drop=0.5, metric="nmse", draws=5, objective="macs")
    rows = {layer.name: layer for layer in result.plan.layers}
    assert rows["power"].placement == "digital"
    assert "NaN" in rows["power"].detail
    assert rows["plain"].sensitivity is not None


@pytest.mark.analog
def test_a_layer_that_is_forced_onto_tiles_all_the_same_is_an_error() -> None:
    model, data = _one_root()
    with pytest.raises(DataError, match="the mapped network gives NaN"):
        lhc.partition(model, data, max_drop=0.5, metric="nmse", draws=5, force_analog=["power"])
