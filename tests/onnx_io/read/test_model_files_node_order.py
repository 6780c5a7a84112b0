"""Nodes in order, as ONNX asks for."""

import numpy as np
import onnx
import pytest

from lhc.errors import ModelError
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.read.model_files import sort_nodes
from lhc.runtime.onnxruntime.sessions import create_session, must_run

SHUFFLED = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x, bool c) => (float[N, 4] y) <float[4, 4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
  [last] y = Add(r, b)
  [choose] b = If (c) <
    then_branch = some () => (float[N, 4] o) { o = Neg(p)  p = Identity(h) },
    else_branch = other () => (float[N, 4] q) { q = Identity(h) }
  >
  [act] r = Relu(h)
  [fc] h = MatMul(x, w)
}"""
SIMPLIFIED = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2] x) => (float[N, 2] y) <float[2] g = {1, 2}> { y = SimplifiedLayerNormalization<axis = -1>(x, g) }"""


def names(graph: onnx.GraphProto) -> list[str]:
    return [node.name for node in graph.node]


def test_nodes_come_after_what_they_read_and_bodies_too() -> None:
    model = onnx.parser.parse_model(SHUFFLED)
    sort_nodes(model.graph)
    assert names(model.graph) == ["fc", "choose", "act", "last"]
    assert [node.op_type for node in model.graph.node[1].attribute[0].g.node] == ["Identity", "Neg"]
    onnx.checker.check_model(model)
    before = model.SerializeToString(deterministic=True)
    sort_nodes(model.graph)
    assert model.SerializeToString(deterministic=True) == before


def test_a_cycle_stays_for_the_checker() -> None:
    model = onnx.parser.parse_model(SHUFFLED)
    model.graph.node[3].input[0] = "y"
    sort_nodes(model.graph)
    assert names(model.graph) == ["last", "choose", "act", "fc"]
    with pytest.raises(ModelError, match="not a valid ONNX model: its graph has a cycle: ") as caught:
        load_model(model, runs=must_run)
    assert all(f"'{name}'" in str(caught.value) for name in ("last", "fc"))


def test_what_is_out_of_order_is_read_as_onnxruntime_runs_it() -> None:
    given = onnx.parser.parse_model(SHUFFLED.replace("{ o = Neg(p)  p = Identity(h) }", "{ o = Neg(h) }"))
    model = load_model(given)
    assert model.complaint is None
    assert [layer.name for layer in read_graph(model).candidates] == ["fc"]
    feeds = {"x": np.ones((2, 4), np.float32), "c": np.array(True)}
    expected = create_session(given, "given").run(None, feeds)
    np.testing.assert_array_equal(create_session(model.proto, "sorted").run(None, feeds), expected)


def test_onnxruntime_counts_where_the_checker_refuses() -> None:
    model = onnx.parser.parse_model(SIMPLIFIED)
    with pytest.raises(ModelError, match="not a valid ONNX model: No Op registered for SimplifiedLayerNormalization"):
        load_model(model)
    assert "SimplifiedLayerNormalization" in (load_model(model, runs=must_run).complaint or "")
    model.graph.node[0].op_type = "ComplicatedLayerNormalization"
    with pytest.raises(ModelError, match="not a valid ONNX model: No Op registered for ComplicatedLayerNorm"):
        load_model(model, runs=must_run)
