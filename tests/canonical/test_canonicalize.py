"""Operators that stand for products go the whole way: placed, run, compiled, differentiated, retrained."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.canonical import canonical
from lhc.graph import LayerGraph, obstacle
from lhc.hardware import Hardware
from lhc.lowering import lower
from lhc.onnx_io import able_to_adapt, load_model, read_graph, read_plan, with_adapters
from lhc.onnx_model import OnnxModel
from lhc.options.training import TrainingOptions
from lhc.passes import Qualify, initial_plan
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.runtime import HybridExecutor, HybridSession, parity_errors
from lhc.runtime.gradients.network import DifferentiableModel, parity
from lhc.runtime.onnxruntime.sessions import Array, create_session
from lhc.samples.metrics import METRICS
from lhc.samples.task import Task
from lhc.train.training_setup import TrainingSetup
from tests.canonical import made_models as made
from tests.networks import drawn, parsed

pytestmark = pytest.mark.analog

SAMPLES = 8


@dataclass(frozen=True)
class Case:
    id: str
    make: Callable[[Path], onnx.ModelProto]
    kinds: tuple[str, ...]
    """Operators of the file, as the form's products name them."""
    products: int
    shape: tuple[int, ...]
    more: dict[str, Array] = field(default_factory=dict)
    dequantize: bool = False


MASK = np.tile([1, 1, 1, 1, 0, 0], (SAMPLES, 1)).astype(np.int32)
PAST = {
    "mask": np.tile([1, 1, 0, 1, 1, 1, 1, 0, 0], (SAMPLES, 1)).astype(np.int32),
    "past": np.random.default_rng(1).normal(size=(SAMPLES, 2, 4, 3, 8)).astype(np.float32),
}
IMAGES = (3, 8, 8)
QLINEAR = ("QLinearConv", "QLinearMatMul", "QGemm")
DYNAMIC_LSTM = ("DynamicQuantizeLSTM", "MatMulInteger", "DynamicQuantizeMatMul")
OPTIMISED = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat")
CASES = [
    Case("4 bits", lambda f: made.few_bits(f, is_symmetric=True), ("MatMulNBits",), 2, (5, 64)),
    Case("4 bits, zero points", lambda f: made.few_bits(f, is_symmetric=False), ("MatMulNBits",), 2, (5, 64)),
    Case("activations in 8 bits", lambda f: made.few_bits(f, accuracy_level=4), ("MatMulNBits",), 2, (5, 64)),
    Case("fused", made.fused, ("FusedConv", "FusedGemm", "FusedMatMul"), 5, (3, 8, 8)),
    Case("packed attention", made.packed_attention, ("Attention",), 4, (6, 32), {"mask": MASK}),
    Case("attention with past", made.attention_with_past, ("Attention",), 4, (6, 32), PAST),
    Case("Einsum", made.einsum, ("Einsum",), 2, (6, 32)),
    Case("transposed", made.transposed, ("ConvTranspose",), 3, (4, 5, 4)),
    Case("integers", made.on_integers(False), QLINEAR, 4, IMAGES, dequantize=True),
    Case("integers by channel", made.on_integers(True), QLINEAR, 4, IMAGES, dequantize=True),
    Case("dynamic", made.dynamic_integers, ("ConvInteger", "MatMulInteger"), 4, IMAGES, dequantize=True),
    Case(
        "dynamic attention", made.dynamic_attention, ("QAttention", "MatMulInteger"), 4, (6, 32), {"mask": MASK}, True
    ),
    Case("optimised", made.optimised_integers, OPTIMISED, 3, (5, 64), dequantize=True),
    Case("LSTM", made.recurrent("LSTM"), ("LSTM",), 1 + 7 + 1, (7, 12)),
    Case("LSTM, both ways", made.recurrent("LSTM", bidirectional=True), ("LSTM",), 2 * (1 + 7) + 1, (7, 12)),
    Case("LSTM on integers", made.dynamic_recurrent(True, False), DYNAMIC_LSTM, 2 * (1 + 7) + 1, (7, 12), {}, True),
    Case(
        "LSTM on integers by channel", made.dynamic_recurrent(False, True), DYNAMIC_LSTM, 1 + 7 + 1, (7, 12), {}, True
    ),
    Case("GRU", made.recurrent("GRU"), ("GRU",), 1 + 7 + 1, (7, 12)),
    Case("RNN", made.recurrent("RNN", nonlinearity="relu"), ("RNN",), 1 + 7 + 1, (7, 12)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def file(case: Case, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's older exporter says that there is a newer one
        return case.make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def model(case: Case, file: onnx.ModelProto) -> OnnxModel:
    return canonical(load_model(file), case.dequantize)


@pytest.fixture(scope="module")
def graph(model: OnnxModel) -> LayerGraph:
    return read_graph(model)


@pytest.fixture(scope="module")
def feeds(case: Case) -> dict[str, Array]:
    x = np.random.default_rng(0).normal(size=(SAMPLES, *case.shape)).astype(np.float32)
    return {"x": x} | case.more


@pytest.fixture(scope="module")
def expected(file: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    exact = onnx.ModelProto()
    exact.CopyFrom(file)
    for attribute in (a for node in exact.graph.node for a in node.attribute if a.name == "accuracy_level"):
        attribute.i = 0
    output: Array = create_session(exact, "file").run(None, feeds)[0]
    return output


def products(graph: LayerGraph) -> list[str]:
    return [layer.name for layer in graph.candidates if obstacle(layer) is None]


def assert_same(case: Case, found: Array, expected: Array) -> None:
    """Where a network rounds to integers, sums that differ in their last bit may lie a step apart, if few do."""
    apart = np.abs(found - expected) / np.abs(expected).max()
    assert found.shape == expected.shape
    assert apart.max() <= (0.03 if case.dequantize else 1e-4)
    assert np.mean(apart > 1e-4) <= 0.25


def test_products_name_the_operators_of_the_file(case: Case, graph: LayerGraph) -> None:
    found = [graph[name] for name in products(graph)]
    assert len(found) == case.products
    kinds = {layer.origin.kind.removeprefix("com.microsoft::") for layer in found if layer.origin is not None}
    assert kinds <= {*case.kinds}
    assert kinds


def test_macs_are_those_of_the_file(file: onnx.ModelProto, model: OnnxModel) -> None:
    of_file, of_form = (LoadedModel(one, None).graph() for one in (load_model(file), model))

    def macs(of: LayerGraph) -> int:
        return sum(layer.work.macs for layer in of.multiplying if layer.work is not None)

    assert macs(of_form) == macs(of_file) > 0


def test_every_product_passes_the_parity_gate(model: OnnxModel, graph: LayerGraph, feeds: dict[str, Array]) -> None:
    errors = parity_errors(model, graph, Hardware.load("lionheart"), products(graph), feeds, SAMPLES)
    assert max(errors.values()) <= 1e-4


def test_without_noise_tiles_compute_what_the_file_does(
    case: Case, file: onnx.ModelProto, graph: LayerGraph, feeds: dict[str, Array], expected: Array
) -> None:
    ideal = Hardware.load("lionheart").geometry
    assert_same(
        case, HybridSession(file, ideal, "all-analog", dequantize=case.dequantize).run(None, feeds)[0], expected
    )
    for name in products(graph)[:3]:  # the rest is as the file has it
        found = HybridSession(file, ideal, [name], dequantize=case.dequantize).run(None, feeds)[0]
        np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max(), rtol=0)


def test_all_digital_is_the_file(file: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    found = HybridSession(file, placement=[]).run(None, feeds)[0]
    np.testing.assert_array_equal(found, create_session(file, "file").run(None, feeds)[0])


def test_compiled_it_computes_the_same(
    case: Case, model: OnnxModel, graph: LayerGraph, feeds: dict[str, Array], expected: Array
) -> None:
    ideal = Hardware.load("lionheart").geometry
    plan = Qualify().run(graph, initial_plan(graph, ideal, model.source, "0")).plan
    names = products(graph)
    plan = plan.decide(dict.fromkeys(names, ("analog", "forced", "")))
    matrices = HybridExecutor(model, graph, names).states(ideal, 0, 0, 0.0)
    compiled = lower(model, graph, plan, matrices, "off")
    assert_same(case, create_session(compiled, "compiled").run(None, feeds)[0], expected)
    calls = {node.name: node for node in compiled.graph.node if node.domain == "lhc.analog"}
    assert calls.keys() == {*names}
    assert all(any(e.key == "lhc.placement" for e in node.metadata_props) for node in calls.values())


def test_it_is_differentiated(case: Case, model: OnnxModel, graph: LayerGraph, feeds: dict[str, Array]) -> None:
    network = DifferentiableModel(model, graph)
    assert max(parity(network, feeds).values()) <= (0.03 if case.dequantize else 1e-4)
    output = network(feeds)[graph.outputs[0]]
    output.square().mean().backward()
    weights = {layer.weight.name for name in products(graph) if (layer := graph[name]).weight is not None}
    gradients = {n: p.grad for n, p in network.named_parameters() if n in weights}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())


@pytest.mark.slow
def test_it_is_retrained_and_written_in_its_canonical_form(
    model: OnnxModel, graph: LayerGraph, feeds: dict[str, Array]
) -> None:
    task = Task({n: np.concatenate([a, a]) for n, a in feeds.items()}, None, METRICS["nmse"])
    settings = TrainingOptions(steps=4, batch_size=SAMPLES, loss="distillation")
    course = TrainingSetup(model, graph, Hardware.load("lionheart"), {}, 86400.0, task, settings, lambda *_: None)
    course.check()
    trainer = course.trainer(4)
    trainer.begin(products(graph))
    losses = [trainer.train_step(1.0) for _ in range(4)]
    assert np.isfinite(losses).all()
    written = course.written(trainer.network.weights())
    again = canonical(load_model(written))
    assert products(read_graph(again)) == products(graph)
    before, after = (create_session(m.proto, "net").run(None, feeds)[0] for m in (model, again))
    assert np.abs(after - before).max() > 0


def test_adapters_stand_beside_products(
    case: Case, model: OnnxModel, graph: LayerGraph, feeds: dict[str, Array]
) -> None:
    able = able_to_adapt(model, graph, products(graph), 2)
    adapted = with_adapters(model, graph, able, 2)
    assert adapted.file is None
    assert adapted.source != model.source
    before, after = (create_session(m.proto, "net").run(None, feeds)[0] for m in (model, adapted))
    assert_same(case, after, before)


@pytest.mark.slow
def test_annotations_are_on_the_operators_of_the_file(
    case: Case, file: onnx.ModelProto, feeds: dict[str, Array], tmp_path: Path
) -> None:
    result = lhc.partition(
        file, feeds, metric="nmse", draws=2, objective="macs", strategy="all-analog", max_drop=5.0, copies="off",
        dequantize=case.dequantize,
    )  # fmt: skip
    result.save(tmp_path / "placed.onnx")
    placed = onnx.load(tmp_path / "placed.onnx")
    named = load_model(file).proto
    assert [(n.op_type, n.name, *n.input) for n in placed.graph.node] == [
        (n.op_type, n.name, *n.input) for n in named.graph.node
    ]
    assert placed.graph.initializer == named.graph.initializer
    for node in placed.graph.node:
        keys = {entry.key: entry.value for entry in node.metadata_props}
        assert (keys.get("lhc.placement") == "analog") == (node.op_type in (*case.kinds, "Conv", "Gemm", "MatMul"))
    plan = read_plan(load_model(tmp_path / "placed.onnx"))
    assert plan is not None
    assert plan.analog == result.plan.analog
    session = HybridSession(tmp_path / "placed.onnx")
    assert session.analog == plan.analog
    session.calibrate(feeds)
    assert np.isfinite(session.run(None, feeds)[0]).all()


@pytest.mark.parametrize(
    ("equation", "weight", "products"),
    [
        ("...d,dk->...k", (6, 4), 1),
        ("...d,kd->k...", (4, 6), 1),
        ("b...d,dhk->bh...k", (6, 2, 4), 1),
        ("bsd,...dk->...bsk", (5, 6, 4), 1),  # five matrices beside each other
        ("...sd,...dk->...sk", (3, 6, 4), 0),  # a matrix for every b
    ],
)
def test_an_einsum_with_an_ellipsis_is_a_product_where_one_operand_alone_has_the_axes(
    equation: str, weight: tuple[int, ...], products: int
) -> None:
    w = drawn({"w": weight})["w"]
    x = np.random.default_rng(2).normal(size=(3, 2, 6)).astype(np.float32)
    expected = np.einsum(equation, x, w)
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[3, 2, 6] x) => (float{list(expected.shape)} y) {{ y = Einsum <equation = "{equation}"> (x, w) }}"""
    proto = parsed(text, {"w": w})

    form = canonical(load_model(proto)).proto

    assert sum(node.op_type == "MatMul" for node in form.graph.node) == products
    for one in (proto, form):
        np.testing.assert_allclose(create_session(one, "einsum").run(None, {"x": x})[0], expected, atol=1e-5)


@pytest.mark.parametrize(("size", "weight"), [(6, 1), (1, 6)])
def test_an_einsum_that_repeats_an_axis_of_one_stays_as_it_is(size: int, weight: int) -> None:
    proto = parsed(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2, {size}] x) => (float[2, 4] y) {{'
        ' y = Einsum <equation = "bd,dh->bh"> (x, w) }',
        drawn({"w": (weight, 4)}),
    )
    assert [node.op_type for node in canonical(load_model(proto)).proto.graph.node] == ["Einsum"]


@pytest.mark.parametrize("mask", [[6, 4, 0, 1], [[1], [1]]], ids=["ends and starts", "one number a sequence"])
def test_attention_with_a_mask_that_its_form_does_not_take_stays(mask: list[object]) -> None:
    given = np.array(mask, np.int32)
    sizes = ", ".join(map(str, given.shape))
    file = made.model_of(
        f"""net (float[2, 6, 32] x, int32[{sizes}] mask) => (float[2, 6, 32] y) {{
          [att] a = com.microsoft.Attention<num_heads = 4>(x, w, b, mask)
          [out] y = MatMul(a, o)
        }}""",
        w=(32, 96),
        b=(96,),
        o=(32, 32),
    )

    form = canonical(load_model(file))

    assert [node.op_type for node in form.proto.graph.node] == ["Attention", "MatMul"]
    x = np.random.default_rng(0).normal(size=(2, 6, 32)).astype(np.float32)
    create_session(form.proto, "form").run(None, {"x": x, "mask": given})
