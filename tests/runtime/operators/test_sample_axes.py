"""Noise follows its sample, wherever tensors hold samples: calls may be cut anywhere."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lhc.canonical import canonical
from lhc.onnx_io import load_model
from lhc.runtime import HybridSession
from lhc.runtime.onnxruntime.sessions import must_run
from lhc.runtime.operators.sample_axes import SamplePlace, sample_places
from tests.networks import parsed
from tests.runtime.models_on_tiles import LIONHEART, Array, normal

pytestmark = pytest.mark.analog

SIZES = {
    "w": (6, 6),
    "v": (6, 4),
    "k": (5, 2, 3, 3),
    "W": (2, 24, 6),
    "R": (2, 24, 6),
    "W3": (2, 18, 12),
    "R3": (2, 18, 6),
    "u": (4, 6),
    "one_row": (1, 6),
}
NUMBERS = {
    "rows": [-1, 6],
    "steps": [8, -1, 6],
    "images": [-1, 2, 4, 4],
    "frames": [8, -1, 20],
    "merged": [8, -1, 12],
    "twice": [2, 1, 1, 1],
    "two": [2],
    "six": [6],
}
STEPS, FRAMES = ("N", 8, 6), ("N", 8, 2, 4, 4)
NETWORKS: Mapping[str, tuple[Sequence[str | int], str]] = {
    "samples first": (STEPS, "y = MatMul (x, v)"),
    "steps first": (
        STEPS,
        "t = Transpose <perm = [1, 0, 2]> (x) m = MatMul (t, v) y = Transpose <perm = [1, 0, 2]> (m)",
    ),
    "rows of samples": (STEPS, "r = Reshape (x, rows) m = Gemm (r, w) y = Reshape (m, by_sample)"),
    "rows of steps": (
        STEPS,
        """t = Transpose <perm = [1, 0, 2]> (x) r = Reshape (t, rows) m = Gemm (r, w) a = Relu (m) n = MatMul (a, w)
        s = Reshape (n, steps) y = Transpose <perm = [1, 0, 2]> (s)""",
    ),
    "frames of steps": (
        FRAMES,
        """t = Transpose <perm = [1, 0, 2, 3, 4]> (x) i = Reshape (t, images) c = Conv (i, k) a = Relu (c)
        f = Reshape (a, frames) y = Transpose <perm = [1, 0, 2]> (f)""",
    ),
    "columns": (("N", 6), "t = Transpose <perm = [1, 0]> (x) m = MatMul (u, t) y = Transpose <perm = [1, 0]> (m)"),
    "columns of steps": (
        STEPS,
        "t = Transpose <perm = [1, 2, 0]> (x) m = MatMul (u, t) y = Transpose <perm = [2, 0, 1]> (m)",
    ),
    "LSTM": (
        STEPS,
        """t = Transpose <perm = [1, 0, 2]> (x) s = LSTM <hidden_size = 6, direction = "bidirectional"> (t, W, R)
        y = Transpose <perm = [2, 0, 1, 3]> (s)""",
    ),
    "LSTM, GRU": (
        STEPS,
        """t = Transpose <perm = [1, 0, 2]> (x) s = LSTM <hidden_size = 6, direction = "bidirectional"> (t, W, R)
        q = Transpose <perm = [0, 2, 1, 3]> (s) z = Reshape (q, merged)
        g, h = GRU <hidden_size = 6, direction = "bidirectional"> (z, W3, R3) y = Transpose <perm = [1, 0, 2]> (h)""",
    ),
    "joined batches": (
        ("N", 6),
        """j = Concat <axis = 0> (x, x) q = Concat <axis = 0> (j, j) n = MatMul (q, w) g, h = Split <axis = 0> (n)
        m = MatMul (h, v) a, b = Split <axis = 0> (m) y = Add (a, b)""",
    ),
    "joined rows": (
        ("N", 8, 6),
        """r = Reshape (x, rows) j = Concat <axis = 0> (r, r) m = MatMul (j, w) a, b = Split <axis = 0> (m)
        s = Add (a, b) y = Reshape (s, by_sample)""",
    ),
    "repeated batch": (
        ("N", 2, 4, 4),
        "t = Tile (x, twice) c = Conv (t, k) a, b = Split <axis = 0> (c) y = Add (a, b)",
    ),
    "repeated constant": (
        ("N", 6),
        """h = Shape <start = 0, end = 1> (x) d = Mul (h, two) e = Concat <axis = 0> (d, six) f = Expand (one_row, e)
        j = Concat <axis = 0> (x, x) i = Add (f, j) m = MatMul (i, v) a, b = Split <axis = 0> (m) y = Add (a, b)""",
    ),
}
"""What a network takes, and what it computes."""


def model_of(name: str) -> onnx.ModelProto:
    shape, text = NETWORKS[name]
    taken = ", ".join(map(str, shape))
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[{taken}] x) => (float y) {{ {text} }}'
    )
    rng = np.random.default_rng(0)
    constants = {key: 0.4 * normal(rng, size) for key, size in SIZES.items()}
    constants |= {key: np.array(value) for key, value in {**NUMBERS, "by_sample": [-1, 8, 6]}.items()}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, key) for key, array in constants.items() if key in text
    )
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(output)
    return model


def answers(model: onnx.ModelProto, x: Array, engine: str, ends: Sequence[int], axis: int = 0) -> Array:
    session = HybridSession(model, LIONHEART, "all-analog", engine=engine)  # type: ignore[arg-type]  # any of them
    parts = [session.run(None, {"x": part})[0] for part in np.split(x, ends, axis)]
    return np.concatenate(parts, axis)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fast", "aihwkit"])
@pytest.mark.parametrize("name", NETWORKS)
def test_calls_may_be_cut_anywhere(name: str, engine: str) -> None:
    shape = (64, *(size for size in NETWORKS[name][0] if isinstance(size, int)))
    model, x = model_of(name), normal(np.random.default_rng(1), shape)
    whole = answers(model, x, engine, [])
    for ends in ((16, 32, 48), (7, 8, 40)):
        # onnxruntime and torch sum products of other sizes in another order.
        np.testing.assert_allclose(answers(model, x, engine, ends), whole, atol=1e-5 * np.abs(whole).max())


def test_calls_of_a_network_that_takes_steps_first_may_be_cut_anywhere() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[8, N, 6] x) => (float[8, 2, N, 6] y)
    { y = LSTM <hidden_size = 6, direction = "bidirectional"> (x, W, R) }"""
    rng = np.random.default_rng(0)
    model = parsed(text, {name: 0.4 * normal(rng, SIZES[name]) for name in "WR"})
    x = normal(rng, (8, 24, 6))
    parts = []
    for ends in ((), (7, 8, 20)):
        session = HybridSession(model, LIONHEART, "all-analog")
        parts.append(np.concatenate([session.run(None, {"x": one})[0] for one in np.split(x, ends, 1)], 2))
    np.testing.assert_allclose(parts[1], parts[0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "tensor", "place"),
    [
        ("samples first", "y", None),
        ("rows of samples", "r", None),
        ("steps first", "t", SamplePlace(1)),
        ("rows of steps", "a", SamplePlace(0, 8)),
        ("rows of steps", "s", SamplePlace(1)),
        ("frames of steps", "c", SamplePlace(0, 8)),
        ("columns of steps", "t", SamplePlace(2)),
        ("joined batches", "q", SamplePlace(0, 4)),
        ("joined batches", "h", SamplePlace(0, 2)),
        ("joined rows", "j", SamplePlace(0, 2)),
        ("repeated batch", "t", SamplePlace(0, 2)),
        ("repeated constant", "i", SamplePlace(0, 2)),
    ],
)
def test_places_of_samples(name: str, tensor: str, place: SamplePlace | None) -> None:
    assert sample_places(canonical(load_model(model_of(name), runs=must_run))).get(tensor) == place


def test_the_user_says_where_an_input_has_its_samples() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[A, B, 6] x) => (float[A, B, 4] y) { y = MatMul (x, v) }'
    proto = parsed(text, {"v": np.ones((6, 4), np.float32)})
    model = load_model(proto)
    assert sample_places(model).get("x") is None
    assert sample_places(model, {"x": 1})["x"] == SamplePlace(1)
