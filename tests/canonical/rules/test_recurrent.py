"""Recurrent operators whose weights make no sense stay as they are: whoever runs them says so."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from lhc.canonical import canonical
from lhc.onnx_io import load_model, read_graph

GRU = {"W": (1, 6, 2), "R": (1, 6, 2), "B": (1, 12)}


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [("W", (12,)), ("R", (6, 2)), ("B", (12,)), ("W", (1, 5, 2)), ("R", (2, 6, 2)), ("W", ()), ("B", (1, 3))],
    ids=str,
)
def test_weights_of_a_wrong_shape_are_left_alone(wrong: str, shape: tuple[int, ...]) -> None:
    shapes = GRU | {wrong: shape}
    tensors = [numpy_helper.from_array(np.zeros(size, np.float32), name) for name, size in shapes.items()]
    value = helper.make_tensor_value_info
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], "rnn", hidden_size=2)
    inputs, outputs = [value("x", 1, (3, 1, 2))], [value("y", 1, (3, 1, 1, 2))]
    graph = helper.make_graph([node], "g", inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = canonical(load_model(proto))
    assert model.file is None, "nothing is rewritten"
    assert [layer.op_type for layer in read_graph(model).multiplying] == ["GRU"]
