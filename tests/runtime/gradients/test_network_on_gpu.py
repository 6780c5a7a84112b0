"""Differentiable operators that make tensors of their own, on a GPU that is pretended."""

import numpy as np
import onnx
import pytest

from lhc.onnx_io import load_model, read_graph
from lhc.runtime.gradients.network import DifferentiableModel
from tests.runtime.answers_on_gpu import assert_same_on_gpu

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
BODIES = {
    "constant of a shape": "s = Shape(x) c = ConstantOfShape(s) y = Add(x, c)",
    "a branch": "m = ReduceMax<keepdims = 0>(x) b = Cast<to = 9>(m)"
    " y = If(b) <then_branch = t () => (float[a, b, c, d] y) { k = Constant<value_float = 2.0>() y = Mul(x, k) },"
    " else_branch = e () => (float[a, b, c, d] y) { y = Neg(x) }>",
    "a range": "a = Constant<value_int = 0>() b = Constant<value_int = 4>() c = Constant<value_int = 1>()"
    " r = Range(a, b, c) f = Cast<to = 1>(r) y = Mul(x, f)",
    "one hot": "i = ArgMax<axis = 3, keepdims = 0>(x) d = Constant<value_int = 4>()"
    " v = Constant<value_floats = [0.0, 1.0]>() h = OneHot(i, d, v) y = Mul(x, h)",
    "picked by indices": "i = Constant<value = int64[1, 2] {1, 2}>() g = GatherND(x, i) y = Mul(x, g)",
    "scattered": "i = Constant<value = int64[1, 2] {1, 2}>() u = Constant<value = float[1, 4, 4] {"
    + ", ".join(["0.5"] * 16)
    + "}>() y = ScatterND(x, i, u)",
    "resized to the nearest": "r = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>()"
    ' y = Resize<mode = "nearest">(x, , r)',
    "greatest": "k = Constant<value_ints = [2]>() y, i = TopK<axis = 1>(x, k)",
}


def network(body: str) -> DifferentiableModel:
    head = '<ir_version: 8, opset_import: ["" : 18]> g (float[2, 3, 4, 4] x) => (float[a, b, c, d] y)'
    model = load_model(onnx.parser.parse_model(f"{head} {{ {body} }}"))
    return DifferentiableModel(model, read_graph(model, sizes=False))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_on_a_gpu_an_operator_makes_its_tensors_there(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_on_gpu(network(body), {"x": IMAGES}, monkeypatch)
