"""Scaled channels: which inputs are found, and that the network computes the same, bit for bit."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from lhc.onnx_io import read_graph
from lhc.onnx_io.rewrites.channel_scales import ScalableInput, scalable_inputs, scaled_channels
from lhc.onnx_io.write import in_memory
from lhc.onnx_model import OnnxModel
from tests.onnx_io.built_models import in_nodes, model_of, numbers

K, N = 8, 12


def node(op: str, name: str, *inputs: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [name], f"{name}.node", **attributes)  # type: ignore[arg-type]


def gated(*more: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> OnnxModel:
    """A gated feed-forward behind a gain; its last product is a Gemm with a bias."""
    nodes = [
        node("Mul", "h", "x", "gain"),
        node("MatMul", "g", "h", "w_gate"),
        node("MatMul", "u", "h", "w_up"),
        node("Sigmoid", "s", "g"),
        node("Mul", "m", "s", "u"),
        node("Gemm", "y", "m", "w_down", "bias", transB=1),
        *more,
    ]
    own = {"gain": numbers(K), "w_gate": numbers(K, N), "w_up": numbers(K, N), "w_down": numbers(K, N)}
    return model_of(nodes, {"x": (4, K)}, {**own, "bias": numbers(K)}, outputs)


def found(model: OnnxModel) -> tuple[ScalableInput, ...]:
    return scalable_inputs(model, read_graph(model))


def answers(proto: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = np.random.default_rng(1).normal(size=(4, K)).astype(np.float32)
    return list(session.run(None, {"x": x}))


def factors_of(inputs: tuple[ScalableInput, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {one.tensor: np.exp2(rng.integers(-5, 6, one.channels)).astype(np.float32) for one in inputs}


def test_a_gate_and_a_gain_are_found_and_change_no_bit() -> None:
    model = gated()
    inputs = found(model)
    assert [(one.tensor, one.products) for one in inputs] == [("h", ("g.node", "u.node")), ("m", ("y.node",))]
    assert inputs[0].folds == (("h.node", 1),)
    assert inputs[1].folds == (("u.node", 1),)
    factors = factors_of(inputs)
    made = scaled_channels(model, read_graph(model), inputs, factors, in_memory)
    before, after = answers(model.proto)[0], answers(made)[0]
    assert (before == after).all()
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in (*made.graph.initializer,)}
    old = {t.name: onnx.numpy_helper.to_array(t) for t in model.proto.graph.initializer}
    assert (stored["w_gate"] == old["w_gate"] * factors["h"][:, None]).all()
    assert (stored["w_up"] == old["w_up"] * factors["h"][:, None] / factors["m"]).all()
    assert (stored["w_down"] == old["w_down"] * factors["m"]).all()


def test_a_gate_of_one_column_takes_no_factors() -> None:
    """Its number is the same for all channels: only the other side of the product can be divided."""
    nodes = [
        node("MatMul", "g", "x", "w_gate"),
        node("MatMul", "u", "x", "w_up"),
        node("Mul", "m", "g", "u"),
        node("MatMul", "y", "m", "w_down"),
    ]
    own = {"w_gate": numbers(K, 1), "w_up": numbers(K, N), "w_down": numbers(N, K)}
    model = model_of(nodes, {"x": (4, K)}, own)
    inputs = found(model)
    assert [(one.tensor, one.folds) for one in inputs] == [("m", (("u.node", 1),))]
    made = scaled_channels(model, read_graph(model), inputs, factors_of(inputs), in_memory)
    assert (answers(model.proto)[0] == answers(made)[0]).all()


def test_weights_in_constant_nodes_are_scaled_too() -> None:
    model = in_nodes(gated())
    inputs = found(model)
    made = scaled_channels(model, read_graph(model), inputs, factors_of(inputs), in_memory)
    onnx.checker.check_model(made)
    assert len(inputs) == 2
    assert (answers(model.proto)[0] == answers(made)[0]).all()


def test_a_normalisation_with_an_offset_is_divided_whole() -> None:
    nodes = [node("LayerNormalization", "h", "x", "gain", "offset"), node("MatMul", "y", "h", "w")]
    model = model_of(nodes, {"x": (4, K)}, {"gain": numbers(K), "offset": numbers(K), "w": numbers(K, N)})
    inputs = found(model)
    assert [one.folds for one in inputs] == [(("h.node", 1), ("h.node", 2))]
    made = scaled_channels(model, read_graph(model), inputs, factors_of(inputs), in_memory)
    assert (answers(model.proto)[0] == answers(made)[0]).all()


def test_what_others_read_as_well_is_left_alone() -> None:
    """The input of the products, the other factor of the gate, and a gain that is no constant."""
    assert [one.tensor for one in found(gated(node("Relu", "z", "h"), outputs=("y", "z")))] == ["m"]
    assert [one.tensor for one in found(gated(node("Relu", "z", "u"), outputs=("y", "z")))] == ["h"]
    nodes = [node("Softmax", "h", "x"), node("MatMul", "y", "h", "w")]
    assert found(model_of(nodes, {"x": (4, K)}, {"w": numbers(K, N)})) == ()


def test_products_that_share_tiles_are_left_alone() -> None:
    weight = numbers(K, K)
    nodes = [node("Mul", "h", "x", "gain"), node("MatMul", "z", "h", "w"), node("MatMul", "y", "z", "w")]
    assert found(model_of(nodes, {"x": (4, K)}, {"gain": numbers(K), "w": weight})) == ()


def test_a_weight_that_is_read_elsewhere_or_turned_gets_a_copy() -> None:
    """As a decoder's embedding, which its output layer shares."""
    nodes = [
        node("Mul", "h", "x", "gain"),
        node("Transpose", "turned", "table", perm=[1, 0]),  # type: ignore[arg-type]
        node("MatMul", "y", "h", "turned"),
        node("ReduceSum", "z", "table"),
    ]
    model = model_of(nodes, {"x": (4, K)}, {"gain": numbers(K), "table": numbers(N, K)}, ("y", "z"))
    inputs = found(model)
    made = scaled_channels(model, read_graph(model), inputs, factors_of(inputs), in_memory)
    assert [one.tensor for one in inputs] == ["h"]
    assert all((a == b).all() for a, b in zip(answers(model.proto), answers(made), strict=True))
    assert {t.name for t in made.graph.initializer} == {"gain", "table", "turned.scaled"}
    assert "Transpose" not in {n.op_type for n in made.graph.node}
