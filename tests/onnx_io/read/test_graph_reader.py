"""From ONNX operators to layers: rows, columns, groups, positions, and what is a product at all."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from lhc.graph import MatrixShape, WeightRef, Work, obstacle
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from tests.onnx_io.built_models import Shape, model_of, numbers, only_layer, product_node


@dataclass(frozen=True)
class Product:
    id: str
    op: str
    x: Shape
    w: tuple[int, ...]
    expected: MatrixShape
    attributes: dict[str, Any] = field(default_factory=dict)
    weight_first: bool = False


PRODUCTS = [
    Product("conv 1-D", "Conv", (1, 4, 10), (6, 4, 3), MatrixShape(12, 6, 1, 8)),
    Product("conv 2-D", "Conv", (1, 3, 8, 9), (5, 3, 2, 3), MatrixShape(18, 5, 1, 7 * 7)),
    Product("conv 3-D", "Conv", (1, 2, 4, 5, 6), (7, 2, 2, 2, 2), MatrixShape(16, 7, 1, 3 * 4 * 5)),
    Product("stride", "Conv", (1, 3, 9, 9), (5, 3, 3, 3), MatrixShape(27, 5, 1, 4 * 3), {"strides": [2, 3]}),
    Product("dilation", "Conv", (1, 3, 9, 9), (5, 3, 3, 3), MatrixShape(27, 5, 1, 5 * 3), {"dilations": [2, 3]}),
    Product(
        "pads that differ on every side",
        "Conv",
        (1, 3, 8, 8),
        (5, 3, 3, 3),
        MatrixShape(27, 5, 1, (8 + 1 + 3 - 2) * (8 + 2 + 4 - 2)),
        {"pads": [1, 2, 3, 4]},
    ),
    Product(
        "everything at once",
        "Conv",
        (1, 4, 11),
        (6, 2, 3),
        MatrixShape(6, 3, 2, (11 + 1 + 2 - 5) // 3 + 1),
        {"pads": [1, 2], "strides": [3], "dilations": [2], "group": 2},
    ),
    Product(
        "same upper",
        "Conv",
        (1, 3, 9, 8),
        (5, 3, 3, 3),
        MatrixShape(27, 5, 1, 20),
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    Product("same lower", "Conv", (1, 3, 7), (5, 3, 4), MatrixShape(12, 5, 1, 7), {"auto_pad": "SAME_LOWER"}),
    Product("valid", "Conv", (1, 3, 7), (5, 3, 4), MatrixShape(12, 5, 1, 4), {"auto_pad": "VALID"}),
    Product("groups", "Conv", (1, 6, 5, 5), (9, 2, 3, 3), MatrixShape(18, 3, 3, 9), {"group": 3}),
    Product("depthwise", "Conv", (1, 8, 5, 5), (8, 1, 3, 3), MatrixShape(9, 1, 8, 9), {"group": 8}),
    Product("depthwise, two each", "Conv", (1, 4, 5, 5), (8, 1, 3, 3), MatrixShape(9, 2, 4, 9), {"group": 4}),
    Product("gemm", "Gemm", (1, 4), (4, 3), MatrixShape(4, 3, 1, 1)),
    Product("gemm, transB", "Gemm", (1, 4), (3, 4), MatrixShape(4, 3, 1, 1), {"transB": 1}),
    Product("gemm, scaled", "Gemm", (1, 4), (4, 3), MatrixShape(4, 3, 1, 1), {"alpha": 0.5, "beta": 2.0}),
    Product("gemm, weight first", "Gemm", (1, 4), (3, 4), MatrixShape(4, 3, 1, 1), {"transB": 1}, True),
    Product(
        "gemm, weight first, both transposed",
        "Gemm",
        (1, 4),
        (4, 3),
        MatrixShape(4, 3, 1, 1),
        {"transA": 1, "transB": 1},
        True,
    ),
    Product("matmul", "MatMul", (1, 4), (4, 3), MatrixShape(4, 3, 1, 1)),
    Product("matmul, tokens", "MatMul", (1, 7, 4), (4, 3), MatrixShape(4, 3, 1, 7)),
    Product("matmul, tokens of heads", "MatMul", (1, 2, 7, 4), (4, 3), MatrixShape(4, 3, 1, 14)),
    Product("matmul, weight first", "MatMul", (1, 4, 7), (3, 4), MatrixShape(4, 3, 1, 7), {}, True),
    Product("matmul, weight first, heads", "MatMul", (1, 2, 4, 7), (3, 4), MatrixShape(4, 3, 1, 14), {}, True),
    Product("matmul, vector", "MatMul", (1, 7, 4), (4,), MatrixShape(4, 1, 1, 7)),
    Product("matmul, vector first", "MatMul", (1, 4, 7), (4,), MatrixShape(4, 1, 1, 7), {}, True),
    Product(
        "transposed conv", "ConvTranspose", (1, 4, 5, 5), (4, 3, 2, 2), MatrixShape(4, 12, 1, 25), {"strides": [2, 2]}
    ),
    Product("transposed conv, groups", "ConvTranspose", (1, 4, 5), (4, 3, 2), MatrixShape(2, 6, 2, 5), {"group": 2}),
]


def product_model(case: Product, x: Shape | None = None) -> OnnxModel:
    operands = ["w", "x"] if case.weight_first else ["x", "w"]
    node = helper.make_node(case.op, operands, ["y"], name="layer", **case.attributes)
    return model_of([node], {"x": x or case.x}, {"w": numbers(*case.w)})


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda case: case.id)
def test_matrix_of_an_operator(case: Product) -> None:
    layer = only_layer(read_graph(product_model(case)))
    assert layer.matrix == case.expected
    assert layer.weight is not None
    assert (layer.weight.name, layer.weight.operand) == ("w", int(not case.weight_first))
    assert (layer.weight.shape, layer.weight.dtype) == (case.w, "float32")


def batched(case: Product, size: int | str | None) -> Shape:
    return (size, *case.x[1:])


# A transposed activation has no samples on its first axis.
BATCHED = [case for case in PRODUCTS if not case.attributes.get("transA")]


@pytest.mark.parametrize("case", BATCHED, ids=lambda case: case.id)
def test_costs_are_those_of_one_sample_whatever_the_batch(case: Product) -> None:
    for size in (4, "N", None):
        assert only_layer(read_graph(product_model(case, batched(case, size)))).matrix == case.expected
    given_shape = {"x": (8, *(int(d) for d in case.x[1:] if isinstance(d, int)))}
    graph = read_graph(product_model(case, batched(case, "N")), given_shape)
    assert only_layer(graph).matrix == case.expected


COUNTED = [c for c in PRODUCTS if c.op != "ConvTranspose"]


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case.id)
def test_macs_by_counting_products(case: Product) -> None:
    model = product_model(case)
    plain = onnx.ModelProto()
    plain.CopyFrom(model.proto)
    for attribute in plain.graph.node[0].attribute:
        if attribute.name in ("alpha", "beta"):
            attribute.f = 1.0
    plain.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(case.w, np.float32), "w"))
    ones = np.ones([d for d in case.x if isinstance(d, int)], np.float32)
    session = onnxruntime.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"x": ones})
    assert isinstance(outputs, np.ndarray)
    layer = only_layer(read_graph(model))
    assert layer.matrix is not None
    # Ones times ones: an output is the number of products that it sums, less those that meet padding.
    padded = "pads" in case.attributes or "auto_pad" in case.attributes
    assert layer.matrix.macs == (outputs.size * outputs.max() if padded else outputs.sum())


def test_a_product_of_two_activations_counts_but_has_no_weight() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[N, 2, 5, 4] q, float[N, 2, 4, 7] k) => (float[N, 2, 5, 7] y) { y = MatMul(q, k) }
    """
    layer = only_layer(read_graph(load_model(parser.parse_model(text))))
    assert layer.weight is None
    assert layer.matrix == MatrixShape(4, 7, 1, 10)
    assert layer.matrix.macs == 2 * 5 * 7 * 4


def test_a_conv_whose_weights_are_computed_has_no_weight() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="layer")]
    layer = only_layer(read_graph(model_of(nodes, {"x": (1, 3, 5), "w": (2, 3, 3)}, {})))
    assert layer.weight is None
    assert layer.matrix == MatrixShape(9, 2, 1, 3)


def test_a_constant_activation_of_a_conv_is_no_weight() -> None:
    nodes = [helper.make_node("Conv", ["c", "x"], ["y"], name="layer")]
    assert only_layer(read_graph(model_of(nodes, {"x": (2, 3, 3)}, {"c": numbers(1, 3, 5)}))).weight is None


def test_weights_of_constant_nodes_are_constants() -> None:
    value = numbers(4, 3)
    constant = helper.make_node("Constant", [], ["w"], name="c", value=numpy_helper.from_array(value))
    product = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")
    found = only_layer(read_graph(model_of([constant, product], {"x": ("N", 4)}, {})))
    stored = only_layer(read_graph(model_of([product], {"x": ("N", 4)}, {"w": value})))
    assert found.weight == stored.weight
    assert found.matrix == stored.matrix == MatrixShape(4, 3, 1, 1)


def test_products_of_another_domain_are_no_candidates() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer", domain="com.example")
    proto = helper.make_model(
        helper.make_graph(
            [node],
            "net",
            [helper.make_tensor_value_info("x", 1, [1, 4])],
            [helper.make_tensor_value_info("y", 1, [1, 3])],
            [numpy_helper.from_array(numbers(4, 3), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)],
        ir_version=8,
    )
    graph = read_graph(load_model(proto))
    assert graph.candidates == ()
    assert graph["layer"].op_type == "com.example::MatMul"


BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
net (bool c, float[N, 4] x) => (float[N, 4] y) <float[4] bias = {1, 2, 3, 4}> {
  [first] h = Relu(x)
  [branch] y = If (c) <
    then_branch = yes () => (float[N, 4] a) { inner = Add(h, bias)  a = Relu(inner) },
    else_branch = no () => (float[N, 4] b) {
      b = If (c) <
        then_branch = deep () => (float[N, 4] p) { p = Neg(x) },
        else_branch = deeper () => (float[N, 4] q) { q = Identity(h) }
      >
    }
  >
}
"""


def test_tensors_that_subgraphs_capture_are_inputs() -> None:
    graph = read_graph(load_model(parser.parse_model(BRANCHES)))
    branch = graph["branch"]
    assert branch.inputs[0] == "c"
    assert {"h", "x", "bias"} <= set(branch.inputs)
    assert not {"inner", "a", "b", "p", "q"} & set(branch.inputs)
    assert graph.producers("branch") == ("first",)
    assert graph.inputs == ("c", "x")


def test_inputs_that_are_initializers_and_missing_operands_are_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"], name="clip")
    proto = helper.make_model(
        helper.make_graph(
            [node],
            "net",
            [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1]), ("high", []))],
            [helper.make_tensor_value_info("y", 1, [1])],
            [numpy_helper.from_array(np.array(1, np.float32), "high")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    graph = read_graph(load_model(proto))
    assert graph.inputs == ("x",)
    assert graph["clip"].inputs == ("x", "high")


def test_facts_of_the_whole_graph_are_in_file_order() -> None:
    nodes = [
        product_node("conv", "Conv", "image", "k", "bias"),
        helper.make_node("Flatten", ["conv.out"], ["flat"], name="flatten"),
        product_node("fc", "Gemm", "flat", "w"),
    ]
    constants = {"k": numbers(8, 4, 1, 1), "bias": numbers(8), "w": numbers(8, 3)}
    graph = read_graph(model_of(nodes, {"image": ("N", 4, 1, 1)}, constants, ("fc.out",)))
    assert [layer.name for layer in graph.layers] == ["conv", "flatten", "fc"]
    assert [layer.name for layer in graph.candidates] == ["conv", "fc"]
    assert graph["conv"].inputs == ("image", "k", "bias")
    assert graph.outputs == ("fc.out",)
    assert isinstance(graph["conv"].weight, WeightRef)
    assert sum(layer.matrix.macs for layer in graph.candidates if layer.matrix) == math.prod((8, 4)) + 24


def test_a_product_of_constants_alone_is_no_work_of_a_sample_and_never_analog() -> None:
    nodes = [product_node("weight", "MatMul", "a", "b"), product_node("y", "MatMul", "x", "weight.out")]
    graph = read_graph(
        model_of(nodes, {"x": ("n", 64)}, {"a": numbers(64, 8), "b": numbers(8, 64)}, ("y.out",)), {"x": (1, 64)}
    )
    assert (graph["weight"].work, graph["y"].work.macs) == (Work(), 64 * 64)  # type: ignore[union-attr]
    problem = obstacle(graph["weight"])
    assert problem is not None
    assert "constants alone" in problem.detail
    assert obstacle(graph["y"]) is None


def test_so_is_what_follows_from_constants_by_an_operator_that_is_not_followed() -> None:
    nodes = [
        helper.make_node("Softplus", ["a"], ["soft"], name="soft"),
        product_node("first", "MatMul", "soft", "b"),
        helper.make_node("Add", ["x", "first.out"], ["y"], name="add"),
    ]
    graph = read_graph(model_of(nodes, {"x": (4, 8)}, {"a": numbers(4, 6), "b": numbers(6, 8)}))
    assert graph["first"].work == Work()


@pytest.mark.parametrize("tokens", [4, 7, 8, 15])
def test_a_product_that_is_the_same_for_all_samples_of_a_call_counts_its_share(tokens: int) -> None:
    nodes = [
        product_node("positions", "MatMul", "p", "w"),
        helper.make_node("Add", ["x", "positions.out"], ["y"], name="add"),
    ]
    graph = read_graph(model_of(nodes, {"x": (8, tokens, 5), "p": (tokens, 3)}, {"w": numbers(3, 5)}))
    assert graph["positions"].matrix == MatrixShape(3, 5, 1, -(-tokens // 8))
