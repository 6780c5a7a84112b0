"""Operators on integers are products of what their integers stand for, where that is asked for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lhc.canonical import canonical
from lhc.graph import Origin, obstacle
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.pipeline.inputs.model_source import open_model
from lhc.runtime.onnxruntime.sessions import Array, create_session
from tests.canonical.made_models import RNG, dynamic_attention
from tests.networks import parsed

pytestmark = pytest.mark.analog

U8, I8 = np.uint8, np.int8
HELD: dict[str, Array] = {
    "one": np.array([0.02], np.float32),
    "ys": np.array(0.3, np.float32),
    "z": np.array(120, np.uint8),
    "w": RNG.integers(0, 128, (6, 5)).astype(U8),
    "turned": RNG.integers(0, 128, (5, 6)).astype(U8),
    "ws": RNG.uniform(0.01, 0.03, 5).astype(np.float32),
    "wz": RNG.integers(50, 70, 5).astype(U8),
    "bias": RNG.integers(-900, 900, 5).astype(np.int32),
    "added": RNG.normal(size=5).astype(np.float32),
    "half": np.array(0.5, np.float16),
    "k": RNG.integers(-64, 64, (4, 3, 3, 2)).astype(I8),
    "ks": RNG.uniform(0.01, 0.03, 4).astype(np.float32),
    "kz": np.zeros(4, I8),
    "s": np.array(0.01, np.float32),
    "stack": RNG.integers(0, 128, (2, 6, 5)).astype(U8),
}
BODIES = {
    "MatMul by column": ("uint8[N, 4, 6] x", "uint8[N, 4, 5] y", "QLinearMatMul(x, one, z, w, ws, wz, ys, z)"),
    "Gemm": ("uint8[N, 6] x", "uint8[N, 5] y", "com.microsoft.QGemm(x, one, z, w, ws, wz, bias, ys, z)"),
    "Gemm to floats": (
        "uint8[N, 6] x",
        "float[N, 5] y",
        "com.microsoft.QGemm<alpha = 0.5, transB = 1>(x, one, z, turned, ws, wz, bias)",
    ),
    "Conv": (
        "uint8[N, 3, 6, 5] x",
        "uint8[N, 4, P, Q] y",
        "QLinearConv<strides = [2, 1], pads = [1, 0, 1, 0]>(x, one, z, k, ks, kz, ys, z)",
    ),
    "ConvInteger": ("uint8[N, 3, 6, 5] x", "int32[N, 4, P, Q] y", "ConvInteger<pads = [1, 1, 1, 1]>(x, k, z)"),
    "MatMulInteger": ("uint8[N, 6] x", "int32[N, 5] y", "MatMulInteger(x, w, z, wz)"),
    "MatMulIntegerToFloat": (
        "uint8[N, 6] x",
        "float[N, 5] y",
        "com.microsoft.MatMulIntegerToFloat(x, w, one, ws, z, wz, added)",
    ),
    "MatMulInteger without zero points": ("int8[N, 6] x", "int32[N, 5] y", "MatMulInteger(x, w)"),
}


def made(read: str, written: str, body: str) -> onnx.ModelProto:
    return parsed(
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>\n'
        f"net ({read}) => ({written}) {{ [product] y = {body} }}",
        HELD,
    )


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_forms_compute_the_same_but_for_one_step(case: tuple[str, str, str]) -> None:
    file = made(*case)
    form = canonical(load_model(file), dequantize=True)
    assert {"Conv", "Gemm", "MatMul"} & {node.op_type for node in form.proto.graph.node}
    shape = [int(part) for part in case[0].partition("[")[2].partition("]")[0].split(",")[1:]]
    dtype = I8 if case[0].startswith("int8") else U8
    x = RNG.integers(-128 if dtype == I8 else 0, 127, (3, *shape)).astype(dtype)
    expected, found = (create_session(m, "net").run(None, {"x": x})[0] for m in (file, form.proto))
    assert found.dtype == expected.dtype
    step = 1 if expected.dtype.kind in "iu" else 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=step, rtol=0)
    assert len({*expected.reshape(-1).tolist()}) > 5


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_without_the_option_they_stay_and_name_it(case: tuple[str, str, str]) -> None:
    file = made(*case)
    file.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    opened = open_model(file)
    assert opened.model.file is None
    (layer,) = opened.graph().multiplying
    why = obstacle(layer)
    assert why is not None
    assert why.reason == "unsupported"
    assert "--dequantize places it by its dequantised weights" in why.detail
    (placed,) = open_model(file, dequantize=True).graph().candidates
    assert obstacle(placed) is None
    assert placed.work is not None
    assert layer.work is not None
    assert placed.work.macs == layer.work.macs


@pytest.mark.parametrize(
    ("read", "body"),
    [
        ("uint8[2, 4, 6] x", "QLinearMatMul(x, one, z, stack, s, z, ys, z)"),
        ("uint8[2, 6] x, float s2", "QLinearMatMul(x, s2, z, w, ws, wz, ys, z)"),
        ("uint8[3, 6] x, uint8[3] rows", "MatMulInteger(x, w, rows)"),
        ("uint8[5, 6] x, uint8[6, 5] v", "MatMulInteger(x, v)"),
        ("uint8[2, 6] x", "com.microsoft.MatMulIntegerToFloat(x, w, half, half)"),
    ],
    ids=["a stack", "a scale at run time", "a zero point for every row", "two activations", "float16"],
)
def test_what_is_no_product_of_a_stored_matrix_stays(read: str, body: str) -> None:
    written = "int32[P, Q] y" if body.startswith("MatMulInteger") else "uint8[P, Q] y"
    if "stack" in body:
        written = "uint8[P, Q, R] y"
    if "half" in body:
        written = "float16[P, Q] y"
    model = load_model(made(read, written, body))
    assert canonical(model, dequantize=True).file is None
    read_graph(model)


def test_attention_on_integers_names_the_option(tmp_path: Path) -> None:
    graph = open_model(dynamic_attention(tmp_path)).graph({"x": (1, 6, 32), "mask": (1, 6)})
    (why,) = (layer.refusal for layer in graph.multiplying if layer.op_type == "com.microsoft::QAttention")
    assert why is not None
    assert "--dequantize places it by its dequantised weights" in why.detail


def test_attention_on_integers_takes_keys_of_earlier_calls(tmp_path: Path) -> None:
    file = dynamic_attention(tmp_path)
    (node,) = (node for node in file.graph.node if node.op_type == "QAttention")
    node.input[8] = "past"
    node.output.append("present")
    kept = helper.make_tensor_value_info("past", TensorProto.FLOAT, [2, 2, 4, 3, 8])
    file.graph.input.append(kept)
    file.graph.output.append(helper.make_tensor_value_info("present", TensorProto.FLOAT, None))
    file.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 9
    assert any(one.kind.endswith("QAttention") for one in origins(file))
    feeds = {
        "x": RNG.normal(size=(2, 6, 32)).astype(np.float32),
        "mask": np.array([[0] + 8 * [1], 9 * [1]], np.int32),
        "past": RNG.normal(size=(2, 2, 4, 3, 8)).astype(np.float32),
    }
    form = canonical(OnnxModel(file), dequantize=True).proto
    expected, found = (create_session(model, "net").run(None, feeds) for model in (file, form))
    for wanted, one in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, wanted, atol=1e-4 * np.abs(np.asarray(wanted)).max())


def origins(file: onnx.ModelProto) -> list[Origin]:
    form = canonical(OnnxModel(file), dequantize=True)
    return [] if form.file is None else [*form.file.origins.values()]
