"""Quantised tensors have onnxruntime's values, and gradients that go straight through the rounding."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from lhc.onnx_io import load_model, read_graph
from lhc.runtime.differentiable import DifferentiableModel, parity

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
HELD = {
    "s": np.array(0.02, np.float32),
    "z": np.array(120, np.uint8),
    "signed": np.array(-3, np.int8),
    "by_axis": np.array([0.02, 0.05, 0.1, 0.2], np.float32),
    "zeros": np.array([128, 100, 90, 120], np.uint8),
    "in_blocks": np.array([[0.02, 0.03], [0.05, 0.04], [0.1, 0.07]], np.float32),
}


def network(body: str) -> DifferentiableModel:
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[3, 4] x) => (float[3, 4] y) {{ {body} }}'
    )
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in HELD.items())
    model = load_model(proto)
    return DifferentiableModel(model, read_graph(model, sizes=False))


X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_values_are_those_of_onnxruntime(body: str) -> None:
    assert max(parity(network(body), {"x": X}).values()) < 1e-6


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
