"""From ONNX operators to matrices: rows, columns, groups, positions, weights and ties."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from lhc.errors import ModelError, UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.model import OnnxModel
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.graphs import weight_matrix

RNG = np.random.default_rng(20250817)
Shape = tuple[int | str | None, ...]


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    constants: dict[str, np.ndarray],
    outputs: tuple[str, ...] = ("y",),
) -> OnnxModel:
    """A float model, with the output shapes that inference finds."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for value, found in zip(graph.output, onnx.shape_inference.infer_shapes(proto).graph.output, strict=True):
        value.CopyFrom(found)
    proto.graph.CopyFrom(graph)
    return load_model(proto, "net")


def only_layer(graph: LayerGraph) -> Layer:
    (layer,) = graph.candidates
    return layer


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


# onnx's reference does SAME_LOWER with an even kernel otherwise than the standard says.
COUNTED = [c for c in PRODUCTS if c.op != "ConvTranspose" and c.attributes.get("auto_pad") != "SAME_LOWER"]


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
    (outputs,) = ReferenceEvaluator(plain).run(None, {"x": ones})
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


SEQUENCE = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[batch, tokens, 4] x) => (float[batch, tokens, 3] y)
<float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
  [proj] y = MatMul(x, w)
}
"""


def test_a_symbolic_dimension_in_the_way_is_named() -> None:
    with pytest.raises(ModelError, match=r"net: MACs of MatMul 'proj'.*tokens of input 'x'.*--shape"):
        read_graph(load_model(parser.parse_model(SEQUENCE), "net"))


def test_an_unknown_dimension_in_the_way_is_named_too() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="proj")
    with pytest.raises(ModelError, match=r"\? of input 'x'"):
        read_graph(model_of([node], {"x": (1, None, 4)}, {"w": numbers(4, 3)}))


def test_a_given_shape_fixes_it() -> None:
    model = load_model(parser.parse_model(SEQUENCE))
    assert only_layer(read_graph(model, {"x": (1, 9, 4)})).matrix == MatrixShape(4, 3, 1, 9)
    assert only_layer(read_graph(model, {"x": (6, 9, 4)})).matrix == MatrixShape(4, 3, 1, 9)


def test_running_needs_no_sizes() -> None:
    graph = read_graph(load_model(parser.parse_model(SEQUENCE)), sizes=False)
    assert only_layer(graph).matrix is None
    assert only_layer(graph).weight is not None


def test_a_symbolic_dimension_that_no_product_depends_on_is_no_error() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0, name="mean"),
        helper.make_node("MatMul", ["m", "w"], ["y"], name="proj"),
    ]
    graph = read_graph(model_of(nodes, {"x": ("batch", "tokens", 4)}, {"w": numbers(4, 3)}))
    assert only_layer(graph).matrix == MatrixShape(4, 3, 1, 1)


def test_one_given_shape_tells_what_the_symbols_of_other_inputs_are() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"], name="add"),
        helper.make_node("MatMul", ["b", "w"], ["h"], name="proj"),
        helper.make_node("Add", ["s", "s"], ["y"], name="sum"),
    ]
    shape: Shape = ("batch", "tokens", 4)
    # The input that is read first is not the one that is given.
    model = model_of(nodes, {"b": shape, "a": shape}, {"w": numbers(4, 3)}, ("y", "h"))
    assert only_layer(read_graph(model, {"a": (2, 9, 4)})).matrix == MatrixShape(4, 3, 1, 9)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 9, 4)}, "--shape names no input: z; inputs are x"),
        ({"x": (1, 9, 5)}, r"--shape x=1,9,5 does not fit the model's x: \('batch', 'tokens', 4\)"),
        ({"x": (9, 4)}, "--shape x=9,4 does not fit"),
    ],
)
def test_given_shapes_that_contradict_the_model_are_refused(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_graph(load_model(parser.parse_model(SEQUENCE)), shapes)


def test_stored_shapes_of_another_batch_do_not_matter() -> None:
    proto = parser.parse_model(SEQUENCE.replace("tokens", "8"))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["batch", "batch*8", 3]))
    assert only_layer(read_graph(load_model(proto))).matrix == MatrixShape(4, 3, 1, 8)


STORED = """
<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
net (float[batch, tokens, 4] x) => (float[batch, tokens, 3] y)
<float[batch, tokens, 4] h, float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
  h = com.example.Twist(x)
  [proj] y = MatMul(h, w)
}
"""


def test_symbols_of_stored_shapes_stand_for_what_the_inputs_say() -> None:
    # Nothing is known of Twist but the shape that is stored for its output.
    model = load_model(parser.parse_model(STORED))
    assert [value.name for value in model.proto.graph.value_info] == ["h"]
    assert only_layer(read_graph(model, {"x": (2, 9, 4)})).matrix == MatrixShape(4, 3, 1, 9)
    with pytest.raises(ModelError, match="tokens of input 'x'"):
        read_graph(model)


RESHAPED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 24] x, int64[3] sizes) => (float[a, b, c] y) <float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
  [shape] h = Reshape(x, sizes)
  [proj] y = MatMul(h, w)
}
"""


def test_what_inference_cannot_find_is_left_to_be_observed() -> None:
    model = load_model(parser.parse_model(RESHAPED))
    assert [layer.name for layer in read_graph(model).unresolved] == ["proj"]
    observed = {"x": (1, 24), "sizes": (3,), "h": (1, 6, 4), "y": (1, 6, 3)}
    graph = read_graph(model, observed=observed)
    assert graph.unresolved == ()
    assert only_layer(graph).matrix == MatrixShape(4, 3, 1, 6)


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


def tile_sets(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> dict[str, str]:
    names = tuple(node.output[0] for node in nodes)
    graph = read_graph(model_of(nodes, {"x": (1, 4), "image": (1, 4, 1, 1)}, constants, names), sizes=False)
    return {layer.name: layer.weight.tile_set for layer in graph.candidates if layer.weight is not None}


def product(name: str, op: str, *operands: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(op, list(operands), [f"{name}.out"], name=name, **attributes)  # type: ignore[arg-type]


def test_equal_weights_are_found_by_content_and_orientation() -> None:
    w = numbers(4, 4)
    constants = {
        "w": w,
        "copy": w.copy(),
        "turned": np.ascontiguousarray(w.T),
        "wide": w.astype(np.float64),
        "kernel": np.ascontiguousarray(w.T).reshape(4, 4, 1, 1),
        "near": np.nextafter(w, np.float32(np.inf)),
    }
    nodes = [
        product("a", "MatMul", "x", "w"),
        product("same name", "MatMul", "x", "w"),
        product("same content", "Gemm", "x", "copy"),
        product("turned twice", "Gemm", "x", "turned", transB=1),
        product("as a kernel", "Conv", "image", "kernel"),
        product("turned", "MatMul", "x", "turned"),
        product("turned by Gemm", "Gemm", "x", "w", transB=1),
        product("near", "MatMul", "x", "near"),
    ]
    found = tile_sets(nodes, constants)
    tied = {name for name, tile_set in found.items() if tile_set == found["a"]}
    assert tied == {"a", "same name", "same content", "turned twice", "as a kernel"}
    assert found["turned"] == found["turned by Gemm"] != found["near"]


def test_a_weight_on_the_other_side_is_another_orientation() -> None:
    w = numbers(4, 4)
    nodes = [
        product("right", "MatMul", "x", "w"),
        product("left", "MatMul", "w", "column"),
        product("left of the transposed", "MatMul", "turned", "column"),
    ]
    names = tuple(node.output[0] for node in nodes)
    model = model_of(nodes, {"x": (1, 4), "column": (4, 1)}, {"w": w, "turned": np.ascontiguousarray(w.T)}, names)
    graph = read_graph(model, sizes=False)
    assert graph.tied(["right", "left", "left of the transposed"]) == (("right", "left of the transposed"), ("left",))


def test_other_groups_or_shapes_are_other_devices() -> None:
    w = numbers(4, 2, 1, 1)
    nodes = [
        product("grouped", "Conv", "image", "w", group=2),
        product("flat", "Conv", "half", "w"),
        product("long", "MatMul", "half", "w2"),
    ]
    names = tuple(node.output[0] for node in nodes)
    inputs: dict[str, Shape] = {"image": (1, 4, 1, 1), "half": (1, 2, 1, 1)}
    model = model_of(nodes, inputs, {"w": w, "w2": w.reshape(1, 8)}, names)
    graph = read_graph(model, sizes=False)
    assert len(graph.tied(["grouped", "flat", "long"])) == 3


@given(
    st.sampled_from(["Gemm", "MatMul"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_weight_matrix_times_input_is_the_product(op: str, left: bool, transposed: bool, rows: int, cols: int) -> None:
    transposed = transposed and op == "Gemm"
    generator = np.random.default_rng(rows * 10 + cols)
    matrix, x = generator.normal(size=(cols, rows)), generator.normal(size=rows)
    # What the operator multiplies by: (outputs, inputs) on the left, (inputs, outputs) on the right.
    operand = matrix if left else matrix.T
    stored = operand.T if transposed else operand
    node = helper.make_node(op, ["a", "b"], ["y"])
    if transposed:
        node.attribute.append(helper.make_attribute("transA" if left else "transB", 1))
    found = weight_matrix(node, 0 if left else 1, stored)
    np.testing.assert_array_equal(found, matrix)
    np.testing.assert_allclose(found @ x, operand @ x if left else x @ operand, rtol=1e-12, atol=1e-12)


def test_weight_matrix_of_a_conv_has_the_groups_one_below_the_other() -> None:
    w = numbers(6, 2, 3, 3)
    found = weight_matrix(helper.make_node("Conv", ["x", "w"], ["y"], group=2), 1, w)
    assert found.shape == (6, 18)
    np.testing.assert_array_equal(found[4], w[4].ravel())


def test_weights_whose_bytes_do_not_fit_are_refused() -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, {"w": numbers(4, 3)}).proto)
    proto.graph.initializer[0].raw_data = b"\0" * 8
    # onnx.checker looks at sizes in some versions only; then reading the weights finds it.
    with pytest.raises(ModelError, match="w"):
        read_graph(load_model(proto))


def test_facts_of_the_whole_graph_are_in_file_order() -> None:
    nodes = [
        product("conv", "Conv", "image", "k", "bias"),
        helper.make_node("Flatten", ["conv.out"], ["flat"], name="flatten"),
        product("fc", "Gemm", "flat", "w"),
    ]
    constants = {"k": numbers(8, 4, 1, 1), "bias": numbers(8), "w": numbers(8, 3)}
    graph = read_graph(model_of(nodes, {"image": ("N", 4, 1, 1)}, constants, ("fc.out",)))
    assert [layer.name for layer in graph.layers] == ["conv", "flatten", "fc"]
    assert [layer.name for layer in graph.candidates] == ["conv", "fc"]
    assert graph["conv"].inputs == ("image", "k", "bias")
    assert graph.outputs == ("fc.out",)
    assert isinstance(graph["conv"].weight, WeightRef)
    assert sum(layer.matrix.macs for layer in graph.candidates if layer.matrix) == math.prod((8, 4)) + 24


def test_minus_one_is_a_size_that_is_not_known() -> None:
    """As some exporters write it."""
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, H, W] x) => (float[N, 3, H, W] y) { y = Conv (x, w) }'
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2, 1, 1), np.float32), "w"))
    for dim in (*proto.graph.input[0].type.tensor_type.shape.dim, *proto.graph.output[0].type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_value = -1
    model = load_model(proto)
    with pytest.raises(ModelError, match=r"symbolic dimensions.*--shape x=1,2,64,64"):
        read_graph(model)
    graph = read_graph(model, {"x": (1, 2, 4, 5)})
    assert graph.candidates[0].matrix is not None
    assert graph.candidates[0].matrix.macs == 6 * 20
