"""Operators of a file as a graph: what a tensor comes from, against following it by hand."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.onnx_model import operator_graph, producers_of, upstream_of, with_nodes

Wiring = list[list[int]]


def network(wiring: Wiring) -> onnx.GraphProto:
    """Operator ``i`` writes tensor ``i`` and reads those of ``wiring[i]``; -1 is an input, -2 an optional one."""
    nodes = [
        onnx.helper.make_node("Sum", [{-1: "x", -2: ""}.get(n, str(n)) for n in read], [str(i), ""], f"n{i}")
        for i, read in enumerate(wiring)
    ]
    return onnx.helper.make_graph(nodes, "g", [], [])


@st.composite
def wirings(draw: st.DrawFn) -> Wiring:
    count = draw(st.integers(1, 8))
    return [draw(st.lists(st.integers(-2, i - 1), max_size=3)) for i in range(count)]


def behind(wiring: Wiring, tensor: int, given_: frozenset[int] = frozenset()) -> set[int]:
    """The operators that a tensor comes from."""
    if tensor < 0 or tensor in given_:
        return set()
    return {tensor}.union(*(behind(wiring, read, given_) for read in wiring[tensor]))


@given(wirings(), st.sets(st.integers(0, 7)), st.frozensets(st.integers(0, 7)))
def test_what_tensors_come_from(wiring: Wiring, asked: set[int], given_: frozenset[int]) -> None:
    graph, made = network(wiring), {n for n in asked if n < len(wiring)}
    names = ["x", "", *map(str, asked)]
    assert producers_of(graph, names) == {f"n{n}" for end in made for n in behind(wiring, end)}
    left = {n for end in made for n in behind(wiring, end, given_)}
    assert upstream_of(operator_graph(graph), names, set(map(str, given_))) == left


def test_what_a_body_reads_is_read_by_its_operator() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[2] x, bool c) => (float[2] y) {
          [first] p = Neg(x)
          [other] q = Neg(x)
          [choose] y = If (c) <then_branch = a () => (float[2] s) { r = Neg(p)  s = Neg(r) },
                               else_branch = b () => (float[2] t) { t = Identity(x) }>
        }"""
    )
    assert producers_of(model.graph, ["y"]) == {"first", "choose"}
    assert list(operator_graph(model.graph).edges(keys=True)) == [(0, 2, "p")]


def test_an_initializer_that_is_gone_is_no_input_either() -> None:
    """Up to IR version 3 all initializers are inputs: a session would ask for one without a value."""
    proto = onnx.parser.parse_model("""<ir_version: 3, opset_import: ["" : 8]>
    g (float[1] x, float[1] w, float[1] v) => (float[1] y) <float[1] w = {1.0}, float[1] v = {2.0}> {
        a = Mul (x, w)
        y = Mul (a, v)
    }""")
    kept = [tensor for tensor in proto.graph.initializer if tensor.name == "v"]
    made = with_nodes(proto, [onnx.helper.make_node("Mul", ["x", "v"], ["y"])], kept)
    assert [value.name for value in made.graph.input] == ["x", "v"]
    assert ort.InferenceSession(made.SerializeToString()).run(None, {"x": np.ones(1, np.float32)})[0] == 2


@pytest.mark.parametrize("tensors", [[], [""], ["x"], ["nowhere"]])
def test_what_nothing_computes_comes_from_nothing(tensors: list[str]) -> None:
    assert producers_of(network([[-1], [0, -2]]), tensors) == set()
