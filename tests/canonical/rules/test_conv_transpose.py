"""ConvTranspose is a convolution over the spread input, whatever its attributes."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lhc
from lhc.canonical import canonical, transposed_again
from lhc.onnx_io import load_model, read_graph
from lhc.passes.decide.user_selection import match_layers
from lhc.pipeline.plan_table import plan_table
from lhc.report.exports.json_documents import analysis_document
from lhc.runtime.onnxruntime.sessions import create_session
from tests.canonical.made_models import RNG

pytestmark = pytest.mark.analog

HW = "4, H, W"
CASES = {
    "plain": ("group = 1", HW, (4, 3, 3, 3), 17),
    "stride is kernel": ("strides = [2, 2]", HW, (4, 3, 2, 2), 17),
    "kernel below the stride": ("strides = [3, 2]", HW, (4, 3, 1, 1), 17),
    "pads": ("strides = [2, 2], pads = [1, 0, 1, 2]", HW, (4, 3, 4, 3), 17),
    "pads beyond the kernel": ("strides = [2, 1], pads = [2, 1, 3, 2]", HW, (4, 3, 2, 2), 17),
    "output padding": ("strides = [2, 3], pads = [1, 1, 1, 1], output_padding = [1, 2]", HW, (4, 3, 3, 3), 17),
    "groups": ("strides = [2, 2], group = 2", HW, (4, 3, 3, 2), 17),
    "depthwise": ("strides = [2, 2], group = 4", HW, (4, 1, 3, 3), 17),
    "dilations": ("strides = [2, 1], dilations = [2, 3], pads = [1, 2, 0, 1]", HW, (4, 3, 3, 2), 17),
    "one axis": ("strides = [4], pads = [2, 2]", "4, T", (4, 3, 8), 17),
    "three axes": ("strides = [2, 1, 2]", "4, D, H, W", (4, 3, 2, 2, 3), 17),
    "padded above": ('strides = [2, 2], auto_pad = "SAME_UPPER"', HW, (4, 3, 3, 3), 17),
    "padded below": ('strides = [2, 2], auto_pad = "SAME_LOWER"', HW, (4, 3, 3, 4), 17),
    "no padding": ('strides = [2, 2], auto_pad = "VALID"', HW, (4, 3, 3, 4), 17),
    "size asked for": ("strides = [2, 2], output_shape = [9, 8]", "4, 5, 4", (4, 3, 2, 3), 17),
    "older operators": ("strides = [2, 2], pads = [1, 1, 2, 2], output_padding = [1, 0]", HW, (4, 3, 2, 2), 10),
    "oldest operators": ("strides = [2, 2], pads = [2, 1, 2, 2]", HW, (4, 3, 2, 2), 9),
}


def made(attributes: str, shape: str, kernel: tuple[int, ...], opset: int) -> onnx.ModelProto:
    sizes = ", ".join(["N", "C", "P", "Q", "R"][: len(kernel)])
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"net (float[N, {shape}] x) => (float[{sizes}] y) {{ [up] y = ConvTranspose<{attributes}>(x, w, b) }}"
    )
    outputs = kernel[1] * next((a.i for a in model.graph.node[0].attribute if a.name == "group"), 1)
    for name, size in (("w", kernel), ("b", (outputs,))):
        model.graph.initializer.append(numpy_helper.from_array(RNG.normal(size=size).astype(np.float32), name))
    return model


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_computes_the_same(case: tuple[str, str, tuple[int, ...], int]) -> None:
    file = made(*case)
    form = canonical(load_model(file))
    assert [node.op_type for node in form.proto.graph.node][-1] == "Conv"
    x = RNG.normal(size=(2, 4, *(5, 4, 6)[: len(case[2]) - 2])).astype(np.float32)
    expected, found = (create_session(m, "net").run(None, {"x": x})[0] for m in (file, form.proto))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_other_kernels_go_back_into_the_file_s_operator(case: tuple[str, str, tuple[int, ...], int]) -> None:
    file = made(*case)
    model = canonical(load_model(file))
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    kernel = next(tensor for tensor in proto.graph.initializer if tensor.name == "w/turned")
    values = RNG.normal(size=kernel.dims).astype(np.float32)
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    x = RNG.normal(size=(2, 4, *(5, 4, 6)[: len(case[2]) - 2])).astype(np.float32)
    (expected,) = create_session(proto, "net").run(None, {"x": x})
    transposed_again(model, proto)
    assert [node.SerializeToString() for node in proto.graph.node] == [n.SerializeToString() for n in file.graph.node]
    assert {tensor.name for tensor in proto.graph.initializer} == {"w", "b"}
    (found,) = create_session(proto, "net").run(None, {"x": x})
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    again = next(t for t in canonical(load_model(proto)).proto.graph.initializer if t.name == "w/turned")
    np.testing.assert_array_equal(numpy_helper.to_array(again), values)


def test_a_kernel_that_others_read_keeps_its_values() -> None:
    file = made("group = 1", HW, (4, 3, 3, 3), 17)
    file.graph.node.append(onnx.helper.make_node("ReduceSum", ["w"], ["sum"], "others"))
    file.graph.output.append(onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [1] * 4))
    model = canonical(load_model(file))
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    transposed_again(model, proto)
    assert list(proto.graph.node[0].input) == ["x", "w/turned", "b"]
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    np.testing.assert_array_equal(held["w"], held["w/turned"])
    np.testing.assert_array_equal(held["w"], numpy_helper.to_array(file.graph.initializer[0]))


def test_it_is_called_as_the_file_s_operator_with_the_module_of_that() -> None:
    file = made("strides = [2, 2]", HW, (4, 3, 2, 2), 17)
    file.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'up3', 'convolution']")
    found = lhc.analyze(file, shapes={"x": (1, 4, 5, 5)})
    (row,) = found.plan.layers
    assert (row.title, row.kind) == ("up3 (up)", "ConvTranspose")
    assert '"op_type": "ConvTranspose"' in json.dumps(analysis_document(found))
    tables = plan_table(found.plan), found.table()
    assert all("ConvTranspose" in str(table) for table in tables)
    assert match_layers("up3", ["up"], "--include", {row.name: row.module or ""}) == {"up"}


@pytest.mark.parametrize(
    "case",
    [
        ("strides = [2, 2], output_shape = [9, 8]", HW, (4, 3, 2, 3), 17),
        ('strides = [3, 3], auto_pad = "SAME_UPPER"', HW, (4, 3, 2, 2), 17),
    ],
    ids=["size of open sizes", "more than there is"],
)
def test_what_is_not_known_stays(case: tuple[str, str, tuple[int, ...], int]) -> None:
    assert canonical(load_model(made(*case))).file is None


def test_macs_are_the_file_s_and_positions_the_tile_s() -> None:
    model = canonical(load_model(made("strides = [2, 2]", "4, 5, 5", (4, 3, 2, 2), 17)))
    layer = next(layer for layer in read_graph(model).candidates)
    assert layer.matrix is not None
    assert (layer.matrix.rows, layer.matrix.cols, layer.matrix.positions) == (4 * 4, 3, 100)
    assert layer.work is not None
    assert layer.work.macs == 25 * 4 * 3 * 4 == layer.matrix.macs // 4
    assert layer.work.parameters == 4 * 3 * 4
