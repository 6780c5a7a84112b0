"""A product of which some outputs are computed apart gives what the whole one gives, wherever it is cut."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import lhc
from lhc.canonical import canonical, placed_form, splittable, with_digital_columns
from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.passes import Qualify, initial_plan
from lhc.plan import Plan
from lhc.runtime import HybridSession
from lhc.runtime.onnxruntime.sessions import create_session
from tests.canonical.made_models import merged, model_of, packed_attention


@dataclass(frozen=True)
class Case:
    id: str
    body: str
    weights: dict[str, tuple[int, ...]]
    x: str = "N, 6"
    y: str = "N, 5"

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, *map(int, self.x.split(",")[1:]))


CASES = [
    Case(
        "Conv",
        "y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)",
        {"w": (5, 6, 3, 3), "b": (5,)},
        "N, 6, 4, 4",
        "N, 5, 2, 2",
    ),
    Case("Gemm", "y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)", {"w": (6, 5), "b": (5,)}),
    Case("Gemm, turned", "y = Gemm <transB = 1> (x, w, b)", {"w": (5, 6), "b": (1,)}),
    Case("Gemm, no C", "y = Gemm (x, w)", {"w": (6, 5)}),
    Case("MatMul", "y = MatMul (x, w)", {"w": (6, 5)}, "N, 2, 6", "N, 2, 5"),
    Case("MatMul, weight first", "y = MatMul (w, x)", {"w": (5, 6)}, "N, 6, 2", "N, 5, 2"),
]
COLUMNS = (1, 4)
IDEAL = Hardware.load("lionheart").geometry


def made(case: Case) -> OnnxModel:
    text = f"g (float[{case.x}] x) => (float[{case.y}] y) {{\n[p] {case.body}\n}}"
    return load_model(model_of(text, **case.weights))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def graph_of(model: OnnxModel, case: Case) -> LayerGraph:
    return read_graph(model, {"x": (1, *case.shape[1:])})


def answers(model: onnx.ModelProto, case: Case) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
    found: np.ndarray = create_session(model, "made").run(None, {"x": x})[0]
    return found


def planned(graph: LayerGraph) -> Plan:
    return Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "", "0")).plan


def test_both_parts_together_are_the_product(case: Case) -> None:
    model = made(case)
    assert splittable(model, graph_of(model, case)["p"])
    split = with_digital_columns(model, {"p": COLUMNS})
    np.testing.assert_allclose(answers(split.proto, case), answers(model.proto, case), atol=1e-6)
    graph = graph_of(split, case)
    on_tiles, apart = graph["p"].matrix, graph["p/columns"].matrix
    assert on_tiles is not None
    assert apart is not None
    assert (on_tiles.cols, apart.cols, on_tiles.rows) == (3, 2, apart.rows)
    # What the file holds, and what it is known by, stays.
    assert split.as_file() == model.proto
    assert split.source == model.source
    assert split.identity != model.identity == model.source


def test_a_matrix_by_a_vector_is_split_on_its_only_axis() -> None:
    model = load_model(model_of("g (float[6] x) => (float[5] y) { [p] y = MatMul (w, x) }", w=(5, 6)))
    x = np.random.default_rng(0).normal(size=6).astype(np.float32)
    whole, split = (create_session(one.proto, "made") for one in (model, with_digital_columns(model, {"p": COLUMNS})))
    np.testing.assert_allclose(split.run(None, {"x": x})[0], whole.run(None, {"x": x})[0], atol=1e-6)


def test_what_is_split_is_not_split_again(case: Case) -> None:
    split = with_digital_columns(made(case), {"p": COLUMNS})
    assert with_digital_columns(split, {"p": COLUMNS}) is split
    assert not splittable(split, graph_of(split, case)["p"])
    assert with_digital_columns(made(case), {"other": (0,)}).file is None


def test_the_plan_has_a_row_for_the_digital_part(case: Case) -> None:
    split = with_digital_columns(made(case), {"p": COLUMNS})
    graph = graph_of(split, case)
    plan = planned(graph)
    rows = {row.name: row for row in plan.layers}
    assert rows["p"].reason == "eligible"
    assert (rows["p/columns"].placement, rows["p/columns"].reason) == ("digital", "columns")
    assert plan.digital_columns == {"p": COLUMNS}
    assert rows["p"].macs * 2 == rows["p/columns"].macs * 3
    assert {row.origin for row in plan.layers} == {"p"}
    assert plan.size == 1


def test_columns_that_are_undecided_may_be_on_tiles(case: Case) -> None:
    split, decided = (with_digital_columns(made(case), {"p": COLUMNS}, undecided=u) for u in (True, False))
    np.testing.assert_array_equal(answers(split.proto, case), answers(decided.proto, case))
    assert split.identity == decided.identity
    plan = planned(graph_of(split, case))
    assert plan.eligible == ("p", "p/columns")
    assert plan.digital_columns == {"p": COLUMNS}
    assert not splittable(split, graph_of(split, case)["p"])


@pytest.mark.analog
def test_digital_columns_have_no_error_on_tiles(case: Case) -> None:
    model = made(case)
    split = with_digital_columns(model, {"p": COLUMNS})
    x = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
    plan = planned(graph_of(split, case)).decide({"p": ("analog", "forced", "")})
    for engine in ("fast", "aihwkit"):
        session = HybridSession(model, placement=plan, engine=engine)
        error = np.abs(session.run(None, {"x": x})[0] - answers(model.proto, case))
        axis = 1 if case.id == "Conv" or "first" in case.id else -1
        by_column = np.moveaxis(error, axis, 0).reshape(5, -1).max(axis=1)
        assert by_column[list(COLUMNS)].max() < 1e-5
        assert by_column[[0, 2, 3]].min() > 1e-4


@pytest.mark.parametrize("columns", [(), (0, 1, 2, 3, 4), (-1,), (5,), (1, 1), (2, 1)], ids=str)
def test_columns_that_a_product_does_not_have_are_refused(case: Case, columns: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="'p' cannot have the digital columns that its plan says"):
        with_digital_columns(made(case), {"p": columns})


def test_layers_by_one_weight_stay_layers_by_one_weight() -> None:
    text = "g (float[N, 5] x) => (float[N, 5] y) {\n[p] h = MatMul (x, w)\n[q] y = MatMul (h, w)\n}"
    split = with_digital_columns(load_model(model_of(text, w=(5, 5))), {"p": COLUMNS, "q": COLUMNS})
    graph = read_graph(split, {"x": (1, 5)})
    assert graph.tied(["p", "q"]) == (("p", "q"),)
    assert len({graph[name].weight for name in ("p", "q")}) == 1


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = Conv <group = 2> (x, w)", {"w": (4, 3, 1, 1)}),
        ("y = Conv (x, w)", {"w": (1, 6, 1, 1)}),
        ("b = ReduceSum <keepdims = 0> (x, axes)\ny = Conv (x, w, b)", {"w": (4, 6, 1, 1)}),
    ],
    ids=["groups", "one column", "computed bias"],
)
def test_what_cannot_be_split_is_told(body: str, weights: dict[str, tuple[int, ...]]) -> None:
    nodes = body.replace("y =", "[p] y =")
    text = f"g (float[4, 6, 1, 1] x) => (float[N, 4, 1, 1] y) <int64[3] axes = {{1, 2, 3}}> {{\n{nodes}\n}}"
    model = load_model(model_of(text, **weights))
    assert not splittable(model, read_graph(model, {"x": (4, 6, 1, 1)})["p"])


@pytest.mark.analog
def test_a_packed_operator_is_split_by_its_parts_and_whole_where_all_are_digital(tmp_path: Path) -> None:
    model = canonical(load_model(packed_attention(tmp_path)))
    split = with_digital_columns(model, {"att/q": COLUMNS, "out": COLUMNS})
    assert split.file is not None
    parts = {name: origin.part for name, origin in split.file.origins.items() if origin.part}
    of_attention = {"att/q": "q", "att/q/columns": "q/columns", "att/k": "k", "att/v": "v"}
    assert parts == of_attention | {"out": "tiles", "out/columns": "columns"}
    graph = read_graph(split, {"x": (1, 6, 32), "mask": (1, 6)})
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(2, 6, 32)).astype(np.float32), "mask": np.ones((2, 6), np.int32)}
    (exact,) = create_session(split.as_file(), "made").run(None, feeds)
    for analog in (frozenset[str](), frozenset({"att/q"}), frozenset({"out"}), frozenset({"att/v", "out"})):
        plan = planned(graph).decide(dict.fromkeys(analog, ("analog", "forced", "")))
        assert plan.digital_columns == {"att/q": COLUMNS, "out": COLUMNS}
        session = HybridSession(split.as_file(), placement=plan, hardware=IDEAL)
        np.testing.assert_allclose(session.run(None, feeds)[0], exact, atol=1e-5)
        nodes, placed = placed_form(split, graph, analog)
        kinds = {nodes[layer.name].op_type for layer in placed.layers}
        assert ("Attention" in kinds) == analog.isdisjoint({"att/q", "att/v"})
        assert ("out/columns" in placed) == ("out" in analog)


@pytest.mark.analog
def test_products_in_a_branch_are_split_there(tmp_path: Path) -> None:
    file = merged(tmp_path)
    feeds = {"x": np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32), "cached": np.array(True)}
    found = lhc.partition(
        file, feeds, metric="nmse", draws=2, max_draws=2, strategy="all-analog", hardware=IDEAL, max_drop=1.0,
        digital_columns=0.3, objective="macs",
    )  # fmt: skip
    assert found.plan.control
    assert found.plan.digital_columns
    expected = create_session(file, "made").run(None, feeds)[0]
    placed = tmp_path / "placed.lhc.onnx"
    found.save(placed)
    compiled = create_session(lhc.compile(placed, noise="off").proto, "made")
    for session in (lhc.HybridSession(placed), compiled, create_session(onnx.load(placed), "made")):
        np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-4)


def test_both_parts_are_of_the_module_of_the_whole() -> None:
    """Where torch fused a normalization, weights name the module, and those of the parts have names of their own."""
    text = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 5] y) { [p] y = Gemm (x, w) }'
    )
    text.graph.node[0].input[1] = "enc.weight"
    text.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 5), np.float32), "enc.weight"))
    scopes = "['', 'bn', '_native_batch_norm_legit_no_training']"
    text.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    text.graph.node[0].metadata_props.add(key="lhc.macs", value="20")
    whole = load_model(text)
    parts = with_digital_columns(whole, {"p": COLUMNS}).proto.graph.node
    assert sum(entry.key == "lhc.macs" for node in parts for entry in node.metadata_props) == 1, "of the whole"
    for columns in ({}, {"p": COLUMNS}):
        layers = read_graph(with_digital_columns(whole, columns)).candidates
        assert {layer.module for layer in layers} == {"enc"}
