"""Attention of onnxruntime with a cache, and rotary embeddings, in torch: the same numbers, with gradients."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.onnx_io import load_model, read_graph
from lhc.runtime.gradients.network import DifferentiableModel, UnsupportedOperatorError, parity
from lhc.runtime.onnxruntime.sessions import Array, must_run
from tests.networks import parsed
from tests.runtime.answers_on_gpu import assert_same_on_gpu

pytestmark = pytest.mark.analog

RNG = np.random.default_rng(2)
MS, SIZE, HEADS = "com.microsoft", 16, 4


@dataclass(frozen=True)
class Case:
    id: str
    past: int = 4
    """Places of the cache."""
    lengths: tuple[int, ...] = (7,)
    """Tokens of every sequence, the new ones included; onnxruntime takes several where one is new, or all are."""
    tokens: int = 3
    """New ones."""
    attributes: dict[str, object] = field(default_factory=dict)
    packed: bool = False
    places: bool = False
    added: bool = False


CASES = [
    Case("plain"),
    Case("of different lengths", lengths=(5, 3), tokens=1),
    Case("first call", past=0, lengths=(3, 3)),
    Case("rotated", attributes={"do_rotary": 1}),
    Case("rotated in turn", attributes={"do_rotary": 1, "rotary_interleaved": 1}, lengths=(3, 5), tokens=1),
    Case("rotated by places", attributes={"do_rotary": 1}, places=True),
    Case("packed", attributes={"do_rotary": 1}, packed=True),
    Case("capped and scaled", attributes={"softcap": 2.0, "scale": 0.7}),
    Case("smooth", attributes={"smooth_softmax": 1}),
    Case("added to scores", added=True),
    Case("a window that is long enough", attributes={"local_window_size": 7}),
]


def arrays_of(case: Case) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs, and stored tensors."""

    def normal(*shape: int) -> Array:
        return RNG.normal(size=shape).astype(np.float32)

    groups, total, count = 2, max(case.lengths), len(case.lengths)
    angles = np.arange(16)[:, None] * 0.5 ** np.arange(SIZE // 2)[None]
    cache = {name: normal(count, groups, case.past, SIZE) for name in ("pk", "pv")}
    feeds = {"x": normal(count, case.tokens, 8)} | cache
    stored = {
        "w": normal(8, SIZE * (HEADS + 2 * groups) if case.packed else SIZE * HEADS),
        "wk": normal(8, SIZE * groups),
        "wv": normal(8, SIZE * groups),
        "last": np.array(case.lengths, np.int32) - 1,
        "total": np.array(total, np.int32),
        "cos": np.cos(angles).astype(np.float32),
        "sin": np.sin(angles).astype(np.float32),
        "at": np.array([[0, 2, 4]]),
        "added": normal(1, 1, case.tokens, total),
    }
    return feeds, stored


def network(case: Case) -> tuple[DifferentiableModel, dict[str, Array]]:
    feeds, stored = arrays_of(case)
    attributes = {"num_heads": HEADS, "kv_num_heads": 2} | case.attributes
    tables = "cos, sin" if case.attributes.get("do_rotary") else ","
    more = f", {'at' if case.places else ''}, {'added' if case.added else ''}"
    text = f"""<ir_version: 8, opset_import: ["" : 17, "{MS}" : 1]>
    net (float[N, T, 8] x, float[N, 2, K, {SIZE}] pk, float[N, 2, K, {SIZE}] pv)
        => (float[N, T, {SIZE * HEADS}] y, float[N, 2, P, {SIZE}] nk, float[N, 2, P, {SIZE}] nv) {{
      [q] q = MatMul(x, w)
      [k] k = MatMul(x, wk)
      [v] v = MatMul(x, wv)
      [op] y, nk, nv = {MS}.GroupQueryAttention<{", ".join(f"{k} = {v}" for k, v in attributes.items())}>(
        q, {"," if case.packed else "k, v"}, pk, pv, last, total, {tables}{more if case.places or case.added else ""})
    }}"""
    proto = parsed(text, stored)
    model = load_model(proto, runs=must_run)
    return DifferentiableModel(model, read_graph(model, sizes=False)), feeds


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_grouped_queries_are_the_same_as_onnxruntime_and_have_gradients(case: Case) -> None:
    module, feeds = network(case)
    assert max(parity(module, feeds, ["y", "nk", "nv"]).values()) < 1e-5
    module(feeds)["y"].square().sum().backward()
    gradients = [p.grad for name, p in module.named_parameters() if name == "w" or not case.packed]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_on_a_gpu_grouped_queries_are_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_on_gpu(*network(case), monkeypatch)


def test_a_window_that_hides_tokens_is_refused_by_name() -> None:
    module, feeds = network(Case("window", attributes={"local_window_size": 4}))
    with pytest.raises(UnsupportedOperatorError, match="GroupQueryAttention 'op' cannot be differentiated: its window"):
        module(feeds)


@pytest.mark.parametrize("places", [[2], [[0, 2, 4], [1, 3, 5]]], ids=["from a place on", "by places"])
@pytest.mark.parametrize("attributes", ["", "<interleaved = 1>", "<num_heads = 4, rotary_embedding_dim = 4>"])
def test_rotary_embeddings(places: list[object], attributes: str) -> None:
    width = 2 if "dim" in attributes else SIZE // 2
    angles = np.arange(16)[:, None] * 0.5 ** np.arange(width)[None]
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17, "{MS}" : 1]>
    net (float[2, 3, 8] x) => (float[2, 3, {SIZE * HEADS}] y) {{
      [q] q = MatMul(x, w)
      [op] y = {MS}.RotaryEmbedding{attributes}(q, at, cos, sin)
    }}""")
    arrays = {
        "w": RNG.normal(size=(8, SIZE * HEADS)).astype(np.float32),
        "at": np.array(places),
        "cos": np.cos(angles).astype(np.float32),
        "sin": np.sin(angles).astype(np.float32),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    model = load_model(proto, runs=must_run)
    module = DifferentiableModel(model, read_graph(model, sizes=False))
    assert max(parity(module, {"x": RNG.normal(size=(2, 3, 8)).astype(np.float32)}).values()) < 1e-5
