"""Which tensors are trained, and how they get back into the file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from lhc.errors import ModelError
from lhc.graph import obstacle
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.train.trained_tensors import find_trained, with_weights
from tests.train.conftest import Build


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def blanked(proto: onnx.ModelProto, names: set[str]) -> bytes:
    """The model's bytes without the values of these tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    constants = [a.t for n in copy.graph.node if n.op_type == "Constant" and n.output[0] in names for a in n.attribute]
    for tensor in [*(t for t in copy.graph.initializer if t.name in names), *constants]:
        for field in ("raw_data", "float_data", "double_data"):
            tensor.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


def retrained(model: OnnxModel) -> tuple[onnx.ModelProto, dict[str, np.ndarray], set[str]]:
    """The model with other weights, the weights, and the names of all tensors that may have changed."""
    trained = find_trained(model, read_graph(model))
    weights = {name: value + 1 for name, value in trained.values.items()}
    return with_weights(model, trained, weights), weights, {*trained.values, *trained.aliases}


def test_only_values_of_trained_tensors_change(build: Build) -> None:
    model = build(
        "g (float[N, 4] x) => (float[N, 2] y) { a = Gemm (x, w, b)  r = Relu (a)  s = Mul (r, t)  y = MatMul (s, v) }",
        w=normal(4, 3), b=normal(3), t=normal(3), v=normal(3, 2),
    )  # fmt: skip
    model.proto.doc_string = "kept"
    model.proto.metadata_props.add(key="someone", value="else")
    proto, weights, names = retrained(model)
    assert names == {"w", "b", "v"}
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert all(np.array_equal(stored[name], weights[name]) for name in names)
    assert blanked(proto, names) == blanked(model.proto, names)
    assert proto.SerializeToString() != model.proto.SerializeToString()


def test_values_stay_in_the_form_in_which_they_were_stored(build: Build) -> None:
    model = build("g (float[N, 2] x) => (float[N, 2] y) { y = MatMul (x, w) }", w=normal(2, 2))
    tensor = model.proto.graph.initializer[0]
    tensor.CopyFrom(onnx.helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0]))
    assert len(tensor.float_data) == 4
    proto, _, _ = retrained(model)
    assert list(proto.graph.initializer[0].float_data) == [2.0, 3.0, 4.0, 5.0]
    assert not proto.graph.initializer[0].HasField("raw_data")


def test_weights_in_constant_nodes_and_behind_a_transpose(build: Build) -> None:
    text = """g (float[N, 3] x) => (float[N, 3] y) {
      c = Constant <value: tensor = float[3, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9}> ()
      a = MatMul (x, c)
      t = Transpose <perm = [1, 0]> (w)
      y = MatMul (a, t)
    }"""
    proto, _, names = retrained(build(text, w=normal(3, 3)))
    assert names == {"c", "w"}
    assert np.array_equal(numpy_helper.to_array(proto.graph.node[0].attribute[0].t).ravel(), np.arange(2, 11))
    assert np.array_equal(numpy_helper.to_array(proto.graph.initializer[0]), normal(3, 3) + 1)


def test_equal_weights_are_one_and_stay_equal(build: Build) -> None:
    """Exporters store the weights of repeated blocks more than once; they share tiles, so they must not part."""
    text = "g (float[N, 3] x) => (float[N, 3] y) { a = MatMul (x, w)  y = MatMul (a, copy) }"
    model = build(text, w=normal(3, 3), copy=normal(3, 3))
    proto, weights, names = retrained(model)
    assert set(weights) == {"w"}
    assert names == {"w", "copy"}
    graph = read_graph(load_model(proto))
    assert graph.tied(layer.name for layer in graph.candidates) == (tuple(layer.name for layer in graph.candidates),)


def test_an_initializer_of_two_layers_is_trained_once(build: Build) -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) { a = MatMul (x, w)  y = MatMul (a, w) }"
    model = build(text, w=normal(3, 3))
    assert set(find_trained(model, read_graph(model)).values) == {"w"}


def test_half_precision_is_trained_and_written_as_such(build: Build) -> None:
    """Once where it is stored, once where an operator computes it."""
    text = """g (float16[N, 2] x) => (float16[N, 2] y) {
      s = Mul (v, c)
      a = MatMul (x, w)
      y = MatMul (a, s)
    }"""
    w, v, c = (np.full((2, 2), value, np.float16) for value in (1, 2, 3))
    model = build(text, w=w, v=v, c=c)
    trained = find_trained(model, read_graph(model))
    assert trained.values.keys() == {"w", "s"}
    proto = with_weights(model, trained, {"w": normal(2, 2), "s": 6 + normal(2, 2)})
    written = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert np.array_equal(written["w"], normal(2, 2).astype(np.float16))
    assert np.array_equal(written["s"], (6 + normal(2, 2)).astype(np.float16))
    assert written["w"].dtype == written["s"].dtype == np.float16
    assert [node.op_type for node in proto.graph.node] == ["MatMul", "MatMul"]


def test_a_computed_weight_is_trained_and_stored_as_the_matrix_that_it_is(build: Build) -> None:
    text = """g (float[N, 2] x) => (float[N, 3] y) {
      d = DequantizeLinear (q, s)
      w = Transpose (d)
      a = MatMul (x, w)
      n = ReduceL2 <axes = [1]> (v)
      u = Div (v, n)
      y = MatMul (a, u)
    }"""
    quantised = np.array([[1, 2], [3, 4], [5, 6]], np.int8)
    model = build(text, q=quantised, s=np.array(0.5, np.float32), v=normal(3, 3))
    proto, weights, _ = retrained(model)
    assert set(weights) == {"d", "u"}
    np.testing.assert_array_equal(weights["d"], quantised * np.float32(0.5) + 1)
    assert [node.op_type for node in proto.graph.node] == ["Transpose", "MatMul", "MatMul"]
    assert {tensor.name for tensor in proto.graph.initializer} == {"d", "u"}
    again = load_model(proto)
    assert all(obstacle(layer) is None for layer in read_graph(again).candidates)
    trained = find_trained(again, read_graph(again))
    assert all(np.array_equal(trained.values[name], weights[name]) for name in weights)


@pytest.mark.parametrize("products", [1, 2])
def test_parts_of_a_split_weight_are_trained_each(products: int, build: Build) -> None:
    last = "y = MatMul (a, w)" if products == 2 else "y = Add (a, w)"
    model = build(
        f"g (float[N, 2] x) => (float[N, 2] y) {{ u, w = Split (v) a = MatMul (x, u) {last} }}",
        v=np.vstack([normal(2, 2), 1 + normal(2, 2)]),
    )
    proto, weights, _ = retrained(model)
    again = load_model(proto)
    constants = Constants(again.proto.graph)
    assert len(weights) == products
    assert all(np.array_equal(constants.value(name), values) for name, values in weights.items())
    assert np.array_equal(constants.value("w"), 1 + normal(2, 2) + (products == 2))
    assert [node.op_type for node in proto.graph.node].count("Split") == 2 - products


def test_sparse_weights_are_refused(build: Build) -> None:
    model = build("g (float[N, 2] x) => (float[N, 2] y) { y = MatMul (x, w) }", w=normal(2, 2))
    del model.proto.graph.initializer[:]
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 3], np.int64))
    model.proto.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2, 2]))
    with pytest.raises(ModelError, match="w: sparse weights cannot be retrained"):
        retrained(model)


def test_half_precision_that_is_stored_in_32_bit_integers_can_be_read_again() -> None:
    """As `onnx.helper.make_tensor` stores it; a tensor may have one field of values."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float16[N, 4] x) => (float16[N, 2] y) { y = MatMul (x, w) }'
    )
    values = normal(4, 2).astype(np.float16)
    proto.graph.initializer.append(onnx.helper.make_tensor("w", TensorProto.FLOAT16, (4, 2), values.ravel()))
    assert proto.graph.initializer[0].int32_data

    made, weights, _ = retrained(load_model(proto))

    (stored,) = load_model(made).proto.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weights["w"].astype(np.float16))
