"""Positions and MACs where shapes are symbolic, given, stored in the file, or found only by running."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser, shape_inference

from lhc.errors import ModelError, UsageError
from lhc.graph import MatrixShape
from lhc.onnx_io import example_shapes, load_model, read_graph
from lhc.onnx_io.read.shapes import element_types, inferred_graph
from tests.networks import parsed
from tests.onnx_io.built_models import Shape, model_of, numbers, only_layer

SEQUENCE = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[batch, tokens, 4] x) => (float[batch, tokens, 3] y)
<float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> {
  [proj] y = MatMul(x, w)
}
"""


def test_a_file_that_contradicts_itself_has_no_inferred_shapes() -> None:
    model = parser.parse_model(SEQUENCE)
    assert [value.name for value in inferred_graph(model).output] == ["y"]
    model.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 2)))
    with pytest.raises(shape_inference.InferenceError):
        shape_inference.infer_shapes(model)
    assert not inferred_graph(model).output


def test_an_input_that_no_memory_holds_is_refused() -> None:
    model = parser.parse_model(SEQUENCE)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**62
    with pytest.raises(ModelError, match=r"net: tensor 'x' of one sample would hold 1x4611686018427387904x4 values"):
        read_graph(load_model(model, "net"))


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


def test_minus_one_is_a_size_that_is_not_known() -> None:
    """As some exporters write it."""
    proto = parsed(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, H, W] x) => (float[N, 3, H, W] y) { y = Conv (x, w) }',
        {"w": np.ones((3, 2, 1, 1), np.float32)},
    )
    for dim in (*proto.graph.input[0].type.tensor_type.shape.dim, *proto.graph.output[0].type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_value = -1
    model = load_model(proto)
    with pytest.raises(ModelError, match=r"symbolic dimensions.*--shape x=1,2,64,64"):
        read_graph(model)
    graph = read_graph(model, {"x": (1, 2, 4, 5)})
    assert graph.candidates[0].matrix is not None
    assert graph.candidates[0].matrix.macs == 6 * 20


def test_an_example_for_open_sizes_has_one_sample_and_fits_together() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[batch, tokens] ids, float[batch, total] mask, float[batch, 2, past_length, 4] past,
         float[batch, sum] both, float[N, 3, H, W] picture, float[batch, 7] known) => (float[batch] y)
    { y = Identity(ids) }
    """
    proto = parser.parse_model(text)
    proto.graph.input[3].type.tensor_type.shape.dim[1].dim_param = "past_length + tokens"
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["batch", "tokens"]))
    model = load_model(proto)
    assert example_shapes(model, {}) == {
        "ids": (1, 128), "mask": (1, 128), "past": (1, 2, 0, 4), "both": (1, 128), "picture": (1, 3, 224, 224),
        "known": (1, 7),
    }  # fmt: skip
    given = example_shapes(model, {"ids": (1, 9)})
    assert (given["both"], given["mask"]) == ((1, 9), (1, 128))
    assert "ids" not in given


CACHED = """
<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
net (float[batch, tokens, 64] x, float[batch, 2, past_sequence_length, kv_cache_dim] key,
     float[batch, 2, past_sequence_length, kv_cache_dim] value, int32[batch] last, int32[1] total)
  => (float[batch, tokens, 64] y)
{
  q = MatMul (x, wq)
  k = MatMul (x, wk)
  v = MatMul (x, wv)
  y, new_key, new_value =
    com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (q, k, v, key, value, last, total)
}
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_cache_of_past_tokens_is_no_picture_and_its_heads_are_those_of_the_attention(packed: bool) -> None:
    """As onnxruntime-genai's builder writes it."""
    proto = parser.parse_model(CACHED)
    for name, columns in (("wq", 128 if packed else 64), ("wk", 32), ("wv", 32)):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones((64, columns), np.float32), name))
    if packed:
        proto.graph.node[-1].input[1:3] = ["", ""]
    example = example_shapes(load_model(proto), {})
    assert example["key"] == example["value"] == (1, 2, 0, 16)
    assert example["x"] == (1, 128, 64)


def test_an_example_can_have_another_size() -> None:
    picture = (
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, H, W] x) => (float[N, 2, H, W] y) { y = Relu (x) }'
    )
    model = load_model(parser.parse_model(picture))
    assert example_shapes(model, {}) == {"x": (1, 2, 224, 224)}
    assert example_shapes(model, {}, 64) == {"x": (1, 2, 64, 64)}


def test_element_types_have_names_of_numpy_where_there_is_such_a_type() -> None:
    graph = parser.parse_model(SEQUENCE).graph
    half = helper.make_tensor_value_info("half", TensorProto.BFLOAT16, None)
    text = helper.make_tensor_value_info("text", TensorProto.STRING, None)
    none = helper.make_tensor_value_info("none", TensorProto.UNDEFINED, None)
    later = helper.make_tensor_value_info("later", 1000, None)
    graph.value_info.extend([half, text, none, later, helper.make_tensor_sequence_value_info("sequence", 1, None)])
    assert element_types(graph) == {"x": "float32", "y": "float32", "half": "bfloat16", "text": "object"}
