"""Products in turns: of a Loop, of a Scan, of a recurrent operator whose length samples tell."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.canonical import canonical
from lhc.errors import DataError
from lhc.graph import obstacle
from lhc.hardware import Hardware
from lhc.onnx_io import contradictions, load_model, read_graph, read_plan
from lhc.onnx_model import all_nodes
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.runtime import parity_errors
from lhc.runtime.gradients.network import DifferentiableModel, parity
from lhc.runtime.onnxruntime.sessions import Array, create_session
from lhc.samples.metrics import METRICS
from lhc.samples.task import Task
from tests.canonical import made_models as made
from tests.networks import parsed

pytestmark = pytest.mark.analog

IDEAL = Hardware.load("lionheart").geometry
X = np.random.default_rng(0).normal(size=(8, 7, 12)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    id: str
    make: Callable[[Path], onnx.ModelProto]
    products: int
    """Of all turns."""
    weights: int
    control: tuple[str, ...]
    inside: int
    """Nodes of the file that stand for several products."""


CASES = [
    Case("Loop", made.looped, 2 * 7 + 1, 3, ("7",), 2),
    Case("Scan", made.scanned, 2 * 7 + 1, 3, (), 2),
    Case("LSTM of open length", made.recurrent("LSTM", open_steps=True), 1 + 7 + 1, 3, ("7",), 1),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def file(case: Case, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there are newer ways
        return case.make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def placed(file: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = lhc.partition(
        file, {"x": X}, metric="nmse", draws=2, objective="macs", strategy="all-analog", hardware=IDEAL, max_drop=1.0,
        copies="off",
    )  # fmt: skip
    path: Path = tmp_path_factory.mktemp("placed") / "turns.lhc.onnx"
    found.save(path)
    return path


def assert_same(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def outputs(file: onnx.ModelProto, x: Array = X) -> Array:
    found: Array = create_session(file, "file").run(None, {"x": x})[0]
    return found


def test_all_iterations_are_placed_and_share_their_tiles(case: Case, placed: Path) -> None:
    plan = read_plan(load_model(placed))
    assert plan is not None
    assert len(plan.analog) == case.products
    assert tuple(plan.control.values()) == case.control
    graph = read_graph(canonical(load_model(placed)), sizes=False)
    assert len(graph.tied(plan.analog)) == case.weights
    assert plan.analog_mac_fraction == 1


def test_calls_are_said_to_take_iterations_of_a_loop_and_steps_of_a_recurrent_operator(
    case: Case, file: onnx.ModelProto, caplog: pytest.LogCaptureFixture
) -> None:
    LoadedModel(load_model(file), None).seen(Task({"x": X}, None, METRICS["nmse"]))
    said = {"Loop": "calls that take 7 iterations of", "LSTM of open length": "calls that take 7 steps of", "Scan": ""}
    assert said[case.id] in caplog.text


def test_annotations_are_on_the_nodes_of_the_body(case: Case, placed: Path) -> None:
    annotated = load_model(placed)
    keys = {node.name: {e.key: e.value for e in node.metadata_props} for node in all_nodes(annotated.proto.graph)}
    plan = read_plan(annotated)
    assert plan is not None
    inside = {row.origin for row in plan.layers if row.origin is not None}
    assert len(inside) == case.inside
    for name in inside:
        assert keys[name]["lhc.placement"] == "analog"
        rows = [row for row in plan.layers if row.origin == name]
        assert keys[name]["lhc.macs"] == str(sum(row.macs for row in rows))
    assert contradictions(annotated, plan) == []


def test_without_noise_tiles_compute_what_the_file_does(file: onnx.ModelProto, placed: Path) -> None:
    session = lhc.HybridSession(placed)
    assert_same(session.run(None, {"x": X})[0], outputs(file))
    assert_same(lhc.HybridSession(placed, placement=sorted(session.analog)[:1]).run(None, {"x": X})[0], outputs(file))
    model = canonical(load_model(placed))
    graph = read_graph(model, {"x": (1, 7, 12)})
    assert max(parity_errors(model, graph, IDEAL, sorted(session.analog), {"x": X}, len(X)).values()) <= 1e-4
    assert max(parity(DifferentiableModel(model, graph), {"x": X}).values()) <= 1e-4


@pytest.mark.slow
def test_compiled_it_computes_the_same_and_nothing_for_other_lengths(file: onnx.ModelProto, placed: Path) -> None:
    compiled = lhc.compile(placed, noise="off")
    assert_same(outputs(compiled.proto), outputs(file))
    for length in (5, 9):
        longer = {"x": np.ones((8, length, 12), np.float32)}
        with pytest.raises(DataError, match=r"only_7_|invalid dimensions"):
            compiled.run(None, longer)
        with pytest.raises(DataError, match=r"only_7_|invalid dimensions"):
            lhc.HybridSession(placed).run(None, longer)


STEP = "i = Identity(go)  u = MatMul(h, w)  a = Tanh(u)"
LOOP = "[loop] {outputs} = Loop({inputs}, x) <body = b (int64 n, bool go, float[2, 4] h) => ({gives}) {{ {body} }}>"


@dataclass(frozen=True)
class Form:
    id: str
    lines: str
    products: int
    control: tuple[tuple[str, str], ...] = ()


FORMS = [
    Form(
        "a Loop collects",
        "m = Constant<value = int64 {3}>() t = Constant<value = bool {1}>()"
        + LOOP.format(
            outputs="p, q", inputs="m, t", gives="bool i, float[2, 4] a, float[2, 4] s",
            body=f"{STEP} f = Cast<to = 1>(n) s = Add(a, f)",
        )
        + "r = ReduceSum<keepdims = 0>(q, zero) y = Add(p, r)",
        3,
    ),
    Form(
        "a Scan backwards, along other axes",
        """[scan] p, q = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
             scan_output_axes = [1], scan_output_directions = [1],
             body = b (float[4] h, float[2] c) => (float[4] a, float[2] d) {
               u = MatMul(h, w)  k = ReduceMax<keepdims = 0>(c)  v = Add(u, k)  a = Tanh(v)
               m = ReduceMax<keepdims = 0>(a)  d = Add(c, m)
             }>(first, x)
           y = Add(q, p)""",
        4,
    ),
    Form(
        "a Loop in a Loop",
        "m = Constant<value = int64 {2}>() t = Constant<value = bool {1}>()"
        + LOOP.format(
            outputs="y", inputs="m, t", gives="bool k, float[2, 4] z",
            body="k = Identity(go) z = Loop(m, t, h) <body = c (int64 j, bool on, float[2, 4] g) =>"
            " (bool o, float[2, 4] v) { o = Identity(on) [mm] v = MatMul(g, w) }>",
        ),
        4,
    ),
    Form("no iteration", "m = Constant<value = int64 {0}>() t = Constant<value = bool {1}>()"
        + LOOP.format(outputs="y", inputs="m, t", gives="bool i, float[2, 4] a", body=STEP), 0),
    Form("too many", "m = Constant<value = int64 {257}>() t = Constant<value = bool {1}>()"
        + LOOP.format(outputs="y", inputs="m, t", gives="bool i, float[2, 4] a", body=STEP), 0),
    Form("ends by what it computes", "m = Constant<value = int64 {5}>() t = Constant<value = bool {1}>()"
        + LOOP.format(outputs="y", inputs="m, t", gives="bool e, float[2, 4] a",
            body=f"{STEP} big = ReduceMax<keepdims = 0>(a) e = Less(big, half)"), 0),
    Form("ends by what it counts", "m = Constant<value = int64 {300}>() t = Constant<value = bool {1}>()"
        " c = Constant<value = int32 {10}>()"
        " y, last = Loop(m, t, x, c) <body = b (int64 n, bool go, float[2, 4] h, int32 k)"
        " => (bool e, float[2, 4] a, int32 k2) { u = MatMul(h, w)  a = Tanh(u)  k2 = Sub(k, two)  f = Cast<to = 1>(k2)"
        " d = Less(quarter, f)  i = Cast<to = 1>(n)  j = Less(i, many)  e = And(d, j) }>", 5),
    Form("ends by what it counts, without a limit",
        "none = Constant<value = int32 {-1}>()  t = Less(none, two)"
        " y, last = Loop( , t, x, none) <body = b (int64 n, bool go, float[2, 4] h, int32 k)"
        " => (bool e, float[2, 4] a, int32 k2) { u = MatMul(h, w)  a = Tanh(u)  k2 = Add(k, two)  f = Cast<to = 1>(k2)"
        " d = Greater(f, quarter)  e = Not(d) }>", 1),
    Form("its length is open and no iteration is counted", "t = Constant<value = bool {1}>() c = Size(x)"
        + LOOP.format(outputs="y", inputs="c, t", gives="bool i, float[2, 4] a", body=STEP), 0, (("loop", "8"),)),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_forms_equal_onnxruntime_or_stay_as_they_are(form: Form) -> None:
    text = f"""net (float[2, 4] x) => (float[2, 4] y)
      <int64[1] zero = {{0}}, float half = {{0.5}}, float[4] first = {{1, 2, 3, 4}},
       int32 two = {{2}}, float quarter = {{0.25}}, float many = {{300}}> {{ {form.lines} }}"""
    file = made.model_of(text, w=(4, 4))
    model = canonical(load_model(file), control=dict(form.control))
    graph = read_graph(model)
    assert len(graph.candidates) == form.products
    x = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    assert_same(outputs(model.proto, x), outputs(file, x))
    if form.products == 0:
        assert [layer.refusal.reason for layer in graph.nested if layer.refusal] == ["unsupported"]
        return
    names = [layer.name for layer in graph.candidates if obstacle(layer) is None]  # not the first, of constants alone
    assert len(graph.tied(names)) == 1
    assert_same(lhc.HybridSession(file, IDEAL, names).run(None, {"x": x})[0], outputs(file, x))


@pytest.mark.parametrize(("steps", "products"), [(100, 1 + 99 + 1), (257, 1)], ids=["many", "too many"])
def test_steps_of_recurrent_operators_are_written_out_up_to_a_number(steps: int, products: int) -> None:
    text = f"""net (float[{steps}, N, 3] x) => (float[N, 2] y) <int64[1] zero = {{0}}> {{
      [rnn] _, h = LSTM<hidden_size = 4>(x, w, r)  s = Squeeze(h, zero)  y = MatMul(s, v)
    }}"""
    file = made.model_of(text, w=(1, 16, 3), r=(1, 16, 4), v=(4, 2))
    graph = read_graph(canonical(load_model(file)))
    assert len(graph.candidates) == products
    x = np.random.default_rng(1).normal(size=(steps, 5, 3)).astype(np.float32)
    names = [layer.name for layer in graph.candidates]
    assert_same(lhc.HybridSession(file, IDEAL, names).run(None, {"x": x})[0], outputs(file, x))


def test_a_scan_of_a_batch_of_sequences_stays_as_it_is() -> None:
    """In opset 8 its first input is their lengths, and all have an axis of sequences (onnx, docs/Changelog.md)."""
    file = parsed(
        """<ir_version: 8, opset_import: ["" : 8]> net (float[1, 4] first, float[1, 3, 4] x) => (float[1, 4] y) {
          [scan] y, z = Scan<num_scan_inputs = 1, body = b (float[4] h, float[4] c) => (float[4] a, float[4] d) {
            r = Unsqueeze<axes = [0]>(h)  u = MatMul(r, w)  s = Squeeze<axes = [0]>(u)  a = Add(s, c)  d = Identity(a)
          }>( , first, x)
        }""",
        {"w": np.eye(4, dtype=np.float32)},
    )
    model = canonical(load_model(file))
    assert [node.op_type for node in model.proto.graph.node] == ["Scan"]
    assert read_graph(model).candidates == ()
