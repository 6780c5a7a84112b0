"""Decisions of a plan on the nodes of the layer graph."""

import networkx as nx
import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, TensorType, WeightRef
from lhc.hardware import Hardware
from lhc.passes import qualified_plan
from lhc.plan import Plan, Sensitivity
from lhc.plan.placed_graph import placed_graph

DECISIONS = {"placement", "reason", "detail", "sensitivity", "sensitivity_basis", "macs", "tiles", "copies"}


def product(name: str, source: str) -> Layer:
    weight = WeightRef(f"{name}.w", 1, (6, 6), "float32", name)
    return Layer(name, "MatMul", (source, weight.name), (f"{name}.out",), weight, MatrixShape(6, 6, 1, 2))


@pytest.fixture
def graph() -> LayerGraph:
    """``c = b(a(x)) * a(x)``, and a product of two activations."""
    layers = [
        product("b", "a.out"),
        product("a", "x"),
        Layer("mul", "Mul", ("b.out", "a.out"), ("mul.out",)),
        Layer("scores", "MatMul", ("mul.out", "mul.out"), ("y",), None, MatrixShape(2, 2, 1, 2)),
    ]
    return LayerGraph(layers, ["x"], ["y"], tensors={"a.out": TensorType((1, 2, 6), "float32")})


@pytest.fixture
def plan(graph: LayerGraph) -> Plan:
    measured = Sensitivity(metric="accuracy", mean=0.25, std=0.1, interval=None, draws=3)
    undecided = qualified_plan(graph, Hardware.load("lionheart"), "").with_sensitivities({"a": measured})
    return undecided.with_copies(graph, {"a": 2, "b": 3})


def test_every_node_carries_the_decision_about_it(graph: LayerGraph, plan: Plan) -> None:
    decided = plan.decide({"a": ("analog", "budget", "within it"), "b": ("digital", "sensitivity", "too much")})
    nodes = placed_graph(graph, decided).nodes
    of = {layer.name: layer for layer in decided.layers}
    assert nodes["a"] == {
        "layer": graph["a"],
        "placement": "analog",
        "reason": "budget",
        "detail": "within it",
        "sensitivity": 0.25,
        "sensitivity_basis": "measured",
        "macs": 72,
        "tiles": of["a"].tiles,
        "copies": 2,
    }
    assert {key: nodes["b"][key] for key in DECISIONS - {"detail", "macs"}} == {
        "placement": "digital",
        "reason": "sensitivity",
        "sensitivity": None,
        "sensitivity_basis": None,
        "tiles": 0,
        "copies": 0,
    }
    assert nodes["mul"] == {
        "layer": graph["mul"],
        "placement": "digital",
        "reason": "",
        "detail": "",
        "sensitivity": None,
        "sensitivity_basis": None,
        "macs": 0,
        "tiles": 0,
        "copies": 0,
    }
    assert (nodes["scores"]["reason"], nodes["scores"]["macs"]) == ("no-static-weight", 0)
    assert sum(tiles for _, tiles in nodes(data="tiles")) == decided.tiles(graph)


def test_what_may_be_analog_has_the_tiles_that_it_would_take(graph: LayerGraph, plan: Plan) -> None:
    nodes = placed_graph(graph, plan).nodes
    assert [(nodes[n]["placement"], nodes[n]["reason"]) for n in "ab"] == [("digital", "eligible")] * 2
    assert [(nodes[n]["tiles"], nodes[n]["copies"]) for n in "ab"] == [
        (layer.tiles, layer.copies) for layer in sorted(plan.layers[:2], key=lambda layer: layer.name)
    ]


def test_nodes_edges_and_facts_are_those_of_the_layer_graph(graph: LayerGraph, plan: Plan) -> None:
    placed = placed_graph(graph, plan)
    assert list(placed) == list(graph.networkx)
    for name in placed:
        assert list(placed.in_edges(name, keys=True, data=True)) == list(
            graph.networkx.in_edges(name, keys=True, data=True)
        )
    assert placed.graph == {"inputs": ("x",), "outputs": ("y",), "metric": "accuracy", "hardware": "lionheart"}
    assert len(placed.edges("mul")) == 2


def test_what_is_done_to_it_does_not_reach_the_layer_graph(graph: LayerGraph, plan: Plan) -> None:
    placed = placed_graph(graph, plan)
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        placed.remove_node("a")
    placed.nodes["a"]["layer"] = placed.nodes["b"]["layer"]
    placed.edges["a", "b", 0]["tensor"] = "other"
    placed.graph["inputs"] = ()
    assert graph.networkx.nodes["a"] == {"layer": graph["a"]}
    assert graph.networkx.edges["a", "b", 0]["tensor"] == "a.out"
    assert graph.networkx.graph["inputs"] == ("x",)


def test_without_a_plan_there_are_facts_alone(graph: LayerGraph) -> None:
    placed = placed_graph(graph, None)
    assert nx.is_frozen(placed)
    assert [set(node) for _, node in placed.nodes(data=True)] == [{"layer"}] * 4
