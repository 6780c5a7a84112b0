"""Operators that are no products cost the same however the network was exported."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lhc
from lhc.costs import by_operator, cost_terms
from lhc.costs.digital_operators import fixed
from lhc.graph import Elements, Layer, LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel

pytest.importorskip("torch", reason="networks are exported with PyTorch")
pytest.importorskip("onnxscript", reason="torch's dynamo exporter needs it")

import torch
from torch import nn
from torch.nn import functional

from tests.networks import parsed

LIONHEART = Hardware.load("lionheart")
CYCLE = 0.5e-9
"""Seconds of the preset's core."""


class Encoder(nn.Module):
    """A layer of a transformer that masks what comes later, with shapes that are computed when it runs."""

    def __init__(self, approximate: str) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(64), nn.LayerNorm(64)
        self.qkv, self.mix = nn.Linear(64, 192), nn.Linear(64, 64)
        self.wide, self.narrow = nn.Linear(64, 256), nn.Linear(256, 64)
        self.where = nn.Parameter(torch.randn(1, 16, 64))
        self.approximate = approximate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, tokens, 64)`` to the same."""
        x = x + self.where[:, : x.shape[1]]
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.before(x)).view(batch, tokens, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)) / (width // 4) ** 0.5
        seen = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
        shares = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        x = x + self.mix((shares @ v).transpose(1, 2).reshape(batch, tokens, width))
        y: torch.Tensor = functional.gelu(self.wide(self.between(x)), approximate=self.approximate)
        z: torch.Tensor = x + self.narrow(y)
        return z


class Pictures(nn.Module):
    """Convolutions with batch-norms, which exporters fold or not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.norm2 = nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32)
        self.last = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, 3, 16, 16)`` to ``(batch, 10)``."""
        x = functional.hardswish(self.norm2(self.second(functional.relu(self.norm1(self.first(x))))))
        y: torch.Tensor = self.last(functional.max_pool2d(x, 2).flatten(1)).softmax(-1)
        return y


def exported(
    module: nn.Module, example: torch.Tensor, dynamo: bool, opset: int = 18, fold: bool = True
) -> onnx.ModelProto:
    """By torch's new exporter, or by the one that traces; that one can leave batch-norms as they are."""
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            sizes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                module, (example,), dynamo=True, verbose=False, dynamic_shapes=sizes, opset_version=opset
            )
            assert program is not None
            found: onnx.ModelProto = program.model_proto
            return found
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            torch.onnx.export(
                module,
                (example,),
                file,
                dynamo=False,
                input_names=["x"],
                dynamic_axes={"x": {0: "batch"}},
                opset_version=opset,
                do_constant_folding=fold,
                training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            )
            return onnx.load_model(file)


def microseconds(model: onnx.ModelProto) -> Mapping[str, float]:
    """Latency of operators that are no products, by operator."""
    costs = lhc.analyze(model).costs
    assert costs is not None
    return {one.operator: 1e6 * one.cost.latency_s for one in by_operator(costs.others)}


@pytest.mark.slow
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_two_exporters_of_a_transformer_agree(approximate: str) -> None:
    """Within 3 %: one writes the cube in GELU's tanh form as a power, the other as two products."""
    module, example = Encoder(approximate), torch.randn(2, 16, 64)
    new, traced = (exported(module, example, dynamo) for dynamo in (True, False))
    assert len(traced.graph.node) > 2 * len(new.graph.node), "one has its shape arithmetic in the graph"
    costs = [sum(microseconds(model).values()) for model in (new, traced)]
    assert costs[0] == pytest.approx(costs[1], rel=0.03)
    assert costs[0] > 50


@pytest.mark.slow
def test_activations_in_parts_and_in_one_operator_agree_within_a_third() -> None:
    module, example = Encoder("none"), torch.randn(2, 16, 64)
    parts, whole = (microseconds(exported(module, example, True, opset)) for opset in (18, 20))
    assert "Erf" in parts
    assert "Gelu" in whole
    assert sum(whole.values()) <= sum(parts.values()) <= 4 / 3 * sum(whole.values())


@pytest.mark.slow
def test_batch_norms_cost_nothing_folded_or_not() -> None:
    module, example = Pictures(), torch.randn(2, 3, 16, 16)
    new, traced = (exported(module, example, dynamo) for dynamo in (True, False))
    unfolded = exported(module, example, False, fold=False)
    assert any(node.op_type == "BatchNormalization" for node in unfolded.graph.node)
    assert not any(node.op_type == "BatchNormalization" for node in new.graph.node)
    assert microseconds(new) == pytest.approx(microseconds(traced))
    assert microseconds(new) == pytest.approx(microseconds(unfolded))
    assert set(microseconds(new)) == {"Relu", "HardSwish", "MaxPool", "Softmax"}


def network(text: str, **weights: tuple[int, ...]) -> OnnxModel:
    model = parsed(
        f'<ir_version: 8, opset_import: ["" : 17]> g {text}',
        {name: np.ones(shape, np.float32) for name, shape in weights.items()},
    )
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}{number}"
    return load_model(model)


def costly(model: OnnxModel) -> Mapping[str, float]:
    """Cycles of every operator that is no product and costs something."""
    return {name: cost.latency_s / CYCLE for name, cost in cost_terms(read_graph(model), LIONHEART).others.items()}


def test_shapes_constants_casts_and_views_cost_nothing() -> None:
    model = network("""(float[N, 4, 8] x) => (float[N, 32] y, float[32] z) {
        shape = Shape (x)
        zero = Constant <value = int64[1] {0}> ()
        first = Gather (shape, zero)
        rest = Constant <value = int64[1] {32}> ()
        wanted = Concat <axis = 0> (first, rest)
        flat = Reshape (x, wanted)
        half = Cast <to = 10> (flat)
        y = Cast <to = 1> (half)
        ones = ConstantOfShape <value = float[1] {1}> (rest)
        z = Exp (ones)
    }""")
    assert costly(model) == {}
    assert fixed(read_graph(model)) >= {"Shape0", "Gather2", "Concat4", "Exp9"}


def test_what_moves_elements_costs_what_it_moves() -> None:
    model = network("""(float[N, 4, 8] x) => (float[N, 8, 4] y, float[N, 1, 8] z) {
        y = Transpose <perm = [0, 2, 1]> (x)
        zero = Constant <value = int64[1] {0}> ()
        z = Gather <axis = 1> (x, zero)
    }""")
    assert costly(model) == {"Transpose0": pytest.approx(32), "Gather2": pytest.approx(8)}


@pytest.mark.parametrize(
    ("operator", "shape", "cycles"),
    [
        ("Add (p, c)", (6,), None),
        ("Mul (p, c)", (1, 6), None),
        ("Div (p, c)", (1,), None),
        ("Div (c, p)", (1,), 20 * 3 * 6),
        ("Add (p, c)", (3, 6), 3 * 6),
        ("Add (p, c)", (3, 1), 3 * 6),
        ("Max (p, c)", (6,), 3 * 6),
    ],
    ids=[
        "bias",
        "scale",
        "division by one number",
        "division of one number",
        "another for each row",
        "one a row",
        "not affine",
    ],
)
def test_one_constant_a_column_merges_into_the_product(
    operator: str, shape: tuple[int, ...], cycles: float | None
) -> None:
    text = "(float[N, 3, 4] x) => (float[N, 3, 6] y) { p = MatMul (x, w)  [it] y = " + operator + " }"
    assert costly(network(text, w=(4, 6), c=shape)) == ({} if cycles is None else {"it": pytest.approx(cycles)})


@pytest.mark.parametrize(
    ("product", "shape", "merges"),
    [
        ("Conv <kernel_shape = [1, 1]> (x, w)", (6, 1, 1), True),
        ("Conv <kernel_shape = [1, 1]> (x, w)", (5,), False),
        ("ConvTranspose <kernel_shape = [1, 1]> (x, v)", (1, 6, 1, 1), True),
        ("ConvTranspose <kernel_shape = [1, 1]> (x, v)", (5, 1), False),
    ],
    ids=["channels", "one a place", "channels, transposed", "one a place, transposed"],
)
def test_the_columns_of_a_convolution_are_its_channels(product: str, shape: tuple[int, ...], merges: bool) -> None:
    """Six channels of 5 x 5 places: a constant for each place is work, though it is smaller than the channels."""
    text = "(float[N, 4, 5, 5] x) => (float[N, 6, 5, 5] y) { p = " + product + "  [it] y = Add (p, c) }"
    assert costly(network(text, w=(6, 4, 1, 1), v=(4, 6, 1, 1), c=shape)) == (
        {} if merges else {"it": pytest.approx(6 * 25)}
    )


@pytest.mark.parametrize("fixed_on", ["left", "right"])
def test_the_columns_of_a_matrix_are_on_the_side_of_its_activations(fixed_on: str) -> None:
    """``W @ x`` has its columns where ``x @ W`` has its rows."""
    product, bias = ("MatMul (w, x)", (6, 1)) if fixed_on == "left" else ("MatMul (x, v)", (6,))
    shape = "6, 3" if fixed_on == "left" else "4, 6"
    text = "(float[4, 3] x) => (float[" + shape + "] y) { p = " + product + "  [it] y = Add (p, c) }"
    assert costly(network(text, w=(6, 4), v=(3, 6), c=bias)) == {}


def test_a_constant_that_spreads_a_column_is_work() -> None:
    text = "(float[N, 3, 4] x) => (float[N, 3, 6] y) { p = MatMul (x, w)  [it] y = Add (p, c) }"
    assert set(costly(network(text, w=(4, 1), c=(6,)))) == {"it"}


def test_a_batch_norm_of_rows_is_work() -> None:
    """It normalizes axis 1, which holds three rows here; the columns of the product are axis 2."""
    norm = "[it] y = BatchNormalization (p, a, b, m, v)"
    text = "(float[N, 3, 4] x) => (float[N, 3, 6] y) { p = MatMul (x, w)  " + norm + " }"
    assert set(costly(network(text, w=(4, 6), a=(3,), b=(3,), m=(3,), v=(3,)))) == {"it"}
    text = "(float[N, 4] x) => (float[N, 6] y) { p = MatMul (x, w)  " + norm + " }"
    assert costly(network(text, w=(4, 6), a=(6,), b=(6,), m=(6,), v=(6,))) == {}


def test_nothing_merges_past_another_reader() -> None:
    text = "(float[N, 3, 4] x) => (float[N, 3, 6] y) { p = MatMul (x, w)  [it] q = Add (p, c)  [end] y = Max (q, p) }"
    assert set(costly(network(text, w=(4, 6), c=(6,)))) == {"it", "end"}


def test_squares_and_divisions_by_constants_are_products() -> None:
    text = """(float[N, 10] x) => (float[N, 10] y, float[N, 10] z) {
        two = Constant <value = float {2}> ()
        [square] a = Pow (x, two)
        [half] b = Div (a, two)
        [root] y = Sqrt (b)
        [ratio] z = Div (x, b)
    }"""
    expected = {"square": 10, "half": 10, "root": 200, "ratio": 200}
    assert costly(network(text)) == {name: pytest.approx(cycles) for name, cycles in expected.items()}


def test_reductions_cost_what_they_read_and_hand_on_what_they_write() -> None:
    text = """(float[N, 8, 4, 4] x) => (float[N, 8, 1, 1] y) {
        [pool] p = GlobalAveragePool (x)
        [act] y = Sigmoid (p)
    }"""
    assert costly(network(text)) == {"pool": pytest.approx(128), "act": pytest.approx(8 * 20)}


def test_where_sizes_are_not_known_an_operator_counts_what_it_reads() -> None:
    layers = [
        Layer("a", "Relu", ("x",), ("a",), elements=Elements(30, None)),
        Layer("b", "Relu", ("a",), ("b",), elements=Elements(0, None)),
    ]
    terms = cost_terms(LayerGraph(layers, ["x"], ["b"]), LIONHEART)
    assert [cost.latency_s / CYCLE for cost in terms.others.values()] == pytest.approx([30, 30])


def test_random_numbers_are_drawn_for_every_sample() -> None:
    text = """(float[N, 4] x) => (float[N, 4] y) {
        noise = RandomNormal <shape = [1, 4]> ()
        [scaled] loud = Exp (noise)
        [sum] y = Add (x, loud)
    }"""
    assert {"scaled", "sum"} <= set(costly(network(text)))


def test_costs_by_operator_add_up() -> None:
    analysis = lhc.analyze("digits")
    digital = analysis.cost(frozenset())
    assert digital is not None
    told = by_operator(digital.others)
    assert [one.operator for one in told] == ["Relu", "Add", "ReduceMean"]
    assert [one.count for one in told] == [11, 9, 1]
    whole = sum(cost.latency_s for cost in digital.others.values())
    assert sum(one.cost.latency_s for one in told) == pytest.approx(whole)


@st.composite
def mixed_graphs(draw: st.DrawFn) -> LayerGraph:
    """Operators of every kind that `fixed` tells apart, which read each other, an input and constants."""
    layers: list[Layer] = []
    for i in range(draw(st.integers(1, 9))):
        sources = draw(st.lists(st.sampled_from(["x", "constant", *(f"t{j}" for j in range(i))]), max_size=3))
        op = draw(st.sampled_from(["Add", "Shape", "Size", "MatMul", "RandomNormalLike"]))
        layers.append(Layer(f"n{i}", op, tuple(sources), (f"t{i}",)))
    order = draw(st.permutations(layers))
    return LayerGraph(order, ["x"], [layers[-1].outputs[0]])


@given(mixed_graphs())
def test_what_is_computed_once_follows_from_constants_and_shapes(graph: LayerGraph) -> None:
    known: set[str] = {"constant"}
    for name in graph.order():
        layer = graph[name]
        alone = layer.op_type in ("Shape", "Size")
        if alone or (layer.op_type == "Add" and known.issuperset(layer.inputs)):
            known.update(layer.outputs)
    assert fixed(graph) == {layer.name for layer in graph.layers if layer.outputs[0] in known}


@pytest.mark.parametrize("operator", ["FastGelu", "QuickGelu"])
def test_a_function_of_onnxruntime_costs_what_one_of_onnx_does(operator: str) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
    g (float[1, 256] x) => (float[1, 256] y) {
      h = MatMul (x, w)
      y = OPERATOR (h)
    }"""
    weights = {"w": np.eye(256, dtype=np.float32)}
    own = microseconds(parsed(text.replace("OPERATOR", "Gelu"), weights))
    fused = microseconds(parsed(text.replace("OPERATOR", f"com.microsoft.{operator}"), weights))
    assert list(fused.values()) == list(own.values())
