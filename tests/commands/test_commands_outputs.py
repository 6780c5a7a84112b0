"""Commands on a network with two outputs, each with layers of its own."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 6] x) => (float[N, 4] prob, float[N, 3] box) {
  [body] h = MatMul(x, w)
  [act] r = Relu(h)
  [class] z = MatMul(r, v)
  [soft] prob = Softmax<axis = -1>(z)
  [corner] b = MatMul(r, u)
  [act2] s = Relu(b)
  [box] box = MatMul(s, t)
}"""
X = np.random.default_rng(1).normal(size=(64, 6)).astype(np.float32)
OPTIONS: dict[str, Any] = {"draws": 2, "max_drop": 0.9, "objective": "macs"}


def two_heads() -> onnx.ModelProto:
    model, rng = onnx.parser.parse_model(NET), np.random.default_rng(0)
    for name, shape in {"w": (6, 16), "v": (16, 4), "u": (16, 8), "t": (8, 3)}.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return model


def reasons(result: lhc.PartitionResult) -> dict[str, str]:
    return {row.name: row.reason for row in result.plan.layers}


@pytest.mark.analog
def test_layers_that_nothing_judges_stay_digital(caplog: pytest.LogCaptureFixture) -> None:
    result = lhc.partition(two_heads(), {"x": X}, **OPTIONS)
    assert reasons(result) == {"body": "budget", "class": "budget", "corner": "not-judged", "box": "not-judged"}
    assert "2 layers stay digital, since output 'prob' does not depend on them" in caplog.text
    assert lhc.sensitivity(two_heads(), {"x": X}, draws=2).layers.keys() == {"body", "class"}
    other = lhc.partition(two_heads(), {"x": X}, output="box", **OPTIONS)
    assert reasons(other) == {"body": "budget", "class": "not-judged", "corner": "budget", "box": "budget"}
    forced = lhc.partition(two_heads(), {"x": X}, force_analog=["corner"], **OPTIONS)
    assert reasons(forced)["corner"] == "forced"
    assert "1 layer is analog as you say, and nothing judges what that loses" in caplog.text
