"""Layers by the path of the module they came from."""

import numpy as np
import onnx
import pytest

import lhc
from lhc.onnx_io.read.graph_reader import module_path
from tests.networks import parsed

SCOPES = "pkg.torch.onnx.name_scopes"


def node(name: str, scopes: str | None = None) -> onnx.NodeProto:
    made = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name=name)
    if scopes is not None:
        made.metadata_props.add(key=SCOPES, value=scopes)
    return made


@pytest.mark.parametrize(
    ("name", "scopes", "path"),
    [
        ("node_conv2d_3", "['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_3']", "layer1.0.conv1"),
        ("layer1.0.conv1", "['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_3']", None),
        ("/layer1/layer1.0/conv1/Conv", None, "layer1.0.conv1"),
        ("/encoder/block.0/attn/q_proj/MatMul", None, "encoder.block.0.attn.q_proj"),
        ("/Conv", None, None),
        ("Conv_12", None, None),
        ("", None, None),
        ("n", "['', 'linear']", None),
        ("n", "not a list", None),
        ("n", "__import__('os').system('true')", None),
        ("n", "[1, 2]", None),
        ("n", "[" * 5000, None),
        ("n", "['a', 'b']" + " " * 20_000, None),
    ],
)
def test_module_path(name: str, scopes: str | None, path: str | None) -> None:
    assert module_path(node(name, scopes)) == path


def test_a_convolution_that_took_in_a_normalization_is_called_as_its_own_module() -> None:
    """As torch 2.13 exports ``bn1(conv1(x))``."""
    fused = node("node_Conv_22", "['', 'layer1', 'layer1.bn1', '_native_batch_norm_legit_no_training']")
    assert module_path(fused) == "layer1.bn1", "where the weight does not tell"
    fused.input[1] = "layer1.conv1.weight"
    assert module_path(fused) == "layer1.conv1"
    for form in ("/turned", ".lhc_tiles", ".lhc_open_columns", "/turned.lhc_columns"):
        fused.input[1] = f"layer1.conv1.weight{form}"
        assert module_path(fused) == "layer1.conv1", f"in another form: {form}"


def test_tables_show_the_path_and_the_name() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 3] y) { [node_0] y = MatMul (x, w) }'
    model = parsed(text, {"w": np.ones((4, 3), np.float32)})
    model.graph.node[0].metadata_props.add(key=SCOPES, value="['', 'head', 'matmul']")
    analysis = lhc.analyze(model)
    assert "head (node_0)" in analysis.table()
    assert "<td" in analysis._repr_html_()
