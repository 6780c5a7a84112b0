"""Graphs as files: what networkx reads back of them, and what they refuse."""

import json
from io import BytesIO
from pathlib import Path

import networkx as nx
import pytest

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, TensorType, WeightRef
from lhc.hardware import Hardware
from lhc.passes import qualified_plan
from lhc.plan import Sensitivity
from lhc.plan.placed_graph import placed_graph
from lhc.report.exports.graph_files import flat_graph, graph_file

STEERING = "a\x1b]0;title\x07\ufffe <&>"


def network(name: str = "fc") -> LayerGraph:
    """``y = h * h`` of a product's output h."""
    layers = [
        Layer(
            name,
            "MatMul",
            ("x", "w"),
            ("h",),
            WeightRef("w", 1, (4, 3), "float16", "0"),
            MatrixShape(4, 3, 1, 7),
            "encoder.fc",
        ),
        Layer("square", "Mul", ("h", "h"), ("y",)),
        Layer("last", "Relu", ("y",), ("z",)),
    ]
    return LayerGraph(layers, ["x"], ["y", "z"], tensors={"h": TensorType((1, "tokens", None, 3), "float16")})


def placed(graph: LayerGraph) -> "nx.MultiDiGraph[str]":
    plan = qualified_plan(graph, Hardware.load("lionheart"), "")
    name = graph.layers[0].name
    measured = Sensitivity(metric="accuracy", mean=0.125, std=0.0, interval=None, draws=2)
    plan = plan.with_sensitivities({name: measured}).decide({name: ("analog", "budget", "within it")})
    return placed_graph(graph, plan)


def read_back(data: bytes, suffix: str) -> "nx.MultiDiGraph[str]":
    if suffix == ".json":
        return nx.node_link_graph(json.loads(data), edges="edges")
    return nx.read_graphml(BytesIO(data), force_multigraph=True)


@pytest.mark.parametrize("suffix", [".graphml", ".json", ".GraphML"])
def test_a_file_holds_the_whole_graph(suffix: str) -> None:
    graph = placed(network())
    found = read_back(graph_file(graph, Path(f"net{suffix}")), suffix)
    flat = flat_graph(graph)
    assert dict(found.nodes(data=True)) == dict(flat.nodes(data=True))
    assert list(found.edges(keys=True, data=True)) == list(flat.edges(keys=True, data=True))
    assert flat.graph.items() <= found.graph.items()
    assert list(found) == list(graph)


def test_attributes_are_texts_and_numbers() -> None:
    flat = flat_graph(placed(network()))
    assert flat.nodes["fc"] == {
        "op_type": "MatMul",
        "module": "encoder.fc",
        "weight": "w",
        "weight_shape": "4x3",
        "weight_dtype": "float16",
        "rows": 4,
        "cols": 3,
        "groups": 1,
        "positions": 7,
        "placement": "analog",
        "reason": "budget",
        "detail": "within it",
        "sensitivity": 0.125,
        "sensitivity_basis": "measured",
        "macs": 84,
        "tiles": 1,
        "copies": 1,
    }
    assert flat.nodes["last"] == {"op_type": "Relu", "placement": "digital", "macs": 0, "tiles": 0, "copies": 0}
    told = {"tensor": "h", "shape": "1xtokensx?x3", "dtype": "float16"}
    assert list(flat.edges(keys=True, data=True)) == [
        ("fc", "square", "e0", told),
        ("fc", "square", "e1", told),
        ("square", "last", "e2", {"tensor": "y"}),
    ]
    assert flat.graph == {"inputs": "x", "outputs": "y, z", "metric": "accuracy", "hardware": "lionheart"}


def test_facts_alone_are_written_too() -> None:
    flat = flat_graph(placed_graph(network(), None))
    assert "placement" not in flat.nodes["fc"]
    assert flat.nodes["fc"]["macs"] == 84


@pytest.mark.parametrize("suffix", [".graphml", ".json"])
def test_names_that_no_xml_holds_are_spelt_out(suffix: str) -> None:
    found = read_back(graph_file(placed(network(STEERING)), Path(f"net{suffix}")), suffix)
    assert next(iter(found)) == r"a\x1b]0;title\x07\ufffe <&>"


def test_names_that_are_shown_alike_stay_apart() -> None:
    layers = [Layer("a\x07", "Relu", ("x",), ("y",)), Layer(r"a\x07", "Relu", ("y",), ("z",))]
    flat = flat_graph(placed_graph(LayerGraph(layers, ["x"], ["z"]), None))
    assert list(flat.edges()) == [(r"'a\x07'", r"'a\\x07'")]


@pytest.mark.parametrize("name", ["net.dot", "net", "net.graphml.gz", ".graphml"])
def test_another_end_of_the_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"a graph ends in \.graphml .* or \.json"):
        graph_file(placed(network()), Path(name))
