"""A network of two products, for tests of those who measure it."""

import numpy as np
import onnx
from onnx import numpy_helper

from lhc.model import OnnxModel
from lhc.onnx_io import load_model

__all__ = ["two_layers"]


def two_layers(rng: np.random.Generator) -> OnnxModel:
    """``x`` ``(N, 12)`` by ``first``, a Relu and ``second`` to ``y`` ``(N, 6)``; weights are drawn."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]> g (float[N, 12] x) => (float[N, 6] y) {
      [first] a = MatMul (x, u)
      r = Relu (a)
      [second] y = MatMul (r, v)
    }""")
    for name, shape in {"u": (12, 9), "v": (9, 6)}.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return load_model(model)
