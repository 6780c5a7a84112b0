"""Any Conv, Gemm and MatMul on tiles equals onnxruntime, and so does any way of wiring them.

Drawn operators run all-analog on the parity geometry of tiles so small that every matrix is split, and of 256x255.
Under noise, the same samples give the same bytes however they are cut into calls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lhc.errors import ModelError
from lhc.hardware import Hardware, Tiles
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.runtime import HybridSession
from lhc.runtime.cut import cut_graph, segment_model
from lhc.runtime.matrix import AnalogMatrix

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

LIONHEART = Hardware.load("lionheart")
IDEAL = Hardware.load("ideal")
SMALL = Tiles(rows=7, cols=5)
"""So small that most drawn matrices are split over inputs and outputs."""
TOLERANCE = 1e-5
"""Greatest error allowed, relative to the greatest magnitude of the output."""
SAMPLES = 15
"""In calls of 1, of 7 (the last one short), and all at once."""
SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=150, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def _on(tiles: Tiles, hardware: Hardware) -> Hardware:
    return hardware.model_copy(update={"tiles": tiles})


GEOMETRIES = (_on(SMALL, LIONHEART).geometry, LIONHEART.geometry)


def _normal(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> Array:
    return rng.normal(size=tuple(shape)).astype(dtype)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Feeds,
    outputs: Mapping[str, int],
    constants: Feeds,
    dtypes: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A model whose inputs have a symbolic first axis.

    Args:
        nodes: operators.
        inputs: name -> an example.
        outputs: name -> number of axes.
        constants: name -> initializer.
        dtypes: of outputs that are not float32.
    """

    def info(name: str, dtype: npt.DTypeLike, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        list(nodes),
        "drawn",
        [info(n, a.dtype, ["batch", *a.shape[1:]] if a.ndim else []) for n, a in inputs.items()],
        [info(n, (dtypes or {}).get(n, "float32"), [f"{n}_{i}" for i in range(axes)]) for n, axes in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _onnxruntime(model: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(feeds))]


def _error(result: Array, expected: Array) -> float:
    """The greatest error, relative to the greatest magnitude that is expected."""
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(result.astype(np.float64) - expected.astype(np.float64)).max(initial=0)) / scale


def _assert_equal(
    model: onnx.ModelProto, feeds: Feeds, hardware: Hardware = IDEAL, analog: int = 1, tolerance: float = TOLERANCE
) -> HybridSession:
    """All-analog equals onnxruntime, with that many analog layers; returns the session."""
    session = HybridSession(model, hardware, "all-analog")
    assert len(session.analog) == analog
    expected = _onnxruntime(model, feeds)
    results = session.run(None, feeds)
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        assert _error(result, reference) <= tolerance
    return session


# --- drawn operators ---------------------------------------------------------------------------------------------


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
    constants = {"W": _normal(rng, (outputs, channels // groups, *kernel))}
    if bias := draw(st.booleans()):
        constants["B"] = _normal(rng, (outputs,))
    node = helper.make_node("Conv", ["x", *constants], ["y"], name="conv", **attributes)
    x = _normal(rng, (SAMPLES, channels, *sizes))
    what = f"Conv {channels}->{outputs} kernel {kernel} bias {bias} {attributes}"
    return Drawn(_model([node], {"x": x}, {"y": x.ndim}, constants), x, what)


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
    a = _normal(rng, (inner, rows) if trans_a else (rows, inner))
    b = _normal(rng, (cols, inner) if trans_b else (inner, cols))
    axis = 1 if left else 0
    shape = draw(_summand_shapes(rows, cols))
    # A summand with a row (column) for every sample cannot be cut into calls.
    in_calls = trans_b if left else not trans_a
    in_calls &= shape is None or (1, 1, *shape)[len(shape) :][axis] == 1
    constants = {"A": a} if left else {"B": b}
    names = ["A", "x"] if left else ["x", "B"]
    if shape is not None:
        constants["C"] = _normal(rng, shape)
        names.append("C")
    attributes: dict[str, Any] = {"transA": int(trans_a), "transB": int(trans_b)}
    for name in ("alpha", "beta"):
        if draw(st.booleans()):
            attributes[name] = draw(st.sampled_from([0.5, -1.75, 3.0, 0.1]))
    node = helper.make_node("Gemm", names, ["y"], name="gemm", **attributes)
    x = b if left else a
    what = f"Gemm {a.shape} x {b.shape} weight {'A' if left else 'B'} C {shape} {attributes}"
    return Drawn(_model([node], {"x": x}, {"y": 2}, constants), x, what, axis if in_calls else None)


@st.composite
def matmuls(draw: st.DrawFn) -> Drawn:
    left = draw(st.booleans())  # the weight is the first operand
    inner, other = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    vector = draw(st.booleans()) and draw(st.booleans())  # a weight with one axis
    axes = draw(st.integers(1, 4))
    stack = [SAMPLES, *(draw(st.integers(1, 3)) for _ in range(4))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if left:
        weight = _normal(rng, (inner,) if vector else (other, inner))
        shape = [inner] if axes == 1 else [*stack[: axes - 2], inner, draw(st.integers(1, 4))]
    else:
        weight = _normal(rng, (inner,) if vector else (inner, other))
        shape = [*stack[: axes - 1], inner]
    x = _normal(rng, shape)
    if vector and axes == 1:  # a single number: no cancellation, or the tolerance has no scale
        x, weight = np.abs(x), np.abs(weight)
    node = helper.make_node("MatMul", ["W", "x"] if left else ["x", "W"], ["y"], name="matmul")
    what = f"MatMul weight {weight.shape} on the {'left' if left else 'right'}"
    model = _model([node], {"x": x}, {"y": axes - vector}, {"W": weight})
    return Drawn(model, x, what, 0 if axes > (2 if left else 1) else None)


def _check_parity(drawn: Drawn) -> None:
    expected = _onnxruntime(drawn.model, {"x": drawn.x})[0]
    for hardware in GEOMETRIES:
        session = HybridSession(drawn.model, hardware, "all-analog")
        assert len(session.analog) == 1
        assert _error(session.run(None, {"x": drawn.x})[0], expected) <= TOLERANCE


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
    exact = _onnxruntime(drawn.model, {"x": drawn.x})[0]
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


@settings(SETTINGS, max_examples=50)
@given(convolutions())
def test_noisy_conv_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


@settings(SETTINGS, max_examples=50)
@given(gemms())
def test_noisy_gemm_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


@settings(SETTINGS, max_examples=50)
@given(matmuls())
def test_noisy_matmul_does_not_depend_on_batching(drawn: Drawn) -> None:
    _check_batching(drawn)


def test_noise_does_not_depend_on_batching_across_computing_units() -> None:
    """150 samples: more than two units of 64, cut at, before and after their borders; empty calls take no noise."""
    rng = np.random.default_rng(0)
    x = _normal(rng, (150, 10))
    model = _model([helper.make_node("MatMul", ["x", "W"], ["y"])], {"x": x}, {"y": 2}, {"W": _normal(rng, (10, 4))})
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
    model = _model([helper.make_node(op_type, ["x", "W"], ["y"], **group)], {"x": x}, {"y": x.ndim}, {"W": weight})
    y = HybridSession(model, hardware, "all-analog").run(None, {"x": x})[0].reshape(400, 12)
    correlations = np.corrcoef(y, rowvar=False)[~np.eye(12, dtype=bool)]
    assert y.std(axis=0).min() > 0.04
    assert np.abs(correlations).max() < 0.25  # five standard deviations


# --- what drawing does not reach ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("auto_pad", "pads"), [("SAME_UPPER", (2, 1, 2, 2)), ("SAME_LOWER", (2, 2, 2, 1))])
def test_same_padding_with_dilation_is_the_standards(auto_pad: str, pads: tuple[int, ...]) -> None:
    """onnxruntime refuses it. Dilated kernels 5 and 4: four zeros on the first axis, three on the second."""
    rng = np.random.default_rng(1)
    x, weight = _normal(rng, (2, 2, 6, 7)), _normal(rng, (3, 2, 3, 2))

    def model(padding: dict[str, Any]) -> onnx.ModelProto:
        node = helper.make_node("Conv", ["x", "W"], ["y"], dilations=[2, 3], **padding)
        return _model([node], {"x": x}, {"y": 4}, {"W": weight})

    result = HybridSession(model({"auto_pad": auto_pad}), IDEAL, "all-analog").run(None, {"x": x})[0]
    assert _error(result, _onnxruntime(model({"pads": pads}), {"x": x})[0]) <= TOLERANCE


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
    model = _model([node], {"x": x}, {"y": axes}, values)
    session = HybridSession(model, hardware, "all-analog")
    assert len(session.analog) == 1
    result = session.run(None, {"x": x})[0]
    assert result.size == 0
    assert result.dtype == np.float32
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    assert isinstance(expected, list)
    assert result.shape == expected[0].shape


@pytest.mark.parametrize("shape", [(0, 6), (4, 0)])
def test_empty_weight_stays_digital_with_the_reason(shape: tuple[int, int]) -> None:
    x = np.zeros((3, shape[0]), np.float32)
    node = helper.make_node("MatMul", ["x", "W"], ["y"], name="product")
    model = _model([node], {"x": x}, {"y": 2}, {"W": np.zeros(shape, np.float32)})
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
        x, constants = _normal(rng, (3, 9, 1, 1), dtype), {"W": _normal(rng, (4, 9, 1, 1), dtype)}
        exact = np.einsum("nchw,ochw->no", x.astype(float), constants["W"].astype(float))[..., None, None]
    else:
        x, constants = _normal(rng, (3, 9), dtype), {"W": _normal(rng, (9, 4), dtype)}
        exact = x.astype(float) @ constants["W"].astype(float)
    if op_type != "MatMul":
        constants["B"] = _normal(rng, (4,), dtype)
        exact = exact + constants["B"].astype(float).reshape(-1, *(1,) * (x.ndim - 2))
    node = helper.make_node(op_type, ["x", *constants], ["h"])
    follower = helper.make_node("Relu", ["h"], ["y"])
    model = _model([node, follower], {"x": x}, {"h": x.ndim, "y": x.ndim}, constants, {"h": dtype, "y": dtype})
    session = HybridSession(model, IDEAL, "all-analog")
    assert len(session.analog) == 1
    for result, expected in zip(session.run(None, {"x": x}), (exact, np.maximum(exact, 0)), strict=True):
        assert _error(result, expected.astype(dtype)) <= tolerance


# --- wiring ------------------------------------------------------------------------------------------------------


def _linear(rng: np.random.Generator, *names: str, inputs: int = 6, outputs: int = 6) -> dict[str, Array]:
    return {name: _normal(rng, (inputs, outputs)) for name in names}


@pytest.fixture
def programmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tile sets that were programmed, in order."""
    seen: list[str] = []
    program: Callable[..., None] = AnalogMatrix.program

    def watched(self: AnalogMatrix, seed: int, draw: int) -> None:
        seen.append(self.tile_set)
        program(self, seed, draw)

    monkeypatch.setattr(AnalogMatrix, "program", watched)
    return seen


def test_nodes_that_share_weights_share_tiles_programmed_once(programmed: list[str]) -> None:
    """The same matrix as B of a MatMul, transposed as B of a Gemm, and once more under another name."""
    rng = np.random.default_rng(3)
    x, weight = _normal(rng, (5, 6)), _normal(rng, (6, 4))
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Gemm", ["x", "V"], ["b"], transB=1),
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("MatMul", ["n", "W"], ["c"]),
        helper.make_node("MatMul", ["x", "other"], ["d"]),
    ]
    constants = {"W": weight, "V": weight.T.copy(), "other": 2 * weight}
    outputs = dict.fromkeys("abcd", 2)
    session = _assert_equal(_model(nodes, {"x": x}, outputs, constants), {"x": x}, analog=4)
    assert len(programmed) == 2
    assert len(set(programmed)) == 2
    programmed.clear()
    session.program(1)
    assert len(programmed) == 2
    # One chip holds W: what its devices get wrong is the same in every node. Devices alone, without noise of a read.
    devices = LIONHEART.model_copy(update={"adc": LIONHEART.geometry.adc, "dac": LIONHEART.geometry.dac})
    a, b, c, d = HybridSession(_model(nodes, {"x": x}, outputs, constants), devices, "all-analog").run(None, {"x": x})
    assert np.array_equal(a, b)
    assert np.allclose(a, -c, atol=1e-6)
    assert np.abs(2 * a - d).max() > 0.01
    assert np.abs(a - x @ weight).max() > 0.01


def test_biases_computed_at_run_time_and_constant_activations() -> None:
    rng = np.random.default_rng(4)
    feeds = {"x": _normal(rng, (3, 2, 5, 5)), "b": _normal(rng, (4,)), "z": _normal(rng, (3, 6))}
    nodes = [
        helper.make_node("Exp", ["b"], ["bias"]),
        helper.make_node("Conv", ["x", "K", "bias"], ["y"]),
        helper.make_node("MatMul", ["z", "W"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["h", "V", "r"], ["g"], beta=0.5),  # C comes from an analog layer
        helper.make_node("Conv", ["X", "K", "bias"], ["c"]),
        helper.make_node("Gemm", ["V", "W"], ["v"]),
    ]
    constants = {"K": _normal(rng, (4, 2, 3, 3)), "X": _normal(rng, (1, 2, 4, 4)), **_linear(rng, "W", "V")}
    _assert_equal(_model(nodes, feeds, {"y": 4, "g": 2, "c": 4, "v": 2}, constants), feeds, analog=5)


def test_subgraphs_capture_analog_outputs() -> None:
    """An If whose branches read an analog output, a constant and, one If deeper, another analog output."""
    rng = np.random.default_rng(5)

    def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
        return helper.make_graph(list(nodes), name, [], [output])

    inner = helper.make_node(
        "If",
        ["deep"],
        ["i"],
        then_branch=branch("inner_then", helper.make_node("Sub", ["b", "S"], ["it"])),
        else_branch=branch("inner_else", helper.make_node("Neg", ["b"], ["ie"])),
    )
    chosen = helper.make_node(
        "If",
        ["flag"],
        ["y"],
        then_branch=branch("then", helper.make_node("Add", ["a", "S"], ["t"])),
        else_branch=branch("else", inner, helper.make_node("Mul", ["i", "a"], ["e"])),
    )
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "V"], ["b"]),
        chosen,
        helper.make_node("MatMul", ["y", "W"], ["z"]),
    ]
    constants = {"S": np.array([0.5], np.float32), **_linear(rng, "W", "V")}
    x = _normal(rng, (4, 6))
    for flag in (True, False):
        for deep in (True, False):
            feeds = {"x": x, "flag": np.asarray(flag), "deep": np.asarray(deep)}
            _assert_equal(_model(nodes, feeds, {"z": 2}, constants), feeds, analog=3)


def test_loop_body_captures_an_analog_output() -> None:
    rng = np.random.default_rng(6)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "a"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            info("i", onnx.TensorProto.INT64, []),
            info("go", onnx.TensorProto.BOOL, []),
            info("state", onnx.TensorProto.FLOAT, None),
        ],
        [info("on", onnx.TensorProto.BOOL, []), info("next", onnx.TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("Loop", ["trips", "", "x"], ["sum"], body=body),
        helper.make_node("MatMul", ["sum", "V"], ["y"]),
    ]
    feeds = {"x": _normal(rng, (4, 6))}
    constants = {"trips": np.array(3, np.int64), **_linear(rng, "W", "V")}
    _assert_equal(_model(nodes, feeds, {"y": 2}, constants), feeds, analog=2)


def test_outputs_that_are_inner_tensors_inputs_and_constants() -> None:
    rng = np.random.default_rng(7)
    x = _normal(rng, (4, 6))
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["a"]),  # analog, an output, and read by two others
        helper.make_node("Relu", ["a"], ["r"]),  # digital, an output, and read by an analog layer
        helper.make_node("MatMul", ["r", "V"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    outputs = {"r": 2, "x": 2, "y": 2, "W": 2, "a": 2}
    session = _assert_equal(_model(nodes, {"x": x}, outputs, _linear(rng, "W", "V")), {"x": x}, analog=2)
    everything = dict(zip(outputs, session.run(None, {"x": x}), strict=True))
    for names in (["a"], ["y", "r"], ["x"], ["W", "y", "W"], []):
        some = session.run(names, {"x": x})
        assert [value.tobytes() for value in some] == [everything[name].tobytes() for name in names]


def test_output_that_nothing_computes_is_the_input_itself() -> None:
    rng = np.random.default_rng(8)
    feeds = {"x": _normal(rng, (4, 6)), "unused": _normal(rng, (2, 2))}
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    model = _model([node], feeds, {"unused": 2, "x": 2}, _linear(rng, "W"))
    _assert_equal(model, feeds)


def _network(wiring: str) -> tuple[list[onnx.NodeProto], int]:
    """Operators from x to y with the weights U, V and W, and how many of them are products."""
    make = helper.make_node
    if wiring == "in sequence":
        return [make("MatMul", ["x", "U"], ["a"]), make("Gemm", ["a", "V"], ["y"], transB=1)], 2
    if wiring == "in sequence, digital between":
        return [make("MatMul", ["x", "U"], ["a"]), make("Relu", ["a"], ["r"]), make("MatMul", ["r", "V"], ["y"])], 2
    if wiring == "in parallel":
        return [make("MatMul", ["x", "U"], ["a"]), make("MatMul", ["x", "V"], ["b"]), make("Add", ["a", "b"], ["y"])], 2
    if wiring == "around a skip":
        return [
            make("MatMul", ["x", "U"], ["a"]),
            make("Add", ["a", "x"], ["s"]),
            make("MatMul", ["s", "V"], ["b"]),
            make("Add", ["b", "s"], ["t"]),
            make("MatMul", ["t", "W"], ["c"]),
            make("Sum", ["a", "b", "c", "x"], ["y"]),
        ], 3
    if wiring == "branches of unequal depth":
        return [
            make("MatMul", ["x", "U"], ["a"]),
            make("MatMul", ["a", "V"], ["b"]),
            make("Sigmoid", ["x"], ["d"]),
            make("MatMul", ["d", "W"], ["e"]),
            make("Mul", ["b", "e"], ["f"]),
            make("MatMul", ["f", "W"], ["g"]),
            make("Max", ["g", "d", "a"], ["y"]),
        ], 4
    assert wiring == "constants across cuts"
    return [
        make("Constant", [], ["shape"], value_ints=[-1, 3]),
        make("Constant", [], ["half"], value_float=0.5),
        make("Constant", [], ["two"], value=numpy_helper.from_array(np.array([2.0], np.float32))),
        make("Mul", ["x", "half"], ["m"]),
        make("Mul", ["m", "two"], ["n"]),
        make("MatMul", ["n", "U"], ["a"]),
        make("Reshape", ["a", "shape"], ["b"]),
        make("Mul", ["b", "half"], ["c"]),
        make("Mul", ["c", "two"], ["y"]),
    ], 1


WIRINGS = [
    "in sequence",
    "in sequence, digital between",
    "in parallel",
    "around a skip",
    "branches of unequal depth",
    "constants across cuts",
]


def _wired(wiring: str) -> tuple[onnx.ModelProto, dict[str, Array], int]:
    rng = np.random.default_rng(9)
    nodes, products = _network(wiring)
    x = _normal(rng, (4, 6))
    return _model(nodes, {"x": x}, {"y": 2}, _linear(rng, "U", "V", "W")), {"x": x}, products


@pytest.mark.parametrize("wiring", WIRINGS)
def test_any_wiring_and_any_placement_equals_onnxruntime(wiring: str) -> None:
    model, feeds, products = _wired(wiring)
    _assert_equal(model, feeds, analog=products)
    expected = _onnxruntime(model, feeds)[0]
    names = [node.name for node in load_model(model).proto.graph.node if node.op_type in ("MatMul", "Gemm")]
    for chosen in range(1 << products):
        placement = [name for i, name in enumerate(names) if chosen >> i & 1]
        session = HybridSession(model, IDEAL, placement)
        assert session.analog == set(placement)
        result = session.run(None, feeds)[0]
        assert _error(result, expected) <= TOLERANCE
        if not placement:
            assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_segments_define_every_tensor_once(wiring: str) -> None:
    proto, _, _ = _wired(wiring)
    model = load_model(proto)
    graph = read_graph(model, sizes=False)
    analog = frozenset(layer.name for layer in graph.candidates)
    nodes = {node.name: node for node in model.proto.graph.node}
    types: dict[str, int] = dict.fromkeys((t for layer in graph.layers for t in (*layer.inputs, *layer.outputs)), 1)
    for segment, _ in cut_graph(graph, analog, Constants(model.proto.graph)).stages:
        if segment is not None:
            part = segment_model(model, segment, nodes, types).graph
            defined = [
                *(value.name for value in part.input),
                *(tensor.name for tensor in part.initializer),
                *(tensor for node in part.node for tensor in node.output),
            ]
            assert len(defined) == len(set(defined))
            assert {t for node in part.node for t in node.input} <= set(defined)


def test_sequence_between_segments_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(10)
    x = _normal(rng, (4, 6))
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0),
        helper.make_node("MatMul", ["x", "W"], ["a"]),
        helper.make_node("ArgMax", ["a"], ["where"], axis=1),
        helper.make_node("ReduceMin", ["where"], ["index"], keepdims=0),
        helper.make_node("SequenceAt", ["parts", "index"], ["y"]),
    ]
    constants = {"W": _normal(rng, (6, 4))}
    model = _model(nodes, {"x": x}, {"y": 2}, constants)
    assert np.array_equal(HybridSession(model, IDEAL).run(None, {"x": x})[0], _onnxruntime(model, {"x": x})[0])
    with pytest.raises(ModelError, match=r"'parts' passes between digital segments and is a seq\(tensor\(float\)\)"):
        HybridSession(model, IDEAL, "all-analog")


def test_the_order_of_the_feeds_changes_nothing() -> None:
    rng = np.random.default_rng(11)
    feeds = {"x": _normal(rng, (6, 5)), "scale": _normal(rng, (5,))}  # x has the samples: it is the model's first input
    nodes = [helper.make_node("Mul", ["x", "scale"], ["s"]), helper.make_node("MatMul", ["s", "W"], ["y"])]
    model = _model(nodes, feeds, {"y": 2}, {"W": _normal(rng, (5, 3))})
    answers = []
    for names in (("x", "scale"), ("scale", "x")):
        session = HybridSession(model, LIONHEART, "all-analog")
        answers += [[session.run(None, {name: feeds[name] for name in names})[0].tobytes() for _ in range(2)]]
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_nodes_that_share_tiles_read_them_with_noise_of_their_own() -> None:
    """Two reads of one tile: the same devices, so the same weights, but never the same noise."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 8] x) => (float[N, 8] y, float[N, 8] z) {'
    model = onnx.parser.parse_model(text + " y = MatMul (x, w) z = MatMul (x, w) }")
    weight = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    feeds = {"x": np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)}
    noisy = HybridSession(model, placement="all-analog").run(None, feeds)
    assert not np.array_equal(noisy[0], noisy[1])
    hardware = Hardware.load("lionheart")
    quiet = hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0})})
    same = HybridSession(model, hardware=quiet, placement="all-analog").run(None, feeds)
    assert np.array_equal(same[0], same[1])
