"""Formats of digital products, as costs know them: the machine's where operands are float32, else the file's."""

import numpy as np
import pytest

from lhc.costs.number_formats import number_formats
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.runtime.digital_precision.activation_ranges import digital_arithmetic
from tests.networks import parsed


@pytest.mark.parametrize(("dtype", "size"), [("float", 1), ("float16", 2)])
def test_a_product_of_two_activations_has_the_format_of_what_it_reads(dtype: str, size: int) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({dtype}[n, 4, 4] x) => ({dtype}[n, 4, 4] y) {{'
    model = load_model(parsed(text + " p = Softmax (x)  y = MatMul (p, p) }", {}))
    graph = read_graph(model, {"x": (2, 4, 4)})
    (layer,) = (one for one in graph.layers if one.op_type == "MatMul")
    assert number_formats(graph, Hardware.load("lionheart"))(layer).bytes == size


def test_what_is_computed_as_in_the_file_is_priced_so() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x, bool c) => (float[1, 4] z) {'
        " y = If (c) <then_branch = t () => (float[1, 4] a) { a = MatMul (x, w) },"
        " else_branch = e () => (float[1, 4] b) { b = MatMul (x, w) }>  l = Log (y)  z = MatMul (l, w) }"
    )
    model = load_model(parsed(text, {"w": np.ones((4, 4), np.float32)}))
    graph, machine = read_graph(model), Hardware.load("lionheart")
    negative = -np.ones((1, 4), np.float32)
    feeds = {"x": negative, "c": np.array(True)}
    arithmetic = digital_arithmetic(model, graph, machine.digital, [(1, feeds)])
    assert arithmetic is not None
    assert len(arithmetic.as_file) == 3, "two in bodies, and one that reads what is no number"
    numbers = number_formats(graph, machine, arithmetic)
    assert {numbers(layer).bytes for layer in graph.multiplying} == {4}
    known = {layer.op_type: number_formats(graph, machine)(layer).bytes for layer in graph.layers if layer.multiplies}
    assert known == {"MatMul": 1}, "before anything is run"


QUANTISED = """<ir_version: 8, opset_import: ["" : 17]> net
  (int64[n, 2] i, float[n, 4] x) => (float[n, 4] y, float[n, 4] z) <float scale = {0.1}> {
  codes = Gather (table, i)
  table_row = DequantizeLinear (codes, scale)
  row = ReduceMean <axes = [1], keepdims = 0> (table_row)
  [after_table] y = MatMul (row, w)
  q = QuantizeLinear (x, scale, zero)
  d = DequantizeLinear (q, scale, zero)
  [on_integers] a = MatMul (d, v)
  stored = DequantizeLinear (codes_of_weights, scale)
  [weights_alone] z = MatMul (a, stored)
}"""


def test_a_product_is_priced_in_int8_where_it_computes_on_integers_alone() -> None:
    """A quantised table of words, or quantised weights, make no product one of integers."""
    codes = np.ones((4, 4), np.int8)
    weight, zero = np.eye(4, dtype=np.float32), np.array(0, np.uint8)
    stored: dict[str, np.ndarray] = {"w": weight, "v": weight, "zero": zero, "table": codes, "codes_of_weights": codes}
    model = load_model(parsed(QUANTISED, stored))
    graph = read_graph(model)
    found = number_formats(graph, Hardware.load("lionheart"))
    formats = {layer.name: found(layer) for layer in graph.layers if layer.op_type == "MatMul"}
    assert {name: one.bytes for name, one in formats.items()} == {
        "after_table": 4,
        "on_integers": 1,
        "weights_alone": 1,
    }
    assert formats["after_table"].cycles == formats["weights_alone"].cycles == 4 * formats["on_integers"].cycles
