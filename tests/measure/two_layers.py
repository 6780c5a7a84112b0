"""A network of two products, for tests of those who measure it."""

import numpy as np

from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel
from tests.networks import drawn, parsed

__all__ = ["two_layers"]


def two_layers(rng: np.random.Generator) -> OnnxModel:
    """``x`` ``(N, 12)`` by ``first``, a Relu and ``second`` to ``y`` ``(N, 6)``; weights are drawn."""
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 12] x) => (float[N, 6] y) {
      [first] a = MatMul (x, u)
      r = Relu (a)
      [second] y = MatMul (r, v)
    }""",
        drawn({"u": (12, 9), "v": (9, 6)}, rng),
    )
    return load_model(model)
