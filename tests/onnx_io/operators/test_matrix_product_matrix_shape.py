"""Weights as matrices, and which products hold the same weights."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from lhc.errors import ModelError
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.onnx_io.operators.matrix_product import Product
from tests.onnx_io.built_models import RNG, Shape, model_of, numbers, product_node


def tile_sets(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> dict[str, str]:
    names = tuple(node.output[0] for node in nodes)
    graph = read_graph(model_of(nodes, {"x": (1, 4), "image": (1, 4, 1, 1)}, constants, names), sizes=False)
    return {layer.name: layer.weight.tile_set for layer in graph.candidates if layer.weight is not None}


def test_equal_weights_are_found_by_content_and_orientation() -> None:
    w = numbers(4, 4)
    constants = {
        "w": w,
        "copy": w.copy(),
        "turned": np.ascontiguousarray(w.T),
        "wide": w.astype(np.float64),
        "kernel": np.ascontiguousarray(w.T).reshape(4, 4, 1, 1),
        "near": np.nextafter(w, np.float32(np.inf)),
    }
    nodes = [
        product_node("a", "MatMul", "x", "w"),
        product_node("same name", "MatMul", "x", "w"),
        product_node("same content", "Gemm", "x", "copy"),
        product_node("turned twice", "Gemm", "x", "turned", transB=1),
        product_node("as a kernel", "Conv", "image", "kernel"),
        product_node("turned", "MatMul", "x", "turned"),
        product_node("turned by Gemm", "Gemm", "x", "w", transB=1),
        product_node("near", "MatMul", "x", "near"),
    ]
    found = tile_sets(nodes, constants)
    tied = {name for name, tile_set in found.items() if tile_set == found["a"]}
    assert tied == {"a", "same name", "same content", "turned twice", "as a kernel"}
    assert found["turned"] == found["turned by Gemm"] != found["near"]


def test_a_weight_on_the_other_side_is_another_orientation() -> None:
    w = numbers(4, 4)
    nodes = [
        product_node("right", "MatMul", "x", "w"),
        product_node("left", "MatMul", "w", "column"),
        product_node("left of the transposed", "MatMul", "turned", "column"),
    ]
    names = tuple(node.output[0] for node in nodes)
    model = model_of(nodes, {"x": (1, 4), "column": (4, 1)}, {"w": w, "turned": np.ascontiguousarray(w.T)}, names)
    graph = read_graph(model, sizes=False)
    assert graph.tied(["right", "left", "left of the transposed"]) == (("right", "left of the transposed"), ("left",))


def test_other_groups_or_shapes_are_other_devices() -> None:
    w = numbers(4, 2, 1, 1)
    nodes = [
        product_node("grouped", "Conv", "image", "w", group=2),
        product_node("flat", "Conv", "half", "w"),
        product_node("long", "MatMul", "half", "w2"),
    ]
    names = tuple(node.output[0] for node in nodes)
    inputs: dict[str, Shape] = {"image": (1, 4, 1, 1), "half": (1, 2, 1, 1)}
    model = model_of(nodes, inputs, {"w": w, "w2": w.reshape(1, 8)}, names)
    graph = read_graph(model, sizes=False)
    assert len(graph.tied(["grouped", "flat", "long"])) == 3


def devices(*weights: np.ndarray) -> list[str]:
    """Devices of MatMuls with these weights, in this order."""
    names = [f"w{index}" for index in range(len(weights))]
    kinds = {name: helper.np_dtype_to_tensor_dtype(weight.dtype) for name, weight in zip(names, weights, strict=True)}
    graph = helper.make_graph(
        [product_node(name, "MatMul", f"x.{name}", name) for name in names],
        "net",
        [helper.make_tensor_value_info(f"x.{name}", kind, (1, None)) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{name}.out", kind, (1, None)) for name, kind in kinds.items()],
        [onnx.numpy_helper.from_array(weight, name) for name, weight in zip(names, weights, strict=True)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = read_graph(load_model(proto), sizes=False).candidates
    return [layer.weight.devices for layer in found if layer.weight is not None]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda w: w * np.float32(1 / 3) * np.float32(3), id="last bits"),
        pytest.param(lambda w: w.astype(np.float64), id="wider type"),
        pytest.param(lambda w: w * np.float32(0.125), id="scaled"),
    ],
)
def test_devices_do_not_follow_last_bits(other: Callable[[np.ndarray], np.ndarray]) -> None:
    for _ in range(20):
        w = RNG.normal(size=(70, 30)).astype(np.float32)
        assert devices(other(w)) == devices(w)


def test_weights_of_few_values_are_off_the_edges() -> None:
    w = RNG.choice(np.array([-1, 0, 1], np.float32), (64, 64))
    assert devices(w * np.float32(0.1) * np.float32(10)) == devices(w)
    assert devices(np.ones((64, 64), np.float32)) == devices(np.full((64, 64), 1 / 3, np.float32))


def test_different_weights_have_different_devices_in_any_order() -> None:
    weights = [RNG.normal(size=(24, 24)).astype(np.float32) for _ in range(100)]
    found = devices(*weights)
    assert len(set(found)) == 100
    assert devices(*weights[::-1]) == found[::-1]


def test_weights_that_are_alike_are_told_apart_by_their_order() -> None:
    w = numbers(8, 8)
    near = np.nextafter(w, np.float32(np.inf))
    found = devices(w, near, w.copy(), 2 * w, np.zeros((8, 8), np.float32))
    assert len(set(found)) == 4
    assert found[0] == found[2]
    assert devices(near, w) == devices(w, near) == found[:2]


def test_one_matrix_in_two_types_is_one_tile_set() -> None:
    w = numbers(4, 4)
    kept = devices(w, w.astype(np.float64))
    assert kept[0] == kept[1]


def test_a_weight_is_read_once_for_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of([product_node("a", "MatMul", "x", "w")], {"x": (1, 4)}, {"w": numbers(4, 3)}, ("a.out",))
    first = read_graph(model, sizes=False)
    monkeypatch.setattr(Constants, "value", lambda *_: pytest.fail("read again"))
    assert read_graph(model, sizes=False).candidates == first.candidates


@given(
    st.sampled_from(["Gemm", "MatMul"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_a_matrix_times_an_input_is_the_product(op: str, left: bool, transposed: bool, rows: int, cols: int) -> None:
    transposed = transposed and op == "Gemm"
    generator = np.random.default_rng(rows * 10 + cols)
    matrix, x = generator.normal(size=(cols, rows)), generator.normal(size=rows)
    # What the operator multiplies by: (outputs, inputs) on the left, (inputs, outputs) on the right.
    operand = matrix if left else matrix.T
    stored = operand.T if transposed else operand
    node = helper.make_node(op, ["a", "b"], ["y"])
    if transposed:
        node.attribute.append(helper.make_attribute("transA" if left else "transB", 1))
    product = Product.of(node, 0 if left else 1, stored.shape)
    found = product.matrix(stored)
    np.testing.assert_array_equal(found, matrix)
    np.testing.assert_array_equal(product.stored(found, stored.shape), stored)
    np.testing.assert_allclose(found @ x, operand @ x if left else x @ operand, rtol=1e-12, atol=1e-12)


def test_matrix_of_a_conv_has_the_groups_one_below_the_other() -> None:
    w = numbers(6, 2, 3, 3)
    product = Product.of(helper.make_node("Conv", ["x", "w"], ["y"], group=2), 1, w.shape)
    found = product.matrix(w)
    assert found.shape == (6, 18)
    np.testing.assert_array_equal(found[4], w[4].ravel())
    np.testing.assert_array_equal(product.stored(found, w.shape), w)


def test_weights_whose_bytes_do_not_fit_are_refused() -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, {"w": numbers(4, 3)}).proto)
    proto.graph.initializer[0].raw_data = b"\0" * 8
    # onnx.checker looks at sizes in some versions only; then reading the weights finds it.
    with pytest.raises(ModelError, match="w"):
        read_graph(load_model(proto))
