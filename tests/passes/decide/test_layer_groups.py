"""Layers that move together: groups against joining them by hand."""

from hypothesis import given
from hypothesis import strategies as st

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import qualified_plan
from lhc.passes.decide.layer_groups import groups_of

LIONHEART = Hardware.load("lionheart")


def network(tile_sets: list[int]) -> LayerGraph:
    """One MatMul for each of these tile sets."""
    weights = [WeightRef(f"w{i}", 1, (4, 3), "float32", str(tiles)) for i, tiles in enumerate(tile_sets)]
    layers = [
        Layer(str(i), "MatMul", ("x", weight.name), (f"y{i}",), weight, MatrixShape(4, 3, 1, 1))
        for i, weight in enumerate(weights)
    ]
    return LayerGraph(layers, ["x"], [layer.outputs[0] for layer in layers])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=7),
    st.lists(st.frozensets(st.sampled_from([*"0123456", "gone"]), max_size=4), max_size=3),
)
def test_groups_are_joined_until_no_two_overlap(tile_sets: list[int], together: list[frozenset[str]]) -> None:
    graph = network(tile_sets)
    plan = qualified_plan(graph, LIONHEART, "")
    assert plan.eligible
    joined = {frozenset(tie) for tie in graph.tied(plan.eligible)}
    for wanted in together:
        touched = {group for group in joined if group & wanted}
        joined = (joined - touched) | ({frozenset().union(*touched)} if touched else set())
    found = groups_of(graph, plan, together)
    assert {frozenset(group) for group in found} == joined
    assert [name for group in found for name in group if name == group[0]] == sorted(group[0] for group in found)
    assert all(list(group) == sorted(group) for group in found)
