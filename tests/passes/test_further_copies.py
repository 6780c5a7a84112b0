"""What layers may have of copies in tiles that are left over, and what that is predicted to bring."""

import pytest

from lhc.graph import LayerGraph
from lhc.hardware import AlpineCosts, Hardware, Tiles
from lhc.hardware.sections import Compensation
from lhc.passes import ChooseCopies, Copies, Goal, Qualify, SearchOptions, damage_of, further_copies, initial_plan
from lhc.passes.further_copies import MOST_COPIES
from lhc.passes.search_terms import search_space
from lhc.plan import Plan, Sensitivity
from tests.passes.costly_networks import product

MACHINE = Hardware(
    name="small", tiles=Tiles(rows=64, cols=64), compensation=Compensation(copies=True), costs=AlpineCosts()
)
DAMAGES = {"few": 4.0, "many": 1.0}


def network(machine: Hardware = MACHINE, cols: int = 10, sets: str = "ab") -> tuple[LayerGraph, Plan]:
    """Products of 30 and 64 rows, with sensitivities for the copies that they have anyway: two, and one."""
    layers = [product("few", "x", 30, cols, 4, sets[0]), product("many", "x", 64, cols, 4, sets[1])]
    graph = LayerGraph(layers, ["x"], ["many"])
    plan = Qualify().run(graph, initial_plan(graph, machine, "source", "0")).plan
    plan = ChooseCopies().run(graph, plan).plan
    figures = {
        name: Sensitivity(metric="kl", mean=mean, std=0, interval=None, copies=plan.copies.get(name, 1))
        for name, mean in DAMAGES.items()
    }
    return graph, plan.with_sensitivities(figures)


def test_without_a_bound_of_tiles_only_free_cells_hold_copies() -> None:
    graph, plan = network()
    assert further_copies(graph, plan, Goal()) == Copies({"few": 2})
    assert further_copies(graph, plan, Goal()).of(["few", "many"]) == {"few": 2}


@pytest.mark.parametrize("count", [6, None])
def test_tiles_go_where_they_take_most_damage_away(count: int | None) -> None:
    """The machine's own number is a bound as well as the user's."""
    graph, plan = network(MACHINE.model_copy(update={"tiles": Tiles(rows=64, cols=64, count=count)}))
    copies = further_copies(graph, plan, Goal(max_tiles=None if count else 6))
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


def test_a_search_estimates_damage_with_the_copies_of_all_layers() -> None:
    graph, plan = network()
    goal = Goal(max_tiles=6)
    space = search_space(graph, plan, SearchOptions(goal, copies=further_copies(graph, plan, goal)))
    assert space.terms["damage"] == pytest.approx([1.0, 0.5])
    assert space.terms["tiles"] == pytest.approx([1, 1])


def test_a_layer_has_at_most_sixteen() -> None:
    graph, plan = network()
    # 14 x 30 rows fill seven tiles; eight would hold 17.
    assert further_copies(graph, plan, Goal(max_tiles=1000)).of(["few", "many"]) == {"few": 14, "many": MOST_COPIES}


def test_layers_that_do_no_damage_get_none() -> None:
    graph, plan = network()
    harmless = plan.with_sensitivities({"many": Sensitivity(metric="kl", mean=-0.1, std=0, interval=None)})
    assert further_copies(graph, harmless, Goal(max_tiles=40)).of(["few", "many"]) == {"few": 14}


def test_shared_tiles_are_one_decision() -> None:
    machine = MACHINE.model_copy(update={"tiles": Tiles(rows=64, cols=64, count=4)})
    layers = [product(name, "x", 64, 10, 4, "same") for name in ("one", "other")]
    graph = LayerGraph(layers, ["x"], ["other"])
    plan = Qualify().run(graph, initial_plan(graph, machine, "source", "0")).plan
    plan = plan.with_sensitivities({"one": Sensitivity(metric="kl", mean=1.0, std=0, interval=None)})
    assert further_copies(graph, plan, Goal()).of(["one", "other"]) == {"one": 4, "other": 4}


def test_for_energy_no_copy_makes_a_layer_cost_more_than_it_saves() -> None:
    graph, plan = network(cols=60)
    goal = Goal("energy", max_tiles=1000)
    bounded = further_copies(graph, plan, goal).of(["few", "many"])
    free = further_copies(graph, plan, Goal("macs", max_tiles=1000)).of(["few", "many"])
    assert bounded["many"] < free["many"] == MOST_COPIES


def test_bounds_of_energy_and_latency_leave_no_further_copies() -> None:
    graph, plan = network()
    goal = Goal("energy", max_tiles=40, max_energy_j=1.0)
    assert further_copies(graph, plan, goal) == Copies({"few": 2})
