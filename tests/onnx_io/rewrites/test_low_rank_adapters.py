"""Adapters beside products: nothing changes at first, then W x + B (A x), whatever the product is written as."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lhc.errors import ModelError
from lhc.onnx_io import able_to_adapt, adapters_of, load_model, read_graph, with_adapters
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_model import OnnxModel

RANK = 2


@dataclass(frozen=True)
class Case:
    kind: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    operands: Sequence[str] = ("x", "w")
    attributes: tuple[tuple[str, Any], ...] = ()


CASES = [
    Case("MatMul", (3, 5, 6), (6, 7)),
    Case("MatMul", (3, 6, 5), (7, 6), ("w", "x")),
    Case("Gemm", (5, 6), (6, 7), ("x", "w", "b")),
    Case("Gemm", (6, 5), (7, 6), ("x", "w", "b"), (("transA", 1), ("transB", 1), ("alpha", 0.5), ("beta", 2.0))),
    Case("Conv", (2, 4, 9, 8), (7, 4, 3, 3), ("x", "w", "b"), (("strides", [2, 1]), ("pads", [1, 0, 1, 2]))),
    Case("Conv", (2, 4, 9), (7, 4, 3), ("x", "w"), (("auto_pad", "SAME_LOWER"),)),
]


def network(case: Case, name: str = "product") -> OnnxModel:
    rng = np.random.default_rng(3)
    node = helper.make_node(case.kind, case.operands, ["y"], name, **dict(case.attributes))
    axes = len(case.x) - (len(case.weight) == 1)
    stored = {"w": rng.normal(size=case.weight), "b": rng.normal(size=7)}
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["y"], ["z"], "relu")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes) for name in ("y", "z")],
        [numpy_helper.from_array(stored[n].astype(np.float32), n) for n in case.operands if n != "x"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return load_model(model)


def adapted(model: OnnxModel, case: Case, rank: int = RANK) -> OnnxModel:
    return with_adapters(model, read_graph(model, {"x": case.x}), {"product"}, rank)


def run(proto: onnx.ModelProto, case: Case) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(4).normal(size=case.x).astype(np.float32)
    return [np.asarray(found) for found in session.run(None, {"x": x})]


def changed(model: OnnxModel, values: dict[str, np.ndarray]) -> OnnxModel:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name].astype(np.float32), tensor.name))
    return replace(model, proto=proto)


def stored(model: OnnxModel) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.proto.graph.initializer}


def test_an_operator_may_be_called_as_its_output_is() -> None:
    """As in the networks that lhc exports itself: weights and tensors of the adapter have names of their own."""
    case = CASES[0]
    model = network(case, "y")
    found = with_adapters(model, read_graph(model, {"x": case.x}), {"y"}, RANK)
    read_graph(found, {"x": case.x})
    for one, other in zip(run(model.proto, case), run(found.proto, case), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind} {'x'.join(map(str, case.weight))}")
def test_an_adapter_changes_nothing_and_then_adds_its_product(case: Case) -> None:
    model = network(case)
    beside = adapted(model, case)
    for before, after in zip(run(model.proto, case), run(beside.proto, case), strict=True):
        np.testing.assert_array_equal(before, after)

    (adapter,) = adapters_of(beside)
    weights = stored(beside)
    down, up = weights[adapter.down], np.random.default_rng(5).normal(size=weights[adapter.up].shape)
    node = model.proto.graph.node[0]
    form = Product.of(node, list(case.operands).index("w"), case.weight)
    small = form.matrix(up.reshape(*up.shape[:2])) @ form.matrix(down)
    whole = form.matrix(weights["w"]) + small / form.alpha
    expected = run(changed(model, {"w": form.stored(whole, case.weight)}).proto, case)
    for wanted, found in zip(expected, run(changed(beside, {adapter.up: up}).proto, case), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES[:1] + CASES[-1:], ids=lambda case: case.kind)
def test_adapters_are_read_as_what_they_are(case: Case) -> None:
    beside = adapted(network(case), case)
    graph = read_graph(beside, {"x": case.x})
    (adapter,) = adapters_of(beside)
    assert adapter.layer == "product"
    reasons = {layer.name: layer.refusal and layer.refusal.reason for layer in graph.candidates}
    assert reasons == {"product": None, adapter.down: "adapter", adapter.up: "adapter"}
    matrix = graph[adapter.up].matrix
    assert matrix is not None
    assert matrix.rows == RANK
    assert not adapters_of(network(case))


def test_a_is_as_large_as_what_it_reads() -> None:
    case = Case("MatMul", (3, 400), (400, 500))
    beside = adapted(network(case), case, 100)
    (adapter,) = adapters_of(beside)
    assert stored(beside)[adapter.down].std() == pytest.approx(400**-0.5, rel=0.02)
    assert not stored(beside)[adapter.up].any()


@pytest.mark.parametrize(
    ("case", "rank", "why"),
    [
        (Case("Conv", (2, 4, 9), (8, 2, 3), attributes=(("group", 2),)), 1, "it has 2 groups"),
        (Case("MatMul", (3, 6), (6,)), 1, "its weight is a vector"),
        (Case("Gemm", (6, 5), (7, 6), ("w", "x")), 1, "first operand of a Gemm"),
        (CASES[0], 6, "rank 6 is not below those of its 6 x 7 weights"),
    ],
)
def test_what_cannot_have_an_adapter_is_refused_by_name(case: Case, rank: int, why: str) -> None:
    model = network(case)
    assert not able_to_adapt(model, read_graph(model, {"x": case.x}), ["product"], rank)
    with pytest.raises(ModelError, match=f"'product' cannot have an adapter: .*{why}"):
        adapted(model, case, rank)
