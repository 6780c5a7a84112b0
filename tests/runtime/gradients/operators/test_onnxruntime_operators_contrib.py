"""onnxruntime's own operators in torch: the same numbers, with gradients."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.onnx_io import load_model, read_graph
from lhc.runtime.gradients.network import DifferentiableModel, UnsupportedOperatorError, parity
from lhc.runtime.onnxruntime.sessions import Array, must_run
from tests.runtime.answers_on_gpu import assert_same_on_gpu

pytestmark = pytest.mark.analog

RNG = np.random.default_rng(1)
X = RNG.normal(size=(2, 5, 8)).astype(np.float32)
FLAGS = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
SQUARE = np.tile(np.tril(np.ones((5, 5), np.int32)), (2, 1, 1))


@dataclass(frozen=True)
class Case:
    id: str
    node: str
    """Computes ``y`` from ``p``, a projection of ``x``."""
    constants: dict[str, Array] = field(default_factory=dict)


def row(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


MS = "com.microsoft"
CASES = [
    Case("FastGelu", f"y = {MS}.FastGelu(p)"),
    Case("FastGelu, bias", f"y = {MS}.FastGelu(p, b)", {"b": row(8)}),
    Case("BiasGelu", f"y = {MS}.BiasGelu(p, b)", {"b": row(8)}),
    Case("Gelu", f"y = {MS}.Gelu(p)"),
    Case("QuickGelu", f"y = {MS}.QuickGelu<alpha = 1.5>(p)"),
    Case("SkipLayerNormalization", f"y = {MS}.SkipLayerNormalization(x, p, g, b, c)", {n: row(8) for n in "gbc"}),
    Case("its sum", f"n, , , y = {MS}.SkipLayerNormalization<epsilon = 0.1>(x, p, g, b)", {n: row(8) for n in "gb"}),
    Case("SkipSimplified", f"y = {MS}.SkipSimplifiedLayerNormalization<epsilon = 0.1>(x, p, g)", {"g": row(8)}),
    Case("Simplified", "y = SimplifiedLayerNormalization<axis = -1, epsilon = 0.1>(p, g)", {"g": row(8)}),
    Case("product", f"s = {MS}.FusedMatMul<transB = 1, alpha = 0.3>(p, x) y = {MS}.FusedMatMul(s, p)"),
    Case("transposed product", f"s = {MS}.TransposeMatMul<transA = 1>(p, x) y = MatMul(x, s)"),
    Case("attention", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, x, x)"),
    Case("causal", f"y = {MS}.MultiHeadAttention<num_heads = 2, unidirectional = 1>(p, x, p)"),
    Case("scaled", f"y = {MS}.MultiHeadAttention<num_heads = 4, scale = 0.3>(p, p, x, b)", {"b": row(24)}),
    Case("masked", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, x, x, , m)", {"m": FLAGS}),
    Case("masked by a square", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, x, x, , m)", {"m": SQUARE}),
    Case("lengths", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, x, x, , m)", {"m": np.array([3, 5], np.int32)}),
    Case(
        "kept",
        f"y, k, v = {MS}.MultiHeadAttention<num_heads = 2, unidirectional = 1>(p, x, p, , , , e, e)",
        {"e": row(2, 2, 3, 4)},
    ),
    Case(
        "keys that are kept",
        f"k, y4, y5 = {MS}.MultiHeadAttention<num_heads = 2>(p, x, p, , , , e, e) y = Reshape(y5, s)",
        {"e": row(2, 2, 0, 4), "s": np.array([2, 5, 8])},
    ),
    Case("of heads", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, e, e, b)", {"e": row(2, 2, 7, 4), "b": row(24)}),
    Case("added to scores", f"y = {MS}.MultiHeadAttention<num_heads = 2>(p, x, x, , , a)", {"a": row(1, 2, 5, 5)}),
]


def network(case: Case) -> DifferentiableModel:
    text = f"""<ir_version: 8, opset_import: ["" : 17, "{MS}" : 1]>
    net (float[2, 5, 8] x) => (float[2, 5, 8] y) {{
      [fc] p = MatMul(x, w)
      [op] {case.node}
    }}"""
    proto = onnx.parser.parse_model(text)
    constants = {"w": row(8, 8)} | case.constants
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    model = load_model(proto, runs=must_run)
    return DifferentiableModel(model, read_graph(model, sizes=False))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_same_as_onnxruntime_and_a_gradient(case: Case) -> None:
    module = network(case)
    assert max(parity(module, {"x": X}).values()) < 1e-5
    module({"x": X})["y"].square().sum().backward()
    (gradient,) = (parameter.grad for parameter in module.parameters())
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_on_a_gpu_it_is_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_on_gpu(network(case), {"x": X}, monkeypatch)


def test_embeddings() -> None:
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17, "{MS}" : 1]>
    net (int32[2, 5] ids, int32[2, 5] seg, int32[2, 5] mask) => (float[2, 5, 8] y) {{
      [embed] e, m = {MS}.EmbedLayerNormalization(ids, seg, words, places, segments, g, b, mask)
      [fc] y = MatMul(e, w)
    }}""")
    arrays = {"words": row(11, 8), "places": row(6, 8), "segments": row(2, 8), "g": row(8), "b": row(8), "w": row(8, 8)}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    model = load_model(proto)
    module = DifferentiableModel(model, read_graph(model, sizes=False))
    ids = RNG.integers(0, 11, (2, 5)).astype(np.int32)
    feeds = {"ids": ids, "seg": FLAGS, "mask": FLAGS}
    assert max(parity(module, feeds, ["m", "y"]).values()) < 1e-5


def test_what_is_packed_is_refused_by_name() -> None:
    case = Case("packed", f"y = {MS}.MultiHeadAttention<num_heads = 2>(e)", {"e": row(2, 5, 2, 3, 4)})
    with pytest.raises(UnsupportedOperatorError, match="MultiHeadAttention 'op' cannot be differentiated: queries"):
        network(case)({"x": X})
