"""Weights that are computed from what is stored: the same values as onnxruntime's."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from lhc.errors import ModelError
from lhc.graph import obstacle
from lhc.onnx_io import Constants, load_model, read_graph
from lhc.onnx_io.read.constant_folding import FOLD_LIMIT
from lhc.onnx_io.read.constants import stored_array
from tests.networks import parsed

RNG = np.random.default_rng(20261125)
W = RNG.normal(size=(4, 6)).astype(np.float32)
Q = RNG.integers(-128, 128, (4, 6)).astype(np.int8)
U = RNG.integers(0, 256, (4, 6)).astype(np.uint8)
SCALES = RNG.uniform(0.01, 0.2, 6).astype(np.float32)


@dataclass(frozen=True)
class Folded:
    id: str
    nodes: tuple[str, ...]
    """Lines of a graph that computes ``w``."""
    arrays: dict[str, np.ndarray] = field(default_factory=lambda: {"a": W})
    opset: int = 21


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


FOLDED = [
    Folded("Identity", ("w = Identity(a)",)),
    Folded("Transpose", ("w = Transpose(a)",)),
    Folded("Transpose, permuted", ("w = Transpose <perm = [1, 0]> (a)",)),
    Folded("Cast from float64", ("w = Cast <to = 1> (a)",), {"a": W.astype(np.float64)}),
    Folded("Cast from float16", ("w = Cast <to = 1> (a)",), {"a": W.astype(np.float16)}),
    Folded("Cast to float16", ("w = Cast <to = 10> (a)",)),
    Folded("Cast from int8", ("w = Cast <to = 1> (a)",), {"a": Q}),
    Folded("Reshape", ("w = Reshape(a, s)",), {"a": W, "s": ints(-1, 3)}),
    Folded("Reshape, a size kept", ("w = Reshape(a, s)",), {"a": W, "s": ints(0, 2, -1)}),
    Folded("Reshape, zero is zero", ("w = Reshape <allowzero = 1> (a, s)",), {"a": W[:0], "s": ints(0, 5)}),
    Folded("Flatten", ("w = Flatten(a)",), {"a": W.reshape(2, 2, 6)}),
    Folded("Flatten, axis", ("w = Flatten <axis = -1> (a)",), {"a": W.reshape(2, 2, 6)}),
    Folded("Flatten all", ("w = Flatten <axis = 0> (a)",)),
    Folded("Squeeze", ("w = Squeeze(a)",), {"a": W[None, :, None]}),
    Folded("Squeeze, axes", ("w = Squeeze(a, x)",), {"a": W[None, :, None], "x": ints(0)}),
    Folded("Squeeze, older", ("w = Squeeze <axes = [0, 2]> (a)",), {"a": W[None, :, None]}, 11),
    Folded("Unsqueeze", ("w = Unsqueeze(a, x)",), {"a": W, "x": ints(0, -1)}),
    Folded("Unsqueeze, older", ("w = Unsqueeze <axes = [1]> (a)",), {"a": W}, 11),
    Folded("Slice", ("w = Slice(a, b, e, x)",), {"a": W, "b": ints(1, -4), "e": ints(99, -1), "x": ints(0, 1)}),
    Folded(
        "Slice, backwards",
        ("w = Slice(a, b, e, x, s)",),
        {"a": W, "b": ints(-1), "e": ints(-99), "x": ints(1), "s": ints(-2)},
    ),
    Folded(
        "Slice, backwards from before the first",
        ("p = Slice(a, b, e, x, s)", "w = Concat <axis = 0> (a, p)"),
        {"a": W, "b": ints(-99), "e": ints(-999), "x": ints(0), "s": ints(-1)},
    ),
    Folded("Slice, older", ("w = Slice <starts = [1], ends = [3], axes = [1]> (a)",), {"a": W}, 9),
    Folded("Split", ("u, w = Split <axis = 1> (a, s)",), {"a": W, "s": ints(2, 4)}),
    Folded("Split, the first part", ("w, v = Split <axis = -1> (a, s)",), {"a": W, "s": ints(2, 4)}),
    Folded("Split, uneven", ("u, v, w = Split <axis = 1, num_outputs = 3> (a)",), {"a": W.reshape(3, 8)}),
    Folded("Split, older", ("u, w = Split <split = [1, 3]> (a)",), {"a": W}, 11),
    Folded("Split, halves", ("u, w = Split(a)",), {"a": W}, 13),
    Folded("Concat", ("w = Concat <axis = 1> (a, b)",), {"a": W, "b": 2 * W}),
    Folded("ConstantOfShape", ("w = ConstantOfShape <value = float[1] {0.02}> (s)",), {"s": ints(4, 6)}),
    Folded("ConstantOfShape, zeros", ("w = ConstantOfShape(s)",), {"s": ints(4, 6)}),
    Folded(
        "weight_norm of TorchScript",
        ("n = ReduceL2 <axes = [1], keepdims = 1> (a)", "d = Div(a, n)", "w = Mul(d, g)"),
        {"a": W, "g": SCALES[:4, None]},
        17,
    ),
    Folded(
        "weight_norm, newer",
        ("n = ReduceL2(a, x)", "r = Reciprocal(n)", "d = Mul(a, r)", "w = Mul(g, d)"),
        {"a": W, "x": ints(1), "g": SCALES[:4, None]},
    ),
    Folded(
        "a norm by its parts",
        ("s = Abs(a)", "q = Pow(s, two)", "t = ReduceSum(q, x)", "n = Sqrt(t)", "m = Max(n, two)", "w = Div(a, m)"),
        {"a": W, "x": ints(-1), "two": np.array(2, np.float32)},
    ),
    Folded("a difference", ("n = Neg(a)", "s = Add(a, a)", "w = Sub(n, s)")),
    Folded(
        "of no axes named", ("n = ReduceSum(a, x)", "w = Div(a, n)"), {"a": np.ones((4, 6), np.float32), "x": ints()}
    ),
    Folded("all of one", ("n = ReduceL2(a)", "w = Div(a, n)")),
    Folded("DequantizeLinear", ("w = DequantizeLinear(a, s)",), {"a": Q, "s": np.array(0.03, np.float32)}),
    Folded(
        "DequantizeLinear, zero point",
        ("w = DequantizeLinear(a, s, z)",),
        {"a": U, "s": np.array(0.03, np.float32), "z": np.array(131, np.uint8)},
    ),
    Folded(
        "DequantizeLinear, columns",
        ("w = DequantizeLinear <axis = 1> (a, s, z)",),
        {"a": Q, "s": SCALES, "z": Q[0]},
    ),
    Folded("DequantizeLinear, rows", ("w = DequantizeLinear <axis = 0> (a, s)",), {"a": Q, "s": SCALES[:4]}),
    Folded("DequantizeLinear, last axis", ("w = DequantizeLinear <axis = -1> (a, s)",), {"a": Q, "s": SCALES}),
    Folded(
        "DequantizeLinear, opset 10", ("w = DequantizeLinear(a, s)",), {"a": Q, "s": np.array(0.03, np.float32)}, 10
    ),
    Folded(
        "DequantizeLinear, blocks",
        ("w = DequantizeLinear <axis = 1, block_size = 2> (a, s)",),
        {"a": Q, "s": RNG.uniform(0.01, 0.2, (4, 3)).astype(np.float32)},
    ),
    Folded(
        "DequantizeLinear, 4 bits",
        ("w = DequantizeLinear <axis = 1, block_size = 2> (a, s)",),
        {
            "a": (Q // 16).astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT4)),
            "s": RNG.uniform(0.01, 0.2, (4, 3)).astype(np.float32),
        },
    ),
    Folded(
        "DequantizeLinear, 8-bit floats without a zero point",
        ("w = DequantizeLinear(a, s)",),
        {"a": W.astype(helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN)), "s": np.array(0.5, np.float32)},
    ),
    Folded("DequantizeLinear, float16", ("w = DequantizeLinear(a, s)",), {"a": Q, "s": np.array(0.03, np.float16)}),
    Folded(
        "DequantizeLinear, int32",
        ("w = DequantizeLinear(a, s)",),
        {"a": Q.astype(np.int32) * 999, "s": np.array(1e-4, np.float32)},
    ),
    Folded(
        "weights of training with quantisers",
        ("q = QuantizeLinear <axis = 1> (a, s, z)", "w = DequantizeLinear <axis = 1> (q, s, z)"),
        {"a": W, "s": SCALES / 4, "z": np.zeros(6, np.int8)},
    ),
    Folded(
        "QuantizeLinear",
        ("q = QuantizeLinear(a, s)", "w = DequantizeLinear(q, s)"),
        {"a": W, "s": np.array(0.01, np.float32)},
    ),
    Folded("Constant node", ("a = Constant <value = float[2] {1.5, 2}> ()", "w = Identity(a)"), {}),
    Folded("Constant node, floats", ("w = Constant <value_floats = [1.5, 2.5]> ()",), {}),
    Folded("sizes in a Constant node", ("s = Constant <value_ints = [3, -1]> ()", "w = Reshape(a, s)")),
    Folded(
        "several steps",
        ("d = DequantizeLinear <axis = 1> (a, s)", "t = Transpose(d)", "w = Unsqueeze(t, x)"),
        {"a": Q, "s": SCALES, "x": ints(0)},
    ),
]


def model_of(case: Folded) -> onnx.ModelProto:
    lines = "\n".join(case.nodes)
    # An input named like an array would hide it.
    text = f"""
        <ir_version: 10, opset_import: ["": {case.opset}]>
        g (float[1] input) => (float[1] y) {{ {lines}\n y = Relu(input) }}
    """
    return parsed(text, case.arrays)


def by_onnxruntime(model: onnx.ModelProto) -> np.ndarray:
    """The tensor ``w``."""
    model.graph.output.append(onnx.ValueInfoProto(name="w"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The optimiser of onnxruntime before 1.32 aborts on some of these.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["w"], {"input": np.zeros(1, np.float32)})
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("case", FOLDED, ids=lambda case: case.id)
def test_values_are_those_of_onnxruntime(case: Folded) -> None:
    model = model_of(case)
    constants = Constants(load_model(model).proto.graph)
    assert "w" in constants
    found = constants.value("w")
    expected = by_onnxruntime(model)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert constants.shape("w") == expected.shape
    assert constants.dtype("w") == expected.dtype.name
    np.testing.assert_array_equal(found, expected)
    assert min(found.strides, default=0) >= 0  # PyTorch refuses others


def test_bfloat16_behind_a_cast_is_a_weight() -> None:
    stored = W.astype(helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))
    model = model_of(Folded("", ("w = Cast <to = 1> (a)",), {"a": stored}))
    found = Constants(model.graph).value("w")
    np.testing.assert_array_equal(found, stored.astype(np.float32))
    assert found.dtype == np.float32


STANDARDISED = (
    "m = ReduceMean <keepdims = 1> (a, axis)",
    "d = Sub(a, m)",
    "q = Mul(d, d)",
    "v = ReduceMean <keepdims = 1> (q, axis)",
    "e = Constant <value_float = 0.00001> ()",
    "p = Add(v, e)",
    "r = Sqrt(p)",
    "w = Div(d, r)",
)
EVALUATED = [
    Folded("Sin", ("w = Sin(a)",)),
    Folded("of a sine", ("b = Sin(a)", "w = Transpose(b)")),
    Folded("weight standardisation", STANDARDISED, {"a": W, "axis": ints(1)}),
    Folded("mean by an attribute", ("w = ReduceMean <axes = [1]> (a)",), {"a": W}, 13),
    Folded("a sum of integers", ("b = Add(s, s)", "w = Reshape(a, b)"), {"a": W, "s": ints(6, 1)}),
    Folded("Cast to integers", ("w = Cast <to = 7> (a)",)),
    Folded("Gather by a Range", ("n = Range(z, o, t)", "w = Gather <axis = 1> (a, n)"),
           {"a": W, "z": np.array(0), "o": np.array(6), "t": np.array(2)}),
    Folded("product of factors", ("w = MatMul(a, b)",), {"a": W, "b": W.T}),
    Folded("mask", ("z = Greater(a, o)", "w = Where(z, a, o)"), {"a": W, "o": np.array(0.1, np.float32)}),
    Folded("Clip, older", ("w = Clip <min = -0.5, max = 0.5> (a)",), {"a": W}, 10),
    Folded("softmax of the last axis", ("w = Softmax <axis = -1> (a)",)),
    Folded("20 steps", (*(f"t{i + 1} = Neg(t{i})" for i in range(20)), "w = Neg(t20)"), {"t0": W}),
]  # fmt: skip


@pytest.mark.parametrize("case", EVALUATED, ids=lambda case: case.id)
def test_any_operator_of_constants_is_computed(case: Folded) -> None:
    model = model_of(case)
    constants = Constants(load_model(model).proto.graph)
    assert "w" in constants
    expected = by_onnxruntime(model)
    assert (constants.shape("w"), constants.dtype("w")) == (expected.shape, expected.dtype.name)
    np.testing.assert_allclose(constants.value("w"), expected, rtol=1e-5, atol=1e-6)  # sums in another order


BRANCH = "g () => (float[4, 6] t) { t = Sin(a) }"
TRUE = np.array(True)
NOT_FOLDED = [
    Folded("of an input", ("w = Reshape(input, s)",), {"s": ints(1)}),
    Folded("a string", ("w = Identity(a)",), {"a": np.array(["x"], object)}),
    Folded("drawn", ("b = RandomNormalLike(a)", "w = Sin(b)")),
    Folded("softmax of what the opset decides", ("w = Softmax <axis = 0> (a)",)),
    Folded("a branch", (f"w = If (c) <then_branch = {BRANCH}, else_branch = {BRANCH}>",), {"a": W, "c": TRUE}),
    Folded("66 steps", (*(f"t{i + 1} = Identity(t{i})" for i in range(65)), "w = Identity(t65)"), {"t0": W}),
]  # fmt: skip


@pytest.mark.parametrize("case", NOT_FOLDED, ids=lambda case: case.id)
def test_anything_else_is_no_constant(case: Folded) -> None:
    assert "w" not in Constants(model_of(case).graph)


def test_products_of_another_domain_are_not_folded() -> None:
    node = helper.make_node("Transpose", ["a"], ["w"], domain="com.example")
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(W, "a")])
    assert "w" not in Constants(graph)
    node.op_type, node.domain = "DequantizeLinear", "com.microsoft"
    node.input.append("s")
    graph = helper.make_graph(
        [node], "g", [], [], [numpy_helper.from_array(Q, "a"), numpy_helper.from_array(np.array(0.5, np.float32), "s")]
    )
    np.testing.assert_array_equal(Constants(graph).value("w"), Q * np.float32(0.5))


@dataclass(frozen=True)
class Weight:
    id: str
    nodes: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    reason: str | None = None
    detail: str = ""
    product: str = "y = MatMul(x, w)"


BIG = ints(2**20, 2**20)
WEIGHTS = [
    Weight("transposed", ("w = Transpose(a)",), {"a": W.T}),
    Weight("QDQ", ("w = DequantizeLinear <axis = 1> (a, s)",), {"a": Q, "s": SCALES}),
    Weight("sparse", (), {}),
    Weight("float16", (), {"w": W.astype(np.float16)}),
    Weight("float64", (), {"w": W.astype(np.float64)}),
    Weight("NaN", (), {"w": np.where(W > 1, np.nan, W).astype(np.float32)}, "unsupported", "NaN or infinite"),
    Weight("infinite", (), {"w": np.where(W > 1, np.inf, W).astype(np.float32)}, "unsupported", "NaN or infinite"),
    Weight("empty", (), {"w": W[:, :0]}, "unsupported", "is empty"),
    Weight("stack", (), {"w": W.reshape(2, 4, 3)}, "unsupported", "a stack of matrices (2x4x3)"),
    Weight(
        "bfloat16",
        (),
        {"w": W.astype(helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))},
        "unsupported",
        "is bfloat16; tiles take float weights",
    ),
    Weight("too large", ("w = ConstantOfShape(s)",), {"s": BIG}, "no-static-weight", f"at most {FOLD_LIMIT}"),
    Weight("nonsense", ("w = Reshape(a, s)",), {"a": W, "s": ints(5, 5)}, "no-static-weight", "cannot be computed"),
    Weight("standardised", STANDARDISED, {"a": W, "axis": ints(1)}),
    Weight(
        "expanded too far",
        ("w = Expand(a, s)",),
        {"a": W[:1, :1], "s": BIG},
        "no-static-weight",
        f"at most {FOLD_LIMIT}",
    ),
    Weight(
        "split by another operator",
        ("w, i = TopK <axis = 1> (a, k)",),
        {"a": W, "k": ints(6)},
        "no-static-weight",
        "computed from constants by TopK, which lhc",
    ),
    Weight(
        "from afar",
        ("s, i = TopK <axis = 1> (a, k)", "t = Sign(s)", "w = Identity(t)"),
        {"a": W, "k": ints(6)},
        "no-static-weight",
        "by TopK, which",
    ),
    Weight(
        "drawn", ("w = RandomNormalLike(a)",), {"a": W}, "no-static-weight", "both operands are computed at run time"
    ),
    Weight("split", ("v, w = Split <axis = 1> (a, s)",), {"a": np.hstack([W, W]), "s": ints(6, 6)}),
    Weight("bad split", ("v, w = Split <axis = 1> (a, s)",), {"a": W, "s": ints(3, 6)}, "no-static-weight", "parts"),
    Weight(
        "cut by a size of the input",
        ("n = Shape <start = 1> (x)", "z = Sub(n, n)", "t = Slice(a, z, n)", "w = Transpose <perm = [0, 1]> (t)"),
        {"a": np.vstack([W, W])},
        "no-static-weight",
        "its weight is a part of a that Slice takes by numbers computed at run time",
    ),
    Weight(
        "MatMulInteger", (), {"w": Q}, "unsupported", "MatMulInteger computes on integers", "y = MatMulInteger(x, w)"
    ),
    Weight("ConvInteger", (), {"w": Q[:, :, None]}, "unsupported", "computes on integers", "y = ConvInteger(x, w)"),
    Weight(
        "QLinearMatMul",
        (),
        {"w": Q, "s": np.array(1, np.float32), "z": np.array(0, np.int8)},
        "unsupported",
        "computes on integers",
        "y = QLinearMatMul(x, s, z, w, s, z, s, z)",
    ),
    Weight(
        "QLinearConv",
        (),
        {"w": Q[:, :, None], "s": np.array(1, np.float32), "z": np.array(0, np.int8)},
        "unsupported",
        "computes on integers; tiles take float weights, as in a model with QuantizeLinear",
        "y = QLinearConv(x, s, z, w, s, z, s, z)",
    ),
]


@pytest.mark.parametrize("case", WEIGHTS, ids=lambda case: case.id)
def test_a_weight_or_the_reason_why_not(case: Weight) -> None:
    lines = "\n".join((*case.nodes, case.product))
    graph = parser.parse_graph(f"g (float[N, 4] x) => (float[N, 6] y) {{ {lines} }}")
    if case.id == "sparse":
        values, indices = numpy_helper.from_array(W.ravel()[:9], "w"), numpy_helper.from_array(np.arange(9), "i")
        graph.sparse_initializer.add(values=values, indices=indices, dims=[4, 6])
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in case.arrays.items())
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    layer = read_graph(load_model(proto), sizes=False).candidates[0]
    problem = obstacle(layer)
    if case.reason is None:
        assert problem is None
        assert layer.weight is not None
        assert layer.weight.shape == (4, 6)
    else:
        assert problem is not None
        assert problem.reason == case.reason
        assert case.detail in problem.detail


def test_weights_are_shared_by_content_and_orientation_wherever_they_come_from() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[N, 6] x) => (float[N, 6] y) {
      plain = MatMul(x, w)
      t = Transpose(wt)
      turned = MatMul(plain, t)
      g1 = Gemm <transB = 1> (turned, wt)
      i = Identity(w)
      g2 = Gemm(g1, i)
      back = Gemm <transB = 1> (g2, w)
      y = MatMul(back, c)
    }
    """
    model = parser.parse_model(text)
    square = RNG.normal(size=(6, 6)).astype(np.float32)
    for name, array in {"w": square, "wt": square.T, "c": square}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    graph = read_graph(load_model(model))
    groups = graph.tied(layer.name for layer in graph.candidates)
    outputs = [[graph[name].outputs[0] for name in group] for group in groups]
    assert outputs == [["plain", "turned", "g1", "g2", "y"], ["back"]]


@given(st.binary(max_size=200), st.integers(0, 30), st.lists(st.integers(-3, 2**40), max_size=4))
def test_nonsense_in_a_tensor_is_an_error_of_lhc(data: bytes, kind: int, dims: list[int]) -> None:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    model.graph.initializer.add(name="w", data_type=kind, dims=dims, raw_data=data)
    constants = Constants(model.graph)
    try:
        found = constants.value("w")
    except ModelError as error:
        message = str(error)
    else:
        message = f"'w' {found.shape}"
        assert found.shape == tuple(dims)
    assert "'w'" in message


def test_packed_values_that_are_fewer_than_their_shape_says_are_refused() -> None:
    """Versions of onnx stretch them: a file of a few bytes then takes all memory."""
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[2**38], raw_data=b"12")
    with pytest.raises(ModelError, match="initializer 'w': its data does not fit its shape and type"):
        stored_array(tensor)
    whole = helper.make_tensor("w", TensorProto.INT4, [3], np.array([1, -2, 3]))
    assert stored_array(whole).astype(int).tolist() == [1, -2, 3]
