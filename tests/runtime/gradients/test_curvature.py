"""Curvature of the loss against the whole Hessian, on a network small enough for it."""

import numpy as np
import pytest
from onnx import numpy_helper

from lhc.errors import ModelError
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog


def small() -> OnnxModel:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 3] x) => (float[N, 2] y) { [p] h = MatMul (x, u)  r = Tanh (h)  [q] y = MatMul (r, v) }""",
        drawn({"u": (3, 2), "v": (2, 2)}, 3),
    )
    return load_model(model)


def test_an_output_of_whole_numbers_is_refused() -> None:
    from lhc.runtime.gradients import curvature

    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 3] x) => (int64[N] y) { [p] h = MatMul (x, u)  y = ArgMax <axis = 1, keepdims = 0> (h) }"""
    model = load_model(parsed(text, drawn({"u": (3, 2)}, 3)))
    feeds = {"x": np.zeros((4, 3), np.float32)}
    with pytest.raises(ModelError, match=r"output 'y' holds whole numbers, which have no curvature; .* ArgMax"):
        curvature.loss_curvatures(model, read_graph(model), ["p"], feeds, np.zeros(4, np.int64), "y")


def test_trace_and_eigenvalue_of_the_last_layer() -> None:
    import torch
    from torch.nn import functional

    from lhc.runtime.gradients import curvature

    model = small()
    graph = read_graph(model)
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    found = curvature.loss_curvatures(model, graph, ["p", "q"], {"x": x}, labels, "y")
    u, v = (torch.tensor(numpy_helper.to_array(t)) for t in model.proto.graph.initializer)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        logits = torch.tanh(torch.tensor(x) @ u) @ weight
        return functional.cross_entropy(logits, torch.tensor(labels))

    hessian = torch.autograd.functional.hessian(loss, v).reshape(4, 4)  # type: ignore[no-untyped-call]
    assert found["q"].eigenvalue == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)
    # 20 probes: the deviation of the estimate is sqrt(2 / 20) times the off-diagonal norm.
    off = float((hessian - torch.diag(hessian.diagonal())).norm())
    assert found["q"].trace == pytest.approx(float(hessian.trace()), abs=4 * (2 / 20) ** 0.5 * off)
    assert found["q"].parameters == 4
    assert found["q"].largest == pytest.approx(float(v.abs().max()))
