import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from lhc.models.export import export_onnx, module_path_names, strip_metadata

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="exporting needs PyTorch")


def _node(op_type: str, inputs: list[str], scopes: list[str] | None = None) -> onnx.NodeProto:
    node = helper.make_node(op_type, inputs, [f"out_of_{op_type}"], name=f"node_{op_type}")
    if scopes is not None:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(scopes))
    return node


def _graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    weight = helper.make_tensor("body.0.fc.weight", onnx.TensorProto.FLOAT, [1], [0.0])
    return helper.make_graph(list(nodes), "g", [], [], [weight])


def test_products_are_named_after_the_owner_of_their_weight() -> None:
    graph = _graph(_node("Gemm", ["x", "body.0.fc.weight"], ["", "body", "linear"]))

    assert module_path_names(graph) == ["body.0.fc"]


def test_a_product_whose_weight_was_transformed_is_named_after_its_scope() -> None:
    graph = _graph(_node("MatMul", ["x", "val_3"], ["", "head", "matmul"]))
    graph.initializer.append(helper.make_tensor("val_3", onnx.TensorProto.FLOAT, [1], [0.0]))

    assert module_path_names(graph) == ["head"]


def test_a_product_between_activations_is_named_after_its_scope_and_operator() -> None:
    assert module_path_names(_graph(_node("MatMul", ["x", "y"], ["", "attention", "matmul"]))) == ["attention.matmul"]


def test_a_product_with_the_transposed_weight_of_another_module_is_named_after_its_scope() -> None:
    turn = _node("Transpose", ["body.0.fc.weight"], ["", "head", "t"])
    product = _node("MatMul", ["x", "out_of_Transpose"], ["", "head", "matmul"])

    assert module_path_names(_graph(turn, product)) == ["head.transpose", "head"]


def test_other_nodes_get_scope_and_operator_and_repeats_a_number() -> None:
    relu = _node("Relu", ["x"], ["", "body.0", "relu_7"])

    assert module_path_names(_graph(relu, relu, _node("Add", ["x", "y"]))) == ["body.0.relu", "body.0.relu_1", "add"]


def test_a_product_keeps_its_name_when_another_node_wants_it() -> None:
    other = _node("Fc", ["x"], ["", "body.0", "fc"])

    assert module_path_names(_graph(other, _node("Gemm", ["x", "body.0.fc.weight"]))) == ["body.0.fc_1", "body.0.fc"]


def test_strip_metadata_leaves_no_notes_anywhere() -> None:
    graph = _graph(_node("Relu", ["x"], ["", "a", "relu"]))
    model = helper.make_model(graph, doc_string="made at home")
    model.metadata_props.add(key="k", value="v")

    strip_metadata(model)

    assert not model.doc_string
    assert not model.metadata_props
    assert not model.graph.node[0].metadata_props


def test_the_export_equals_the_module_and_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
    x = torch.randn(4, 6)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = export_onnx(module, torch.zeros(2, 6))

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x).detach().numpy(), atol=1e-6)
    assert [node.name for node in model.graph.node] == ["0", "1.relu", "2"]
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_parts_of_a_split_are_exported_quietly(caplog: pytest.LogCaptureFixture) -> None:
    class Halves(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.ones(4, 6))

        def forward(self, x: "Tensor") -> "Tensor":
            first, second = self.weights.chunk(2)
            both: Tensor = (x @ first.T) + (x @ second.T)
            return both

    export_onnx(Halves().eval(), torch.zeros(2, 6))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.slow
def test_the_same_module_gives_the_same_bytes() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten()).eval()

    first, second = (export_onnx(module, torch.zeros(2, 1, 5, 5)).SerializeToString() for _ in range(2))

    assert first == second
