"""Networks whose file fixes the batch, with a batch of any size."""

import numpy as np
import pytest

from lhc.onnx_io import load_model, static_batch
from lhc.onnx_io.rewrites.dynamic_batch import with_dynamic_batch
from lhc.runtime.onnxruntime.sessions import create_session
from tests.networks import drawn, parsed

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 2, 3, 4] x) => (float[1, 6] y, float[1, 4, 6] z) <int64[2] flat = {SHAPE}, int64[3] rows = {1, 4, 6}> {
  h = Conv<kernel_shape = [1, 1]>(x, w)
  f = Reshape(h, flat)
  y = MatMul(f, v)
  z = Reshape(h, rows)
}"""


@pytest.mark.parametrize("shape", ["{1, 24}", "{1, -1}"])
def test_samples_together_are_answered_as_one_by_one(shape: str) -> None:
    rng = np.random.default_rng(0)
    proto = parsed(NET.replace("{SHAPE}", shape), drawn({"w": (2, 2, 1, 1), "v": (24, 6)}, rng))
    model = load_model(proto)
    freed = with_dynamic_batch(model)
    assert (static_batch(model), static_batch(freed)) == (1, None)
    x = rng.normal(size=(3, 2, 3, 4)).astype(np.float32)
    together = create_session(freed.proto, "freed").run(None, {"x": x})
    session = create_session(model.proto, "fixed")
    for sample in range(3):
        for found, expected in zip(together, session.run(None, {"x": x[sample : sample + 1]}), strict=True):
            np.testing.assert_allclose(found[sample : sample + 1], expected, rtol=1e-5, atol=1e-6)
    assert with_dynamic_batch(freed) is freed


def test_what_is_stored_has_no_samples() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[1, 3, 2, 2] x) => (float[1, 3, 2, 2] y) <int64[4] channels = {1, -1, 1, 1}> {
      s = Reshape(scale, channels)
      y = Mul(x, s)
    }"""
    rng = np.random.default_rng(0)
    freed = with_dynamic_batch(load_model(parsed(text, {"scale": np.arange(3, dtype=np.float32)})))
    x = rng.normal(size=(5, 3, 2, 2)).astype(np.float32)
    (found,) = create_session(freed.proto, "freed").run(None, {"x": x})
    np.testing.assert_array_equal(found, x * np.arange(3, dtype=np.float32)[:, None, None])
