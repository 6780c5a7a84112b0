"""The layer graph of a file, as Python users get it."""

import logging
from pathlib import Path

import networkx as nx
import onnx
import pytest

import lhc
from lhc.errors import ModelError
from lhc.hardware import Hardware
from lhc.onnx_io import load_model, read_graph
from lhc.passes import qualified_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import open_model
from lhc.plan import Sensitivity

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 3] x) => (float[N, 4] y) <float[3, 4] u = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                            float[4, 4] v = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}> {
  [first] a = MatMul (x, u)
  [square] b = Mul (a, a)
  [second] y = MatMul (b, v)
}"""
SEQUENCE = """<ir_version: 8, opset_import: ["" : 17]>
network (float[N, tokens, 3] x) => (float[N, tokens, 2] y) <float[3, 2] u = {1, 2, 3, 4, 5, 6}> {
  [fc] a = MatMul (x, u)
  [act] y = Relu (a)
}"""


def result() -> PartitionResult:
    model = load_model(onnx.parser.parse_model(TEXT))
    graph = read_graph(model)
    plan = qualified_plan(graph, Hardware.load("lionheart"), model.source)
    found = Sensitivity(metric="nmse", mean=0.5, std=0.1, interval=None, draws=2, method="fisher")
    plan = plan.with_sensitivities({"second": found}).with_copies(graph, {"second": 2})
    decided = plan.decide({"first": ("digital", "excluded", "by the user"), "second": ("analog", "budget", "fits")})
    return PartitionResult(decided, graph, model)


def test_the_graph_of_a_file() -> None:
    graph = lhc.layer_graph(onnx.parser.parse_model(TEXT))
    assert isinstance(graph, nx.MultiDiGraph)
    assert nx.is_frozen(graph)
    assert list(graph) == ["first", "square", "second"]
    read = {"shape": (1, 4), "dtype": "float32"}
    assert [*graph.edges(data=True)] == [
        ("first", "square", {"tensor": "a", **read}),
        ("first", "square", {"tensor": "a", **read}),
        ("square", "second", {"tensor": "b", **read}),
    ]
    assert graph.nodes["first"]["layer"].matrix.macs == 12
    assert nx.dag_longest_path(graph) == ["first", "square", "second"]


def test_an_annotated_file_has_the_placement_of_the_result_on_its_nodes(tmp_path: Path) -> None:
    placed = result()
    of_result = placed.graph
    of_file = lhc.layer_graph(placed.save(tmp_path / "net.lhc.onnx"))
    assert [*of_file.nodes(data=True)] == [*of_result.nodes(data=True)]
    assert of_file.graph == of_result.graph
    assert dict(of_result.nodes(data="placement")) == {"first": "digital", "square": "digital", "second": "analog"}
    second = of_result.nodes["second"]
    assert (second["sensitivity"], second["sensitivity_basis"], second["macs"]) == (0.5, "predicted", 16)
    assert (second["reason"], second["copies"], second["tiles"]) == ("budget", 2, placed.plan.tiles(placed.facts))
    analog = [name for name, placement in of_result.nodes(data="placement") if placement == "analog"]
    assert nx.ancestors(of_result, *analog) == {"first", "square"}


def test_a_changed_file_is_said_to_be_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = result().save(tmp_path / "net.lhc.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "Gemm"
    onnx.save(model, path)
    with caplog.at_level(logging.WARNING, "lhc"):
        graph = lhc.layer_graph(path)
    assert "has changed since lhc placed it" in caplog.text
    assert graph.nodes["second"]["placement"] == "analog"


def test_an_analysis_has_its_plan_on_the_nodes() -> None:
    analysis = lhc.analyze("digits-narrow")
    tiles = dict(analysis.graph.nodes(data="tiles"))
    assert {name: tiles[name] for name in analysis.plan.eligible} == {
        layer.name: layer.tiles for layer in analysis.plan.layers if layer.reason == "eligible"
    }
    assert sum(macs for _, macs in analysis.graph.nodes(data="macs")) == analysis.plan.macs


def test_split_layers_are_nodes_of_their_own(tmp_path: Path) -> None:
    whole = result()
    plan = whole.plan.with_digital_columns({"second": (1, 3)})
    opened = open_model(onnx.parser.parse_model(TEXT)).split_as(plan)
    split = opened.graph()
    plan = qualified_plan(split, plan.hardware, opened.model.source).with_digital_columns({"second": (1, 3)})
    path = PartitionResult(plan, split, opened.model).save(tmp_path / "split.lhc.onnx")
    assert {"second", "second/columns"} < set(lhc.layer_graph(path))


def test_open_sizes_are_those_of_an_example_unless_given(caplog: pytest.LogCaptureFixture) -> None:
    model = onnx.parser.parse_model(SEQUENCE)
    with caplog.at_level(logging.WARNING, "lhc"):
        given = lhc.layer_graph(model, {"x": (1, 7, 3)})
        assert not caplog.records
        example = lhc.layer_graph(model)
    assert given.edges["fc", "act", 0]["shape"] == (1, 7, 2)
    (told,) = [record.getMessage() for record in caplog.records]
    size = example.edges["fc", "act", 0]["shape"][1]
    assert told.endswith(f"shapes in its graph are of an example, x=1,{size},3")


def test_where_sizes_are_not_to_be_had_the_graph_has_none(caplog: pytest.LogCaptureFixture) -> None:
    """Only a run tells the shapes, and it runs on samples alone: zeros and ones are no size."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        network (float[6] x, int64[2] size) => (float[M, K] y) <float[3, 2] u = {1, 2, 3, 4, 5, 6}> {
          [view] a = Reshape (x, size)
          [fc] y = MatMul (a, u)
        }"""
    )
    with caplog.at_level(logging.WARNING, "lhc"):
        graph = lhc.layer_graph(model)
    assert "shapes are left out of its graph" in caplog.text
    assert graph.edges["view", "fc", 0]["shape"] is None


@pytest.mark.analog
def test_a_compiled_model_is_refused(tmp_path: Path) -> None:
    path = lhc.compile(result().model, noise="off").save(tmp_path / "net.sim.onnx")
    with pytest.raises(ModelError, match="compiled"):
        lhc.layer_graph(path)
