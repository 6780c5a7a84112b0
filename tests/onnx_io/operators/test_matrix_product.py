"""The one description of Conv, Gemm and MatMul: by it numpy computes what onnx's reference evaluator does."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from lhc.errors import ModelError
from lhc.onnx_io.operators.matrix_product import Product


def _by_description(product: Product, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    rows = x.swapaxes(-1, -2) if product.reads_columns else x
    products = product.alpha * (rows @ product.matrix(weight).T)
    outputs = products.swapaxes(-1, -2) if product.writes_columns else products
    return np.asarray(outputs if bias is None else outputs + product.beta * bias)


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_gemm_is_computed_from_its_description(
    left: bool, trans_a: bool, trans_b: bool, scaled: bool, c: bool
) -> None:
    rng = np.random.default_rng(0)
    a, b, bias = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    a, b = a.T if trans_a else a, b.T if trans_b else b
    alpha, beta = (0.5, 3.0) if scaled else (1.0, 1.0)
    names = ["a", "b", "c"] if c else ["a", "b"]
    node = helper.make_node("Gemm", names, ["y"], transA=int(trans_a), transB=int(trans_b), alpha=alpha, beta=beta)
    expected = _run(node, dict(zip(names, (a, b, bias), strict=False)))
    weight, x = (a, b) if left else (b, a)
    product = Product.of(node, 0 if left else 1, weight.shape)
    assert (product.activation, product.bias) == ("b" if left else "a", "c" if c else None)
    np.testing.assert_allclose(_by_description(product, x, weight, bias if c else None), expected, rtol=1e-12)


@pytest.mark.parametrize("left", [False, True])
def test_a_matmul_is_computed_from_its_description(left: bool) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 4)), rng.normal(size=(2, 4, 5) if left else (2, 5, 3))
    node = helper.make_node("MatMul", ["w", "x"] if left else ["x", "w"], ["y"])
    product = Product.of(node, 0 if left else 1, weight.shape)
    expected = weight @ x if left else x @ weight
    np.testing.assert_allclose(_by_description(product, x, weight, None), expected, rtol=1e-12)


def test_a_convolution_has_a_window_and_the_defaults_of_onnx() -> None:
    product = Product.of(helper.make_node("Conv", ["x", "w", ""], ["y"]), 1, (6, 2, 3, 1))
    assert (product.activation, product.bias, product.rank, product.groups) == ("x", None, 4, 1)
    assert product.window is not None
    assert (product.window.kernel, product.window.strides, product.window.pads) == ((3, 1), (1, 1), ((0, 0), (0, 0)))


@pytest.mark.parametrize("strides", [(0, 1), (2**62, 1), (1,)])
def test_strides_that_no_runtime_takes_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"Conv 'c': strides \[.*\] do not fit a kernel of 2 axes"):
        Product.of(helper.make_node("Conv", ["x", "w"], ["y"], "c", strides=strides), 1, (6, 2, 3, 1))


@pytest.mark.parametrize("group", [0, -1])
def test_groups_are_at_least_one(group: int) -> None:
    with pytest.raises(ModelError, match=f"Conv 'c': group is {group}, which must be at least 1"):
        Product.of(helper.make_node("Conv", ["x", "w"], ["y"], "c", group=group), 1, (6, 2, 3, 1))


@pytest.mark.parametrize("group", [4, 2**62])
def test_outputs_divide_into_groups(group: int) -> None:
    with pytest.raises(ModelError, match=f"Conv 'c': 6 outputs do not divide into {group} groups"):
        Product.of(helper.make_node("Conv", ["x", "w"], ["y"], "c", group=group), 1, (6, 2, 3, 1))


def _run(node: onnx.NodeProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, value.shape) for name, value in feeds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    model = helper.make_model(helper.make_graph([node], "g", values, [output]))
    found = ReferenceEvaluator(model).run(None, dict(feeds))
    assert isinstance(found, list)
    return np.asarray(found[0])
