"""Quantised tensors have onnxruntime's values, and gradients that go straight through the rounding."""

import numpy as np
import pytest
import torch

from lhc.onnx_io import load_model, read_graph
from lhc.runtime.gradients.network import DifferentiableModel, parity, parity_limit
from lhc.runtime.onnxruntime.sessions import observe_tensors
from tests.networks import Array, parsed
from tests.runtime.answers_on_gpu import assert_same_on_gpu

BODIES = {
    "per tensor": "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)",
    "signed": "q = QuantizeLinear(x, s, signed) y = DequantizeLinear(q, s, signed)",
    "without zero point": "q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)",
    "per axis": "q = QuantizeLinear<axis = -1>(x, by_axis, zeros) y = DequantizeLinear<axis = -1>(q, by_axis, zeros)",
    "in blocks": (
        "q = QuantizeLinear<axis = 1, block_size = 2>(x, in_blocks)"
        " y = DequantizeLinear<axis = 1, block_size = 2>(q, in_blocks)"
    ),
    "by its own range": "q, own, zero = DynamicQuantizeLinear(x) y = DequantizeLinear(q, own, zero)",
    "rounded": "y = Round(x)",
    "products of integers": (
        "q, own, zero = DynamicQuantizeLinear(x) f = Cast<to = 1>(q) i = Cast<to = 6>(f) g = Cast<to = 1>(i)"
        " h = Cast<to = 1>(zero) d = Sub(g, h) y = Mul(d, own)"
    ),
}
HELD: dict[str, Array] = {
    "s": np.array(0.02, np.float32),
    "z": np.array(120, np.uint8),
    "signed": np.array(-3, np.int8),
    "by_axis": np.array([0.02, 0.05, 0.1, 0.2], np.float32),
    "zeros": np.array([128, 100, 90, 120], np.uint8),
    "in_blocks": np.array([[0.02, 0.03], [0.05, 0.04], [0.1, 0.07]], np.float32),
}


def network(body: str) -> DifferentiableModel:
    proto = parsed(f'<ir_version: 10, opset_import: ["" : 21]> g (float[3, 4] x) => (float[3, 4] y) {{ {body} }}', HELD)
    model = load_model(proto)
    return DifferentiableModel(model, read_graph(model, sizes=False))


X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_values_are_those_of_onnxruntime(body: str) -> None:
    assert max(parity(network(body), {"x": X}).values()) < 1e-6


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_on_a_gpu_values_are_the_same(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_on_gpu(network(body), {"x": X}, monkeypatch)


def test_values_on_an_edge_between_integers_may_be_some_steps_of_8_bits_apart() -> None:
    """Only where a network rounds to them: what it stores in 8 bits has the same values in every order of sums."""
    by_range, stored = network(BODIES["by its own range"]), network("q = Cast<to = 3>(x) y = DequantizeLinear(q, s)")
    assert parity_limit(by_range, 1e-4) == pytest.approx(4 / 127)
    assert parity_limit(stored, 1e-4) == 1e-4


UNSIGNED = ("without zero point", "in blocks")


@pytest.mark.parametrize("body", [body for name, body in BODIES.items() if name not in UNSIGNED])
def test_within_the_range_the_gradient_is_that_of_the_identity(body: str) -> None:
    x = torch.tensor(X, requires_grad=True)
    network(body)({"x": x})["y"].sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.ones_like(X), atol=1e-5)


def test_beyond_the_range_it_is_0() -> None:
    x = torch.full((3, 4), 100.0, requires_grad=True)
    network(BODIES["per tensor"])({"x": x})["y"].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() == 0


QLINEAR = {
    "sum": "c = com.microsoft.QLinearAdd(q, s, z, p, s2, z2, s3, z)",
    "product": "c = com.microsoft.QLinearMul(q, s, z, p, s2, z2, s3, z)",
    "joined": "i = com.microsoft.QLinearConcat<axis = 1>(s3, z, q, s, z, p, s2, z2) c = Identity(i)",
    "leaky": "c = com.microsoft.QLinearLeakyRelu<alpha = 0.3>(q, s, z, s3, z)",
    "sigmoid": "c = com.microsoft.QLinearSigmoid(q, s, z, s3, z)",
    "mean": "c = com.microsoft.QLinearGlobalAveragePool(q, s, z, s3, z)",
}


@pytest.mark.parametrize("body", QLINEAR.values(), ids=QLINEAR)
def test_operators_on_integers_are_at_most_a_step_from_onnxruntime(body: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
      g (float[3, 4, 2, 2] x) => (float[a, b, c, d] y) {{
        q = QuantizeLinear(x, s, z) n = Relu(x) p = QuantizeLinear(n, s2, z2)
        {body} y = DequantizeLinear(c, s3, z) }}"""
    held: dict[str, Array] = {
        "s2": np.array(0.03, np.float32),
        "z2": np.array(120, np.uint8),
        "s3": np.array(0.05, np.float32),
    }
    proto = parsed(text, HELD | held)
    model = load_model(proto)
    differentiable = DifferentiableModel(model, read_graph(model, sizes=False))
    images = np.random.default_rng(0).normal(size=(3, 4, 2, 2)).astype(np.float32)
    (expected,) = observe_tensors(model, ["y"], {"x": images}).values()
    x = torch.tensor(images, requires_grad=True)
    found = differentiable({"x": x})["y"]
    apart = np.abs(found.detach().numpy() - expected)
    assert apart.max() <= 0.05 * 1.001
    assert np.mean(apart > 1e-5) <= 0.1
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
