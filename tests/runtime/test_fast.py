"""What the fast engine holds while it multiplies."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import parity_errors
from lhc.runtime.fast import _SharedCodes
from lhc.runtime.kernels import ROUNDS
from lhc.runtime.vectors import INFINITE, Vectors

pytestmark = pytest.mark.analog

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 64, 9, 9] x) => (float[N, 8, 9, 9] y) {
  [wide] y = Conv<kernel_shape = [3, 3], pads = [8, 8, 8, 8], dilations = [8, 8]>(x, w)
}"""


def test_the_parity_gate_copies_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the row splits held a copy of the whole padded input: 13 GB for one layer of DeepLab."""
    proto = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=(8, 64, 3, 3)).astype(np.float32), "w"))
    model = load_model(proto)
    graph, x = read_graph(model), rng.normal(size=(1, 64, 9, 9)).astype(np.float32)

    def copied(*arguments: object) -> None:
        raise AssertionError("the input is copied")

    monkeypatch.setattr("lhc.runtime.fast.quantise", copied)
    assert parity_errors(model, graph, Hardware.load("lionheart"), ["wide"], {"x": x}, 1)["wide"] < 1e-6


def test_row_splits_of_one_range_share_one_copy_of_the_input() -> None:
    data = np.random.default_rng(0).normal(size=24).astype(np.float32)
    vectors = Vectors(data, np.arange(6), 1, 0, np.zeros(1, np.int64), 4, 6)
    shared = _SharedCodes(vectors)
    rounded = shared.of(np.float32(8), ROUNDS, np.float32(7))
    np.testing.assert_array_equal(rounded.data, np.clip(np.rint(data * 8), -7, 7))
    assert shared.of(np.float32(8), ROUNDS, np.float32(7)) is rounded
    assert shared.of(np.float32(4), ROUNDS, np.float32(7)) is not rounded
    assert shared.of(np.float32(1), np.float32(0), INFINITE) is vectors
