"""Formats of digital products, as costs know them: the machine's where operands are float32, else the file's."""

import pytest

from lhc.costs.number_formats import number_formats
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from tests.networks import parsed


@pytest.mark.parametrize(("dtype", "size"), [("float", 1), ("float16", 2)])
def test_a_product_of_two_activations_has_the_format_of_what_it_reads(dtype: str, size: int) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({dtype}[n, 4, 4] x) => ({dtype}[n, 4, 4] y) {{'
    model = load_model(parsed(text + " p = Softmax (x)  y = MatMul (p, p) }", {}))
    graph = read_graph(model, {"x": (2, 4, 4)})
    (layer,) = (one for one in graph.layers if one.op_type == "MatMul")
    assert number_formats(graph, Hardware.load("lionheart"))(layer).bytes == size
