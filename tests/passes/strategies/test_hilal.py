"""HILAL's clusters and order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import Curvature, Goal, Qualify, SearchOptions, initial_plan
from lhc.passes.strategies.hilal import Hilal, robust_layers
from lhc.plan import Plan
from lhc.results import Verdict


class NoJudge:
    def within(self, placement: frozenset[str]) -> Verdict:
        raise AssertionError("HILAL judges nothing")


def chain(names: str) -> tuple[LayerGraph, Plan]:
    layers = [
        Layer(
            n,
            "MatMul",
            ("x", f"{n}.w"),
            (f"{n}.out",),
            WeightRef(f"{n}.w", 1, (8, 8), "float32", n),
            MatrixShape(8, 8, 1, 1),
        )
        for n in names
    ]
    graph = LayerGraph(layers, ["x"], [f"{names[-1]}.out"])
    hardware = Hardware(name="fake", tiles=Tiles(rows=8, cols=8))
    return graph, Qualify().run(graph, initial_plan(graph, hardware, "", "0")).plan


CURVATURES = {"a": Curvature(9.0, 0.1), "b": Curvature(1.0, 0.3), "c": Curvature(1.0, 0.2), "d": Curvature(8.5, 0.2)}


def test_two_clusters_and_their_order_by_hand() -> None:
    assert robust_layers(CURVATURES) == ("c", "b")


def test_the_robust_cluster_goes_analog_as_far_as_there_are_tiles() -> None:
    graph, plan = chain("abcd")
    result = Hilal(NoJudge(), SearchOptions(curvatures=CURVATURES)).run(graph, plan)
    assert result.plan.analog == {"b", "c"}
    assert [layer.reason for layer in result.plan.layers] == ["strategy", "budget", "budget", "strategy"]
    one = Hilal(NoJudge(), SearchOptions(Goal(max_tiles=1), curvatures=CURVATURES)).run(graph, plan)
    assert one.plan.analog == {"c"}
    assert one.plan.layers[1].reason == "tiles"


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=2, max_size=12), st.integers(0, 3))
def test_no_robust_layer_is_worse_than_the_mean_of_the_others(values: list[tuple[float, float]], seed: int) -> None:
    curvatures = {str(i): Curvature(eli, ratio) for i, (eli, ratio) in enumerate(values)}
    robust = robust_layers(curvatures, seed)
    others = [c.eli for name, c in curvatures.items() if name not in robust]
    assert robust
    if others:
        assert sum(curvatures[n].eli for n in robust) / len(robust) <= sum(others) / len(others) + 1e-9


def test_layers_that_are_alike_are_all_robust() -> None:
    assert robust_layers(dict.fromkeys("abc", Curvature(1.0, 0.5))) == ("a", "b", "c")
    assert robust_layers({"a": Curvature(1.0, 0.5)}) == ("a",)


def test_a_missing_curvature_is_named() -> None:
    graph, plan = chain("ab")
    with pytest.raises(UsageError, match="missing: b"):
        Hilal(NoJudge(), SearchOptions(curvatures={"a": Curvature(1, 1)})).run(graph, plan)
