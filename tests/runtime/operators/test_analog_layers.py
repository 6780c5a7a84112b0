"""What is digital about an analog operator: corrections of a chip and a bias, the same whatever multiplies."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.hardware import Hardware, Tiles
from lhc.onnx_io import load_model, read_graph
from lhc.programmed_matrix import Correction
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor

pytestmark = pytest.mark.analog

DAY = 86400.0
OPERATORS = {
    "convolution": ("float[N, 4, 5, 7] x", "Conv (x, w)", (6, 4, 3, 3), 10),
    "convolution with a bias": ("float[N, 4, 5, 7] x", "Conv (x, w, b)", (6, 4, 3, 3), 36),
    "convolution by groups": ("float[N, 4, 5, 7] x", "Conv <group = 2> (x, w, b)", (6, 2, 3, 3), 10),
    "few weights": ("float[N, 3, 8] x", "MatMul (x, w)", (8, 6), 4),
    "many weights": ("float[N, 3, 300] x", "MatMul (x, w)", (300, 257), 200),
    "weights on the left": ("float[N, 8, 3] x", "MatMul (w, x)", (6, 8), 4),
    "Gemm": ("float[N, 8] x", "Gemm <alpha = 0.7, beta = 2.0> (x, w, b)", (8, 6), 4),
}


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_corrections_and_bias_are_added_to_the_bit(name: str, corrected: bool) -> None:
    """On two chips, with rows split over tiles: fused into the kernels where they can, and apart."""
    inputs, call, shape, rows = OPERATORS[name]
    rng = np.random.default_rng(4)
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => (float[N, ...] y) {{ [a] y = {call} }}'
    model = onnx.parser.parse_model(text.replace("float[N, ...]", "float"))
    outputs = shape[1] if name in ("few weights", "many weights", "Gemm") else shape[0]
    given = {"w": rng.normal(size=shape).astype(np.float32), "b": rng.normal(size=outputs).astype(np.float32)}
    used = {one for one in given if one in model.graph.node[0].input}
    model.graph.initializer.extend(numpy_helper.from_array(given[one], one) for one in sorted(used))
    loaded = load_model(model)
    x = rng.normal(size=(3, *(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])))
    hardware = Hardware.load("lionheart").model_copy(update={"tiles": Tiles(rows=rows, cols=60)})
    executor = HybridExecutor(loaded, read_graph(loaded, {"x": x.shape}), ["a"])
    chips = [executor.states(hardware, 0, draw, DAY) for draw in (0, 1)]
    products = executor.on_chips(chips, hardware, 0, (0, 1)).together
    (layer,), position, tensors = executor.layers, Position(0, 3), {"x": x.astype(np.float32)}
    corrections = [
        Correction(*rng.normal(1, 0.1, size=(2, outputs)).astype(np.float32)) if corrected else None for _ in chips
    ]
    whole = executor.run_layer(layer, tensors, products, position, corrections)
    bare = executor.run_layer(layer, tensors, products, position, bias=False)
    bias = given["b"] if "b" in used else None
    apart = [layer.completed(output.copy(), bias, one) for output, one in zip(bare, corrections, strict=True)]
    assert np.stack(whole).tobytes() == np.stack(apart).tobytes()
    assert (np.stack(whole) != np.stack(bare)).any() == (corrected or "b" in used)
