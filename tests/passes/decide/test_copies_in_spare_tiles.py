"""What layers may have of copies in tiles that are left over, and what that is predicted to bring."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.graph import LayerGraph
from lhc.hardware import AlpineCosts, Hardware, Tiles
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.passes import (
    ChooseCopies,
    Copies,
    Goal,
    Qualify,
    SearchOptions,
    damage_of,
    extra_copies,
    front,
    initial_plan,
    strategy_of,
)
from lhc.passes.decide.copies_in_spare_tiles import MOST_FURTHER
from lhc.passes.search.linear_objective_and_constraints import MOST_STEPPED, search_space
from lhc.plan import Plan, Sensitivity
from lhc.results import Evaluation, Verdict
from tests.passes.costly_networks import product

MACHINE = Hardware(
    name="small", tiles=Tiles(rows=64, cols=64), compensation=Compensation(copies=True), costs=AlpineCosts()
)
DAMAGES = {"few": 4.0, "many": 1.0}


def network(machine: Hardware = MACHINE, cols: int = 10, sets: str = "ab") -> tuple[LayerGraph, Plan]:
    """Products of 30 and 64 rows, with sensitivities for the copies that they have anyway: two, and one."""
    layers = [product("few", "x", 30, cols, 4, sets[0]), product("many", "x", 64, cols, 4, sets[1])]
    graph = LayerGraph(layers, ["x"], ["many"])
    plan = Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan
    plan = ChooseCopies().run(graph, plan).plan
    figures = {
        name: Sensitivity(metric="kl", mean=mean, std=0, interval=None, copies=plan.copies.get(name, 1))
        for name, mean in DAMAGES.items()
    }
    return graph, plan.with_sensitivities(figures)


def test_without_a_bound_of_tiles_only_free_cells_hold_copies() -> None:
    graph, plan = network()
    assert extra_copies(graph, plan, Goal()) == Copies({"few": 2})
    assert extra_copies(graph, plan, Goal()).of(["few", "many"]) == {"few": 2}


@pytest.mark.parametrize("count", [6, None])
def test_tiles_go_where_they_take_most_damage_away(count: int | None) -> None:
    """The machine's own number is a bound as well as the user's."""
    graph, plan = network(MACHINE.model_copy(update={"tiles": Tiles(rows=64, cols=64, count=count)}))
    copies = extra_copies(graph, plan, Goal(max_tiles=None if count else 6))
    # few: 4 with 2 copies on a tile, 2 with 4 on two, 1.33 with 6, 1 with 8; many: 1, then 0.5 with 2 on two.
    assert copies.of(["few", "many"]) == {"few": 8, "many": 2}
    assert copies.of(["few"]) == {"few": 12}
    placed = plan.with_copies(graph, copies.of(["few", "many"]))
    assert placed.tiles_of(graph, frozenset({"few", "many"})) == 6


def test_damage_falls_as_one_over_the_copies() -> None:
    graph, plan = network()
    assert damage_of(graph, plan, ["few"]) == 4.0
    assert damage_of(graph, plan, ["few", "many"], {"few": 8, "many": 2}) == pytest.approx(4 * 2 / 8 + 1 / 2)
    assert damage_of(graph, plan.with_copies(graph, {"few": 8}), ["few"]) == pytest.approx(1.0)


def test_a_search_estimates_every_placement_with_its_copies() -> None:
    graph, plan = network()
    goal = Goal(max_tiles=6)
    space = search_space(graph, plan, SearchOptions(goal, copies=extra_copies(graph, plan, goal)))
    damages = {
        names: point.damage
        for names in (("few", "many"), ("few",), ("many",), ())
        if (point := space.point(frozenset(names))) is not None
    }
    assert damages == pytest.approx({("few", "many"): 1.5, ("few",): 4 * 2 / 12, ("many",): 1 / 6, (): 0.0})
    assert space.shares(frozenset({"few", "many"})) == pytest.approx([1 / 4, 1 / 2, 1])
    best = space.best(max_damage=1.5)
    assert best is not None
    assert best.placement == {"few", "many"}
    fewer = space.best(max_damage=1.4)
    assert fewer is not None
    assert fewer.placement == {"many"}


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 24)), min_size=1, max_size=5), st.integers(1, 20), st.data()
)
def test_programs_find_what_all_placements_with_their_copies_show(
    layers: list[tuple[int, int]], tiles: int, data: st.DataObject
) -> None:
    """Rows of as many tiles as a layer has columns, one for every copy: the way tiles are spent is nearly the best."""
    machine = Hardware(name="even", tiles=Tiles(rows=8, cols=8), compensation=Compensation(copies=True))
    products = [product(f"l{n}", "x", 8, 8 * wide, 1, f"s{n}") for n, (wide, _) in enumerate(layers)]
    graph = LayerGraph(products, ["x"], [products[-1].name])
    plan = Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan
    plan = plan.with_sensitivities(
        {f"l{n}": Sensitivity(metric="kl", mean=d / 8, std=0, interval=None) for n, (_, d) in enumerate(layers)}
    )
    goal = Goal("macs", max_tiles=tiles)
    copies = extra_copies(graph, plan, goal)
    space = search_space(graph, plan, SearchOptions(goal, copies=copies))
    found = {}
    for size in range(len(layers) + 1):
        for names in itertools.combinations(plan.eligible, size):
            placement = frozenset(names)
            if plan.tiles_of(graph, placement) <= tiles:
                found[placement] = damage_of(graph, plan, placement, copies.of(placement))
                point = space.point(placement)
                assert point is not None
                assert point.damage == pytest.approx(found[placement], abs=1e-9)
                assert plan.with_copies(graph, copies.of(placement)).tiles_of(graph, placement) <= tiles
    limit = data.draw(st.sampled_from(sorted(found.values())))
    best = space.best(max_damage=limit + 1e-6)
    assert best is not None
    values = {p: plan.macs - sum(row.macs for row in plan.layers if row.name in p) for p in found}
    allowed = {p: values[p] for p, damage in found.items() if damage <= limit + 1e-9}
    assert best.value <= min(allowed.values()) + 1e-6
    safest = space.safest()
    assert safest is not None
    assert safest.damage == pytest.approx(min(found.values()), abs=1e-6)
    assert front(space).complete


def test_large_networks_are_searched_with_the_copies_of_all_layers_together() -> None:
    """No more variables than layers: each does the damage that it does beside all others."""
    machine = Hardware(name="even", tiles=Tiles(rows=8, cols=8), compensation=Compensation(copies=True))
    layers = [product(f"l{n}", "x", 8, 8, 1 + n % 7, f"s{n}") for n in range(MOST_STEPPED + 1)]
    graph = LayerGraph(layers, ["x"], [layers[-1].name])
    plan = Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan
    figure = Sensitivity(metric="kl", mean=1.0, std=0, interval=None)
    plan = plan.with_sensitivities(dict.fromkeys(plan.eligible, figure))
    goal = Goal(max_tiles=2 * len(layers))
    space = search_space(graph, plan, SearchOptions(goal, copies=extra_copies(graph, plan, goal)))
    assert space.terms["damage"] == pytest.approx(np.full(len(layers), 0.5))
    best = space.best(max_damage=25.0)
    assert best is not None
    assert len(best.placement) == 50


@pytest.mark.parametrize("strategy", ["milp", "sensitivity", "exhaustive", "lionheart"])
def test_strategies_place_more_where_tiles_hold_copies(strategy: str) -> None:
    """A judge of damages with the copies of every placement: on six tiles both layers hold, on two none does."""
    graph, plan = network()

    @dataclass
    class CopiesJudge:
        copies: Copies

        def within(self, placement: frozenset[str]) -> Verdict:
            drop = damage_of(graph, plan, placement, self.copies.of(placement))
            evaluation = Evaluation("kl", False, 0, (0,), 0, 0, None, drop, (drop, drop), None, (drop,), 1, 0, 0, 0.9)
            return Verdict("accepted" if drop <= 1.6 else "rejected", evaluation)

    analog = {}
    for tiles in (2, 6):
        goal = Goal("macs", max_tiles=tiles)
        copies = extra_copies(graph, plan, goal)
        options = SearchOptions(goal, max_drop=1.6, copies=copies)
        analog[tiles] = strategy_of(strategy)(CopiesJudge(copies), options).run(graph, plan).plan.analog
    assert analog == {2: {"many"}, 6: {"few", "many"}}


def test_a_layer_has_at_most_sixteen() -> None:
    graph, plan = network()
    # 14 x 30 rows fill seven tiles; eight would hold 17.
    assert extra_copies(graph, plan, Goal(max_tiles=1000)).of(["few", "many"]) == {"few": 14, "many": MOST_FURTHER}


def test_layers_that_do_no_damage_get_none() -> None:
    graph, plan = network()
    harmless = plan.with_sensitivities({"many": Sensitivity(metric="kl", mean=-0.1, std=0, interval=None)})
    assert extra_copies(graph, harmless, Goal(max_tiles=40)).of(["few", "many"]) == {"few": 14}


def test_shared_tiles_are_one_decision() -> None:
    machine = MACHINE.model_copy(update={"tiles": Tiles(rows=64, cols=64, count=4)})
    layers = [product(name, "x", 64, 10, 4, "same") for name in ("one", "other")]
    graph = LayerGraph(layers, ["x"], ["other"])
    plan = Qualify().run(graph, initial_plan(graph, machine, "", "0")).plan
    plan = plan.with_sensitivities({"one": Sensitivity(metric="kl", mean=1.0, std=0, interval=None)})
    assert extra_copies(graph, plan, Goal()).of(["one", "other"]) == {"one": 4, "other": 4}


def test_for_energy_no_copy_makes_a_layer_cost_more_than_it_saves() -> None:
    graph, plan = network(cols=60)
    goal = Goal("energy", max_tiles=1000)
    bounded = extra_copies(graph, plan, goal).of(["few", "many"])
    free = extra_copies(graph, plan, Goal("macs", max_tiles=1000)).of(["few", "many"])
    assert bounded["many"] < free["many"] == MOST_FURTHER


def test_bounds_of_energy_and_latency_leave_no_further_copies() -> None:
    graph, plan = network()
    goal = Goal("energy", max_tiles=40, max_energy_j=1.0)
    assert extra_copies(graph, plan, goal) == Copies({"few": 2})
