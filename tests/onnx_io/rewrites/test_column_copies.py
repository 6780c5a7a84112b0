"""Copied columns: which products have them, and that the network computes the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.rewrites.column_copies import copied_columns, copyable_columns, with_copied_columns
from lhc.onnx_io.write import in_memory
from lhc.onnx_model import OnnxModel
from tests.onnx_io.built_models import in_nodes, model_of, numbers


def network(opset: int = 17) -> OnnxModel:
    """A product of every form, one that cannot be copied beside each."""
    nodes = [
        helper.make_node("Conv", ["x", "wc", "bc"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "wg"], ["g"], "grouped", group=2),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "wf", "one"], ["h"], "gemm", transB=1, alpha=0.5, beta=2.0),
        helper.make_node("MatMul", ["h", "wm"], ["m"], "matmul"),
        helper.make_node("MatMul", ["m", "shared"], ["s"], "first"),
        helper.make_node("MatMul", ["s", "shared"], ["y"], "second"),
    ]
    constants = {
        "wc": numbers(4, 3, 3, 3),
        "bc": numbers(4),
        "wg": numbers(4, 2, 1, 1),
        "wf": numbers(6, 64),
        "one": numbers(1),
        "wm": numbers(6, 5),
        "shared": numbers(5, 5),
    }
    model = model_of(nodes, {"x": ("batch", 3, 4, 4)}, constants)
    model.proto.opset_import[0].version = opset
    model.proto.graph.value_info.append(helper.make_tensor_value_info("wc", 1, constants["wc"].shape))
    return load_model(model.proto)


def answer(proto: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)
    return np.asarray(onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0])


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_a_network_with_copied_columns_computes_the_same(opset: int) -> None:
    model = network(opset)
    graph = read_graph(model, {"x": (1, 3, 4, 4)})
    assert copyable_columns(model, graph) == {"conv": 4, "gemm": 6, "matmul": 5}
    made = with_copied_columns(model, graph, {"conv": 3, "gemm": 2, "matmul": 4}, in_memory)
    onnx.checker.check_model(made)
    np.testing.assert_allclose(answer(made), answer(model.proto), rtol=1e-4, atol=1e-4)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in made.graph.initializer}
    assert (shapes["wc"], shapes["bc"], shapes["wf"], shapes["wm"]) == ((12, 3, 3, 3), (12,), (12, 64), (6, 20))
    assert shapes["one"] == (1,)
    assert not made.graph.value_info
    assert copied_columns(OnnxModel(made)) == {"conv": 3, "gemm": 2, "matmul": 4}
    assert copied_columns(model) == {}
    assert with_copied_columns(model, graph, {}, in_memory) == model.proto


def test_products_in_float64_are_left_out() -> None:
    """A network with copies takes their Mean, and onnxruntime computes no Mean of float64."""
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], {"x": (2, 3)}, {"w": numbers(3, 4)})
    assert copyable_columns(model, read_graph(model)) == {"m": 4}
    wide = onnx.ModelProto.FromString(model.proto.SerializeToString())
    wide.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(numbers(3, 4).astype(np.float64), "w"))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    double = load_model(wide)
    assert [layer.name for layer in read_graph(double).candidates] == ["m"]
    assert copyable_columns(double, read_graph(double)) == {}


def test_weights_in_constant_nodes_are_copied_too() -> None:
    model = in_nodes(network())
    made = with_copied_columns(model, read_graph(model, {"x": (1, 3, 4, 4)}), {"conv": 3, "matmul": 2}, in_memory)
    onnx.checker.check_model(made)
    np.testing.assert_allclose(answer(made), answer(model.proto), rtol=1e-4, atol=1e-4)


def test_the_outputs_of_a_weight_on_the_left_are_rows() -> None:
    model = model_of([helper.make_node("MatMul", ["w", "x"], ["y"], "left")], {"x": (3, 5, 2)}, {"w": numbers(4, 5)})
    graph = read_graph(model)
    made = with_copied_columns(model, graph, {"left": 2}, in_memory)
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0] for proto in (model.proto, made)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
