"""Digital products in number formats: against onnxruntime's own quantiser, and against formats as NumPy has them."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import compute_scale_zp

from lhc.canonical import canonical
from lhc.errors import ModelError
from lhc.hardware import DigitalCores
from lhc.hardware.description.digital import Precision
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.runtime import HybridExecutor
from lhc.runtime.digital_precision.activation_ranges import digital_arithmetic
from lhc.runtime.digital_precision.model_in_precision import (
    activation_codes,
    computes_as_file,
    int8_tensors,
    model_in_precision,
    rounded,
    weight_codes,
)
from lhc.runtime.onnxruntime.sessions import integer_products_are_exact
from tests.networks import drawn, parsed

Array = npt.NDArray[Any]

CHAIN = """
<ir_version: 8, opset_import: ["" : 17]>
chain (float[n, 3, 8, 8] x) => (float[n, 5] y) {
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1], group = 2> (r1, w2, b2)
    r2 = Relu (c2)
    pooled = GlobalAveragePool (r2)
    flat = Flatten (pooled)
    y = Gemm <transB = 1> (flat, w3, b3)
}
"""
SHAPES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 4, 3, 3), "b2": (8,), "w3": (5, 8), "b3": (5,)}
MATMULS = """
<ir_version: 8, opset_import: ["" : 17]>
attention (float[n, 6, 8] x) => (float[n, 6, 8] y) {
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    biased = Add (k, bk)
    turned = Transpose <perm = [0, 2, 1]> (biased)
    s = MatMul (q, turned)
    p = Softmax (s)
    y = MatMul (p, x)
}
"""
MATRICES = {"wq": (8, 8), "wk": (8, 8), "bk": (8,)}


class Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Samples for onnxruntime's calibration."""

    def __init__(self, x: Array) -> None:
        self._feeds = iter([{"x": x}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def _run(proto: onnx.ModelProto, x: Array) -> Array:
    """onnxruntime's answer, in float32 where this processor's kernels of integers saturate."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if not integer_products_are_exact():
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    found: Array = ort.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})[0]
    return found


def _arithmetic(proto: onnx.ModelProto, x: Array, **digital: Any) -> DigitalArithmetic:  # noqa: ANN401
    model = load_model(proto)
    graph = read_graph(model, {"x": x.shape})
    found = digital_arithmetic(model, graph, DigitalCores(**digital), [(len(x), {"x": x})])
    assert found is not None
    return found


def _in(proto: onnx.ModelProto, arithmetic: DigitalArithmetic) -> onnx.ModelProto:
    proto = load_model(proto).proto  # with names
    coded = int8_tensors(proto.graph.node, Constants(proto.graph), ["y"], arithmetic)
    return model_in_precision(proto, arithmetic, coded)


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
def test_int8_is_what_onnxruntimes_quantiser_makes(tmp_path: Path, per_channel: bool) -> None:
    proto = parsed(CHAIN, drawn(SHAPES))
    x = np.random.default_rng(1).normal(size=(32, 3, 8, 8)).astype(np.float32)
    onnx.save(proto, tmp_path / "f.onnx")
    quantize_static(
        tmp_path / "f.onnx",
        tmp_path / "q.onnx",
        Once(x),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu"],
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    theirs = _run(onnx.load(tmp_path / "q.onnx"), x)
    ours = _run(_in(proto, _arithmetic(proto, x, precision="int8", per_channel=per_channel)), x)
    # The same codes: calibrating, onnxruntime sums in another order, so that scales may differ in their last bit.
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()
    assert np.abs(ours - _run(proto, x)).max() > 1e-3 * np.abs(theirs).max()


def test_all_digital_executor_is_onnxruntime_on_that_network() -> None:
    proto = parsed(CHAIN, drawn(SHAPES))
    x = np.random.default_rng(1).normal(size=(16, 3, 8, 8)).astype(np.float32)
    arithmetic = _arithmetic(proto, x, precision="int8")
    model = load_model(proto)
    executor = HybridExecutor(model, read_graph(model), (), digital=arithmetic)
    executor.open()
    assert executor.prefix({"x": x})["y"].tobytes() == _run(_in(proto, arithmetic), x).tobytes()


@pytest.mark.parametrize("opset", [11, 17])
def test_fused_products_with_a_bias_load(opset: int) -> None:
    """onnxruntime joins MatMul and Add into a Gemm and quantises its bias, in a form that opset 11 does not know."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n, 8] x) => (float[n, 5] y) {{'
    proto = parsed(f"{text} m = MatMul (x, w)  y = Add (m, b) }}", drawn({"w": (8, 5), "b": (5,)}))
    x = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    model = load_model(proto)
    executor = HybridExecutor(model, read_graph(model), (), digital=_arithmetic(proto, x, precision="int8"))
    exact = _run(proto, x)
    assert 0 < np.abs(executor.prefix({"x": x})["y"] - exact).max() < 0.05 * np.abs(exact).max()


def test_products_of_activations_and_bias_behind_them_are_int8() -> None:
    proto = parsed(MATMULS, drawn(MATRICES))
    x = np.random.default_rng(2).normal(size=(8, 6, 8)).astype(np.float32)
    arithmetic = _arithmetic(proto, x, precision="int8")
    assert set(arithmetic.ranges) == {"x", "q", "biased", "turned", "s", "p", "y"}  # k is not stored: its bias is added
    made = _in(proto, arithmetic)
    exact, found = _run(proto, x), _run(made, x)
    assert 0 < np.abs(found - exact).max() < 0.2 * np.abs(exact).max()


@pytest.mark.parametrize("hidden", [-np.inf, -3.4e38, -1e9])
def test_a_mask_behind_a_product_of_activations_takes_no_codes(hidden: float) -> None:
    """As torch exports causal attention: the scores have codes of their own, and the mask is added to them as it is."""
    text = MATMULS.replace("p = Softmax (s)", "masked = Add (s, mask) p = Softmax (masked)")
    mask = np.triu(np.full((6, 6), hidden, np.float32), 1)
    proto = parsed(text, drawn(MATRICES) | {"mask": mask})
    x = np.random.default_rng(2).normal(size=(8, 6, 8)).astype(np.float32)
    arithmetic = _arithmetic(proto, x, precision="int8")
    assert set(arithmetic.ranges) == {"x", "q", "biased", "turned", "s", "p", "y"}
    exact, found = _run(proto, x), _run(_in(proto, arithmetic), x)
    assert 0 < np.abs(found - exact).max() < 0.2 * np.abs(exact).max()


def test_a_product_of_numbers_that_are_not_finite_is_computed_as_in_the_file() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) {'
    text += " m = MatMul (x, w)  y = Add (m, b) }"
    bias = np.array([0, -np.inf, 1, 2], np.float32)
    proto = parsed(text, drawn({"w": (4, 4)}) | {"b": bias})
    x = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    arithmetic = _arithmetic(proto, x, precision="int8")
    assert set(arithmetic.as_file.values()) == {"MatMul"}
    np.testing.assert_array_equal(_run(_in(proto, arithmetic), x), _run(proto, x))


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp16"])
def test_products_of_half_precision_activations_are_computed_as_in_the_file(precision: Precision) -> None:
    """No operand is a weight that would tell; the tensors do, within the network and as its inputs."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float16[n, 4, 4] x) => (float16[n, 4, 4] y) {'
        " s = MatMul (x, x)  p = Softmax (s)  y = MatMul (p, p) }"
    )
    proto = parsed(text, {})
    x = np.random.default_rng(1).normal(size=(4, 4, 4)).astype(np.float16)
    arithmetic = _arithmetic(proto, x, precision=precision)
    assert precision != "int8" or arithmetic.text + arithmetic.as_file_text == "the file's format"
    assert len(arithmetic.as_file) == 2
    np.testing.assert_array_equal(_run(_in(proto, arithmetic), x), _run(proto, x))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_formats_of_16_bits_round_operands_and_outputs(precision: Precision) -> None:
    kind = ml_dtypes.bfloat16 if precision == "bf16" else np.float16
    proto = parsed(MATMULS, drawn(MATRICES))
    x = np.random.default_rng(2).normal(size=(8, 6, 8)).astype(np.float32)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}

    def near(array: Array) -> Array:
        return array.astype(kind).astype(np.float32)

    q, k = (near(near(x) @ near(values[name])) for name in ("wq", "wk"))
    s = near(near(q) @ near(np.swapaxes(k + values["bk"], 1, 2)))
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    y = near(near(e / e.sum(axis=-1, keepdims=True)) @ near(x))
    found = _run(_in(proto, _arithmetic(proto, x, precision=precision)), x)
    assert np.abs(found - y).max() <= 2 * np.abs(y).max() * (2.0**-7 if precision == "bf16" else 2.0**-10)
    assert np.array_equal(near(found), found)


@pytest.mark.parametrize("high", ["fp32", "bf16", "fp16"])
def test_raised_products_are_in_the_high_precision(high: str) -> None:
    """Each between others in int8, which read and write codes."""
    proto = parsed(CHAIN, drawn(SHAPES))
    x = np.random.default_rng(1).normal(size=(16, 3, 8, 8)).astype(np.float32)
    low = _arithmetic(proto, x, precision="int8", high_precision=high)
    products = [node.name for node in load_model(proto).proto.graph.node if node.op_type in ("Conv", "Gemm")]
    exact = _run(proto, x)

    def error(raised: list[str]) -> float:
        return float(np.abs(_run(_in(proto, low.with_raised(raised)), x) - exact).max())

    whole = error([])
    assert error(products) <= {"fp32": 0.0, "fp16": 0.1 * whole, "bf16": whole}[high]
    assert all(0 < error([one]) < 2 * whole for one in products)


@pytest.mark.parametrize("high", ["fp32", "fp16"])
@given(raised=st.sets(st.sampled_from(["c1", "c2", "y"])))
def test_a_network_computes_as_its_file_where_no_product_is_in_another_format(high: str, raised: set[str]) -> None:
    """Its model is then the one of the file, whatever samples answer."""
    model = load_model(parsed(CHAIN, drawn(SHAPES)))
    names = {node.output[0]: node.name for node in model.proto.graph.node}
    x = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
    arithmetic = _arithmetic(model.proto, x, precision="int8", high_precision=high)
    arithmetic = arithmetic.with_raised(names[output] for output in raised)
    assert computes_as_file(model, arithmetic) == (high == "fp32" and len(raised) == 3)
    assert computes_as_file(model, arithmetic) == (_in(model.proto, arithmetic) == model.proto)


def test_what_stays_as_in_the_file_is_named() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2, 4] x) => (float[n, 2, 4] y) {'
        " m = MatMul (x, w)  t = Transpose <perm = [1, 0, 2]> (m)"
        " h, l = LSTM <hidden_size = 4> (t, wl, rl)  s = Squeeze (h, one)"
        " y = Transpose <perm = [1, 0, 2]> (s) }"
    )
    weights = drawn({"w": (4, 4), "wl": (1, 16, 4), "rl": (1, 16, 4)}) | {"one": np.array([1])}
    x = np.random.default_rng(1).normal(size=(4, 2, 4)).astype(np.float32)
    assert set(_arithmetic(parsed(text, weights), x, precision="int8").as_file.values()) == {"LSTM"}


def test_matrices_that_are_stacked_in_the_file_are_in_the_format_of_the_machine() -> None:
    """In memory each is a product of its own; all digital, the file's operator computes."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2, n, 4] x) => (float[2, n, 3] y) { y = MatMul (x, w) }'
    proto = parsed(text, drawn({"w": (2, 4, 3)}))
    x = np.random.default_rng(1).normal(size=(2, 16, 4)).astype(np.float32)
    model = canonical(load_model(proto))
    graph = read_graph(model, {"x": x.shape})
    arithmetic = digital_arithmetic(model, graph, DigitalCores(precision="int8"), [(16, {"x": x})])
    assert arithmetic is not None
    assert not arithmetic.as_file
    found = HybridExecutor(model, graph, (), digital=arithmetic).prefix({"x": x})["y"]
    exact = _run(proto, x)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_quantised_files_keep_their_own_precision() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) {'
        " q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  y = MatMul (d, w) }"
    )
    proto = parsed(
        text, {"w": np.eye(4, dtype=np.float32), "s": np.array(0.1, np.float32), "z": np.array(128, np.uint8)}
    )
    model = load_model(proto)
    x = np.ones((2, 4), np.float32)
    graph = read_graph(model, {"x": x.shape})
    assert digital_arithmetic(model, graph, DigitalCores(precision="int8"), [(2, {"x": x})]) is None


@pytest.mark.parametrize("opset", [10, 12])
def test_older_opsets(opset: int) -> None:
    """Scales by channel and bfloat16 came with opset 13: int8 takes onnxruntime's own operators, bf16 is refused."""
    proto = parsed(CHAIN.replace(": 17]", f": {opset}]"), drawn(SHAPES))
    x = np.random.default_rng(1).normal(size=(8, 3, 8, 8)).astype(np.float32)
    found, exact = _run(_in(proto, _arithmetic(proto, x, precision="int8")), x), _run(proto, x)
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    with pytest.raises(ModelError, match=f"bf16 digital products need opset 13, the file has {opset}"):
        _arithmetic(proto, x, precision="bf16")


FLOATS = st.floats(-1e6, 1e6, width=32)


@given(FLOATS, FLOATS)
def test_activation_codes_are_those_of_onnxruntime(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    scale, zero = activation_codes(low, high)
    ends = np.float32(min(low, 0)), np.float32(max(high, 0))
    theirs_zero, theirs = compute_scale_zp(*(np.array(end) for end in ends), np.array(0), np.array(255))
    assert scale == pytest.approx(float(np.squeeze(theirs)), rel=1e-6)
    assert abs(int(zero) - int(np.squeeze(theirs_zero))) <= 1
    # What the range says is held: both ends are within a step of a code.
    codes = np.clip(np.rint(np.array(ends, np.float64) / scale) + zero, 0, 255)
    assert np.abs((codes - int(zero)) * scale - ends).max() <= 1.001 * scale


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 0, 1]))
def test_weights_are_within_half_a_step_of_their_codes(seed: int, axis: int | None) -> None:
    weight = np.random.default_rng(seed).normal(size=(3, 5)).astype(np.float32)
    found = weight_codes(weight, axis)
    scale = found.scale if axis is None else np.expand_dims(found.scale, 1 - axis)
    assert np.abs(found.values * scale - weight).max() <= 0.5001 * found.scale.max()
    assert found.values.min() >= -127


@given(st.floats(-6e4, 6e4, width=32))
def test_rounding_to_16_bits_is_to_the_nearest(value: float) -> None:
    array = np.array([value], np.float32)
    assert rounded(array, "fp16") == array.astype(np.float16).astype(np.float32)
    assert abs(rounded(array, "bf16") - array) <= np.abs(array) * 2.0**-8 + 1e-40


def test_weights_that_two_products_share_have_scales_along_the_channels_of_each() -> None:
    """A tied autoencoder: the rows of the matrix are the channels of one product, its columns those of the other."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 6] x) => (float[n, 6] y) {'
    proto = parsed(f"{text} h = Gemm <transB = 1> (x, w)  y = MatMul (h, w) }}", drawn({"w": (6, 6)}))
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.geomspace(1, 9, 36, dtype="f").reshape(6, 6)))
    proto.graph.initializer[0].name = "w"
    x = np.random.default_rng(1).normal(size=(64, 6)).astype(np.float32)
    exact = _run(proto, x)
    error = np.abs(_run(_in(proto, _arithmetic(proto, x, precision="int8")), x) - exact).max()
    assert 0 < error < 0.03 * np.abs(exact).max()


def test_one_bias_for_all_channels_is_int8() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 8] x) => (float[n, 5] y) { y = Gemm (x, w, b) }'
    x = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
    weights = drawn({"w": (8, 5), "b": (1,)})
    one = parsed(text, weights)
    each = parsed(text, weights | {"b": np.repeat(weights["b"], 5)})
    arithmetic = _arithmetic(one, x, precision="int8")
    np.testing.assert_array_equal(_run(_in(one, arithmetic), x), _run(_in(each, arithmetic), x))


def _ranges_of_large_tensors(*blocks: Array) -> dict[str, tuple[float, float]]:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 8] x) => (float[n, 8] y) { y = MatMul (x, w) }'
    model = canonical(load_model(parsed(text, {"w": np.eye(8, dtype=np.float32)})))
    digital = DigitalCores(precision="int8", range_quantile=0.9)
    fed = [(len(x), {"x": x}) for x in blocks]
    found = digital_arithmetic(model, read_graph(model), digital, fed)
    assert found is not None
    return dict(found.ranges)


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_a_tensor_with_a_value_that_is_not_finite_has_no_range_however_few_values_are_kept(odd: float) -> None:
    x = np.random.default_rng(0).normal(size=(40_000, 8)).astype(np.float32)
    assert _ranges_of_large_tensors(x).keys() == {"x", "y"}
    x[20_000, 3] = odd
    assert _ranges_of_large_tensors(x) == {}


def test_blocks_count_by_their_values_in_a_range_that_is_a_quantile() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (40_000, 8)).astype(np.float32)
    last = np.full((1000, 8), 5, np.float32)
    low, high = _ranges_of_large_tensors(x, last)["x"]
    assert low == 0
    assert high == pytest.approx(np.quantile(np.concatenate([x, last]), 0.95), rel=0.01)
