"""Any Conv, Gemm and MatMul on tiles equals onnxruntime.

Drawn operators run all-analog on the parity geometry of tiles so small that every matrix is split, and of 256x255.
Under noise, the same samples give the same bytes however they are cut into calls.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from lhc.errors import ModelError
from lhc.hardware import Hardware, Tiles
from lhc.runtime import HybridSession
from tests.runtime.models_on_tiles import IDEAL, LIONHEART, TOLERANCE, Array, by_onnxruntime, error_of, model_of, normal

pytestmark = pytest.mark.analog
SMALL = Tiles(rows=7, cols=5)
"""So small that most drawn matrices are split over inputs and outputs."""
SAMPLES = 15
"""In calls of 1, of 7 (the last one short), and all at once."""
SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=150, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def _on(tiles: Tiles, hardware: Hardware) -> Hardware:
    return hardware.model_copy(update={"tiles": tiles})


GEOMETRIES = (_on(SMALL, LIONHEART).geometry, LIONHEART.geometry)


@dataclass(frozen=True)
class Drawn:
    """One operator and the data it is run on.

    Attributes:
        model: of one node, from x to y.
        x: its input.
        what: for messages.
        axis: of the output that holds the samples, if the first axis of x does; else None.
    """

    model: onnx.ModelProto
    x: Array
    what: str
    axis: int | None = 0

    def __repr__(self) -> str:
        return f"{self.what} on {self.x.shape}"


@st.composite
def _axis(draw: st.DrawFn, axes: int) -> tuple[int, int, int, int, int]:
    """Kernel, stride, dilation, and padding before and after, of one spatial axis."""
    kernel = draw(st.integers(1, 4 if axes < 3 else 3))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3 if axes < 3 else 2))
    return kernel, stride, dilation, draw(st.integers(0, kernel)), draw(st.integers(0, kernel))


@st.composite
def convolutions(draw: st.DrawFn) -> Drawn:
    axes = draw(st.integers(1, 3))
    kernel, strides, dilations, before, after = zip(*(draw(_axis(axes)) for _ in range(axes)), strict=True)
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    groups = draw(st.sampled_from([1, 1, 2, 3, 4]))
    depthwise = draw(st.booleans())
    channels = groups * (1 if depthwise else draw(st.integers(1, 3)))
    outputs = groups * draw(st.integers(1, 3))
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    if auto_pad == "NOTSET":
        attributes["pads"] = (*before, *after)
    else:
        attributes["auto_pad"] = auto_pad
        before = after = (0,) * axes
    if auto_pad.startswith("SAME"):  # onnxruntime refuses dilations here; see the test of its own
        attributes["dilations"] = dilations = (1,) * axes
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    smallest = [max(1, (k - 1) * d + 1 - b - a) for k, d, b, a in zip(kernel, dilations, before, after, strict=True)]
    sizes = [draw(st.integers(size, size + (6 if axes < 3 else 2))) for size in smallest]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    constants = {"W": normal(rng, (outputs, channels // groups, *kernel))}
    if bias := draw(st.booleans()):
        constants["B"] = normal(rng, (outputs,))
    node = helper.make_node("Conv", ["x", *constants], ["y"], name="conv", **attributes)
    x = normal(rng, (SAMPLES, channels, *sizes))
    what = f"Conv {channels}->{outputs} kernel {kernel} bias {bias} {attributes}"
    return Drawn(model_of([node], {"x": x}, {"y": x.ndim}, constants), x, what)


def _summand_shapes(rows: int, cols: int) -> st.SearchStrategy[tuple[int, ...] | None]:
    return st.sampled_from([None, (), (1,), (cols,), (1, cols), (rows, 1), (1, 1), (rows, cols)])


@st.composite
def gemms(draw: st.DrawFn) -> Drawn:
    """Constant B: the rows of A are samples, or its columns where it is transposed; constant A likewise."""
    left = draw(st.booleans())  # the weight is A
    trans_a, trans_b = draw(st.booleans()), draw(st.booleans())
    inner, other = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    rows, cols = (other, SAMPLES) if left else (SAMPLES, other)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a = normal(rng, (inner, rows) if trans_a else (rows, inner))
    b = normal(rng, (cols, inner) if trans_b else (inner, cols))
    axis = 1 if left else 0
    shape = draw(_summand_shapes(rows, cols))
    # A summand with a row (column) for every sample cannot be cut into calls.
    in_calls = trans_b if left else not trans_a
    in_calls &= shape is None or (1, 1, *shape)[len(shape) :][axis] == 1
    constants = {"A": a} if left else {"B": b}
    names = ["A", "x"] if left else ["x", "B"]
    if shape is not None:
        constants["C"] = normal(rng, shape)
        names.append("C")
    attributes: dict[str, Any] = {"transA": int(trans_a), "transB": int(trans_b)}
    for name in ("alpha", "beta"):
        if draw(st.booleans()):
            attributes[name] = draw(st.sampled_from([0.5, -1.75, 3.0, 0.1]))
    node = helper.make_node("Gemm", names, ["y"], name="gemm", **attributes)
    x = b if left else a
    what = f"Gemm {a.shape} x {b.shape} weight {'A' if left else 'B'} C {shape} {attributes}"
    return Drawn(model_of([node], {"x": x}, {"y": 2}, constants), x, what, axis if in_calls else None)


@st.composite
def matmuls(draw: st.DrawFn) -> Drawn:
    left = draw(st.booleans())  # the weight is the first operand
    inner, other = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    vector = draw(st.booleans()) and draw(st.booleans())  # a weight with one axis
    axes = draw(st.integers(1, 4))
    stack = [SAMPLES, *(draw(st.integers(1, 3)) for _ in range(4))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if left:
        weight = normal(rng, (inner,) if vector else (other, inner))
        shape = [inner] if axes == 1 else [*stack[: axes - 2], inner, draw(st.integers(1, 4))]
    else:
        weight = normal(rng, (inner,) if vector else (inner, other))
        shape = [*stack[: axes - 1], inner]
    x = normal(rng, shape)
    if vector and axes == 1:  # a single number: no cancellation, or the tolerance has no scale
        x, weight = np.abs(x), np.abs(weight)
    node = helper.make_node("MatMul", ["W", "x"] if left else ["x", "W"], ["y"], name="matmul")
    what = f"MatMul weight {weight.shape} on the {'left' if left else 'right'}"
    model = model_of([node], {"x": x}, {"y": axes - vector}, {"W": weight})
    return Drawn(model, x, what, 0 if axes > (2 if left else 1) else None)


def _check_parity(drawn: Drawn) -> None:
    expected = by_onnxruntime(drawn.model, {"x": drawn.x})[0]
    for hardware in GEOMETRIES:
        session = HybridSession(drawn.model, hardware, "all-analog")
        assert len(session.analog) == 1
        assert error_of(session.run(None, {"x": drawn.x})[0], expected) <= TOLERANCE


def _in_calls_of(session: HybridSession, drawn: Drawn, size: int) -> bytes:
    session.program(seed=3)
    session.drift_to(LIONHEART.t_inference_s)
    parts = [session.run(None, {"x": drawn.x[first : first + size]})[0] for first in range(0, SAMPLES, size)]
    assert drawn.axis is not None
    return np.concatenate(parts, drawn.axis).tobytes()


def _check_batching(drawn: Drawn) -> None:
    if drawn.axis is None:
        return
    session = HybridSession(drawn.model, LIONHEART, "all-analog", seed=3)
    whole = session.run(None, {"x": drawn.x})[0]
    exact = by_onnxruntime(drawn.model, {"x": drawn.x})[0]
    if np.ptp(exact, axis=drawn.axis).any():  # else every window lies in the padding
        assert not np.array_equal(whole, exact), "no noise: the test shows nothing"
    assert {_in_calls_of(session, drawn, size) for size in (1, 7, SAMPLES)} == {whole.tobytes()}


@SETTINGS
@given(convolutions())
def test_any_conv_equals_onnxruntime(drawn: Drawn) -> None:
    _check_parity(drawn)


@SETTINGS
@given(gemms())
def test_any_gemm_equals_onnxruntime(drawn: Drawn) -> None:
    _check_parity(drawn)


@SETTINGS
@given(matmuls())
def test_any_matmul_equals_onnxruntime(drawn: Drawn) -> None:
    _check_parity(drawn)


@pytest.mark.slow
@settings(SETTINGS, max_examples=50)
@given(convolutions())
def test_noisy_conv_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


@settings(SETTINGS, max_examples=50)
@given(gemms())
def test_noisy_gemm_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


@pytest.mark.slow
@settings(SETTINGS, max_examples=50)
@given(matmuls())
def test_noisy_matmul_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


def test_noise_does_not_depend_on_batching_across_computing_units() -> None:
    """150 samples: more than two units of 64, cut at, before and after their borders; empty calls take no noise."""
    rng = np.random.default_rng(0)
    x = normal(rng, (150, 10))
    model = model_of([helper.make_node("MatMul", ["x", "W"], ["y"])], {"x": x}, {"y": 2}, {"W": normal(rng, (10, 4))})
    session = HybridSession(model, LIONHEART, "all-analog")
    answers = set()
    for cuts in ([], range(1, 150), [64, 128], [7, 63, 65, 65, 65, 120], [0, 0, 100], [150]):
        session.program(0)
        parts = [session.run(None, {"x": part})[0] for part in np.split(x, list(cuts))]
        answers.add(np.concatenate(parts).tobytes())
    assert len(answers) == 1


@pytest.mark.parametrize("op_type", ["Conv", "MatMul"])
def test_noise_of_groups_and_of_tiles_is_independent(op_type: str) -> None:
    """Equal weights and inputs on perfect devices: only the noise of reading tells the columns apart."""
    hardware = _on(SMALL, LIONHEART).model_copy(update={"devices": None})
    group: dict[str, Any]
    if op_type == "Conv":
        x, weight, group = np.ones((400, 12, 1), np.float32), np.ones((12, 1, 1), np.float32), {"group": 12}
    else:
        x, weight, group = np.ones((400, 1), np.float32), np.ones((1, 12), np.float32), {}
    model = model_of([helper.make_node(op_type, ["x", "W"], ["y"], **group)], {"x": x}, {"y": x.ndim}, {"W": weight})
    y = HybridSession(model, hardware, "all-analog").run(None, {"x": x})[0].reshape(400, 12)
    correlations = np.corrcoef(y, rowvar=False)[~np.eye(12, dtype=bool)]
    assert y.std(axis=0).min() > 0.04
    assert np.abs(correlations).max() < 0.25  # five standard deviations


@pytest.mark.parametrize(("auto_pad", "pads"), [("SAME_UPPER", (2, 1, 2, 2)), ("SAME_LOWER", (2, 2, 2, 1))])
def test_same_padding_with_dilation_is_the_standards(auto_pad: str, pads: tuple[int, ...]) -> None:
    """onnxruntime refuses it. Dilated kernels 5 and 4: four zeros on the first axis, three on the second."""
    rng = np.random.default_rng(1)
    x, weight = normal(rng, (2, 2, 6, 7)), normal(rng, (3, 2, 3, 2))

    def model(padding: dict[str, Any]) -> onnx.ModelProto:
        node = helper.make_node("Conv", ["x", "W"], ["y"], dilations=[2, 3], **padding)
        return model_of([node], {"x": x}, {"y": 4}, {"W": weight})

    result = HybridSession(model({"auto_pad": auto_pad}), IDEAL, "all-analog").run(None, {"x": x})[0]
    assert error_of(result, by_onnxruntime(model({"pads": pads}), {"x": x})[0]) <= TOLERANCE


EMPTY: dict[str, tuple[str, dict[str, tuple[int, ...]], tuple[int, ...], dict[str, Any]]] = {
    "conv": ("Conv", {"W": (4, 3, 3, 3), "B": (4,)}, (0, 3, 5, 5), {"pads": [1, 1, 1, 1]}),
    "grouped conv": ("Conv", {"W": (4, 1, 3)}, (0, 2, 5), {"group": 2}),
    "gemm": ("Gemm", {"W": (4, 6), "C": (6,)}, (0, 4), {}),
    "gemm, transposed": ("Gemm", {"W": (4, 6)}, (4, 0), {"transA": 1}),
    "matmul": ("MatMul", {"W": (4, 6)}, (0, 4), {}),
    "matmul of a stack": ("MatMul", {"W": (4, 6)}, (0, 3, 4), {}),
    "matmul by a vector": ("MatMul", {"W": (4,)}, (0, 4), {}),
    "no tokens": ("MatMul", {"W": (4, 6)}, (2, 0, 4), {}),
}


@pytest.mark.parametrize("hardware", [IDEAL, LIONHEART], ids=["ideal", "lionheart"])
@pytest.mark.parametrize("case", EMPTY)
def test_empty_batch(case: str, hardware: Hardware) -> None:
    op_type, constants, shape, attributes = EMPTY[case]
    x: Array = np.zeros(shape, np.float32)
    values = {name: np.ones(size, np.float32) for name, size in constants.items()}
    axes = x.ndim - (len(values["W"].shape) == 1)
    node = helper.make_node(op_type, ["x", *values], ["y"], **attributes)
    model = model_of([node], {"x": x}, {"y": axes}, values)
    session = HybridSession(model, hardware, "all-analog")
    assert len(session.analog) == 1
    result = session.run(None, {"x": x})[0]
    assert result.size == 0
    assert result.dtype == np.float32
    one, two = (
        ReferenceEvaluator(model).run(None, {"x": np.zeros([size or filled for size in shape], np.float32)})
        for filled in (1, 2)
    )
    assert isinstance(one, list)
    assert isinstance(two, list)
    # What grows with the empty axis is empty; references of older versions of onnx fail on nothing.
    assert result.shape == tuple(a if a == b else 0 for a, b in zip(one[0].shape, two[0].shape, strict=True))


@pytest.mark.parametrize("shape", [(0, 6), (4, 0)])
def test_empty_weight_stays_digital_with_the_reason(shape: tuple[int, int]) -> None:
    x = np.zeros((3, shape[0]), np.float32)
    node = helper.make_node("MatMul", ["x", "W"], ["y"], name="product")
    model = model_of([node], {"x": x}, {"y": 2}, {"W": np.zeros(shape, np.float32)})
    session = HybridSession(model, LIONHEART, "all-analog")
    assert not session.analog
    assert session.run(None, {"x": x})[0].shape == (3, shape[1])
    with pytest.raises(ModelError, match="'product' cannot be analog: weight W is empty"):
        HybridSession(model, LIONHEART, ["product"])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float64", 1e-6)])
@pytest.mark.parametrize("op_type", ["Conv", "Gemm", "MatMul"])
def test_other_precisions_keep_their_type(op_type: str, dtype: str, tolerance: float) -> None:
    """Products are computed in float32; outputs have the file's own type. numpy is the reference."""
    rng = np.random.default_rng(2)
    if op_type == "Conv":
        x, constants = normal(rng, (3, 9, 1, 1), dtype), {"W": normal(rng, (4, 9, 1, 1), dtype)}
        exact = np.einsum("nchw,ochw->no", x.astype(float), constants["W"].astype(float))[..., None, None]
    else:
        x, constants = normal(rng, (3, 9), dtype), {"W": normal(rng, (9, 4), dtype)}
        exact = x.astype(float) @ constants["W"].astype(float)
    if op_type != "MatMul":
        constants["B"] = normal(rng, (4,), dtype)
        exact = exact + constants["B"].astype(float).reshape(-1, *(1,) * (x.ndim - 2))
    node = helper.make_node(op_type, ["x", *constants], ["h"])
    follower = helper.make_node("Relu", ["h"], ["y"])
    model = model_of([node, follower], {"x": x}, {"h": x.ndim, "y": x.ndim}, constants, {"h": dtype, "y": dtype})
    session = HybridSession(model, IDEAL, "all-analog")
    assert len(session.analog) == 1
    for result, expected in zip(session.run(None, {"x": x}), (exact, np.maximum(exact, 0)), strict=True):
        assert error_of(result, expected.astype(dtype)) <= tolerance
