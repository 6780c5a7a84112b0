"""Layers that no judged output depends on stay digital."""

import pytest

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import LeaveUnjudged, Qualify, Select, initial_plan, judged_layers
from lhc.plan import Plan


def product(name: str, reads: str, weights: str = "") -> Layer:
    weight = WeightRef(weights or name, 1, (8, 8), "float32", weights or name)
    return Layer(name, "MatMul", (reads, weight.name), (f"{name}.out",), weight, MatrixShape(8, 8, 1, 1))


GRAPH = LayerGraph(
    [
        product("body", "x"),
        Layer("act", "Relu", ("body.out",), ("act.out",)),
        product("class", "act.out"),
        product("box", "act.out"),
        Layer("end", "Sigmoid", ("box.out",), ("end.out",)),
        product("lost", "x"),
        product("shared", "lost.out", "class"),
        product("apart", "lost.out", "lost"),
    ],
    ["x"],
    ["class.out", "end.out"],
)


def qualified(graph: LayerGraph = GRAPH) -> Plan:
    return Qualify().run(graph, initial_plan(graph, Hardware(name="h"), "0" * 64, "0")).plan


@pytest.mark.parametrize(
    ("outputs", "judged", "unjudged"),
    [
        (("class.out",), {"body", "act", "class"}, {"box", "lost", "apart"}),
        (("end.out",), {"body", "act", "box", "end"}, {"class", "shared", "lost", "apart"}),
        (("class.out", "end.out"), {"body", "act", "class", "box", "end"}, {"lost", "apart"}),
        (("x",), set(), {"body", "class", "box", "lost", "shared", "apart"}),
    ],
    ids=["one", "the other", "both", "an input"],
)
def test_layers_above_judged_outputs_stay_free(outputs: tuple[str, ...], judged: set[str], unjudged: set[str]) -> None:
    """Of layers that share weights, one that is judged is enough."""
    assert judged_layers(GRAPH, outputs) == judged
    before = qualified()
    found = LeaveUnjudged(outputs).run(GRAPH, before).plan
    assert {row.name for row in found.layers if row.reason == "not-judged"} == unjudged
    assert {row.placement for row in found.layers} == {"digital"}
    assert before == qualified()
    assert LeaveUnjudged(outputs).run(GRAPH, found).plan == found


def test_a_layer_says_which_output_would_judge_it() -> None:
    rows = {row.name: row for row in LeaveUnjudged(("class.out",)).run(GRAPH, qualified()).plan.layers}
    assert rows["box"].detail == (
        "output 'class.out', which is judged, does not depend on it, so nothing shows what it loses on tiles;"
        " --output end.out judges another output"
    )
    rows = {row.name: row for row in LeaveUnjudged(("class.out", "end.out")).run(GRAPH, qualified()).plan.layers}
    assert rows["lost"].detail == (
        "none of the judged outputs 'class.out', 'end.out' depends on it, so nothing shows what it loses on tiles"
    )


def test_what_the_user_fixed_stays() -> None:
    chosen = Select(force_analog=("box",), exclude=("lost",)).run(GRAPH, qualified()).plan
    rows = {row.name: row for row in LeaveUnjudged(("class.out",)).run(GRAPH, chosen).plan.layers}
    assert (rows["box"].placement, rows["box"].reason) == ("analog", "forced")
    assert (rows["lost"].reason, rows["apart"].reason) == ("excluded", "excluded")


def test_a_graph_without_candidates() -> None:
    graph = LayerGraph([Layer("act", "Relu", ("x",), ("y",))], ["x"], ["y"])
    assert LeaveUnjudged(("y",)).run(graph, qualified(graph)).plan == qualified(graph)
