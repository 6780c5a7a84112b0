"""Searches by estimate against enumeration, on graphs small enough for it."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.costs import cost_of
from lhc.errors import ConfigError
from lhc.graph import Layer, LayerGraph
from lhc.passes import Goal, SearchOptions, SearchSpace, damage_of, front, search_space
from lhc.passes.strategies.base import Measure, Objective
from lhc.passes.strategies.exhaustive import Exhaustive
from lhc.passes.strategies.milp import Milp
from lhc.plan import Plan
from lhc.results import Verdict
from tests.passes.costly_networks import MACHINE, Additive, networks, planned, product, value


def everything(graph: LayerGraph, plan: Plan, space: SearchSpace) -> Iterator[tuple[frozenset[str], float, float]]:
    """All placements within the limits, with damage and value."""
    for size in range(len(space.groups) + 1):
        for chosen in itertools.combinations(space.groups, size):
            placement = plan.analog.union(*chosen)
            measured = {
                "tiles": plan.tiles_of(graph, placement),
                "latency": value(graph, plan, placement, "latency"),
                "energy": value(graph, plan, placement, "energy"),
            }
            if all(measured[m] <= bound for m, bound in space.limits.items()):
                yield placement, damage_of(graph, plan, placement), value(graph, plan, placement, space.objective)


def goals(draw: st.DrawFn, graph: LayerGraph, plan: Plan) -> Goal:
    """A goal whose bounds matter: between what the best and the worst placement need."""
    digital, analog = (cost_of(graph, p, plan.hardware) for p in (frozenset[str](), frozenset(plan.eligible)))
    share = draw(st.floats(0.05, 1.2))
    return Goal(
        draw(st.sampled_from(["macs", "latency", "energy"])),
        draw(st.none() | st.integers(0, 12)),
        draw(st.sampled_from([None, share * max(digital.latency_s, analog.latency_s)])),
        draw(st.sampled_from([None, share * max(digital.energy_j, analog.energy_j)])),
    )


cases = st.composite(lambda draw: (case := draw(networks()), goals(draw, *case)))()


@given(cases, st.floats(0, 6))
@settings(max_examples=60)
def test_best_and_safest_are_those_of_the_enumeration(case: tuple[tuple[LayerGraph, Plan], Goal], most: float) -> None:
    (graph, plan), goal = case
    space = search_space(graph, plan, SearchOptions(goal))
    allowed = list(everything(graph, plan, space))
    best, safest, bounded = space.best(), space.safest(), space.best(max_damage=most)
    assert (best is None) == (safest is None) == (not allowed)
    if best is None or safest is None:
        assert bounded is None
        return
    step = space.resolution(space.objective)
    assert best.value == pytest.approx(min(v for _, _, v in allowed), abs=step)
    assert safest.damage == pytest.approx(min(d for _, d, _ in allowed), abs=space.resolution("damage"))
    within = [v for _, d, v in allowed if d <= most]
    assert (bounded is None) == (not within)
    if bounded is not None:
        assert bounded.value == pytest.approx(min(within), abs=step)
    for point in (best, safest, *([] if bounded is None else [bounded])):
        assert point.value == pytest.approx(value(graph, plan, point.placement, space.objective))
        assert point.damage == pytest.approx(damage_of(graph, plan, point.placement), abs=1e-12)
        assert any(point.placement == placement for placement, _, _ in allowed)


@given(cases)
@settings(max_examples=40)
def test_the_front_is_that_of_the_enumeration(case: tuple[tuple[LayerGraph, Plan], Goal]) -> None:
    (graph, plan), goal = case
    space = search_space(graph, plan, SearchOptions(goal))
    found = front(space, most=10_000)
    assert found.complete
    allowed = [(d, v) for _, d, v in everything(graph, plan, space)]
    better = [(d, v) for d, v in allowed if not any(e <= d and w <= v and (e, w) != (d, v) for e, w in allowed)]
    # Points that differ by less than the resolution may be one.
    steps = space.resolution("damage"), space.resolution(space.objective)
    for point in found.points:
        assert any(abs(point.damage - d) <= steps[0] and abs(point.value - v) <= steps[1] for d, v in better)
    for d, v in better:
        assert any(p.damage <= d + steps[0] and p.value <= v + steps[1] for p in found.points)


@given(cases)
@settings(max_examples=40)
def test_a_point_is_what_the_placement_costs(case: tuple[tuple[LayerGraph, Plan], Goal]) -> None:
    (graph, plan), goal = case
    space = search_space(graph, plan, SearchOptions(goal))
    allowed = {placement: (d, v) for placement, d, v in everything(graph, plan, space)}
    for size in range(len(space.groups) + 1):
        for chosen in itertools.combinations(space.groups, size):
            point = space.point(plan.analog.union(*chosen))
            if point is not None:
                assert (point.damage, point.value) == pytest.approx(allowed[point.placement])
            else:
                assert plan.analog.union(*chosen) not in allowed


def kept(space: SearchSpace, measure: Measure, formats: npt.NDArray[np.float64]) -> float:
    """What a measure is with these formats of groups and other operators; tensors held in both are converted."""
    held = space.members.toarray() > 0
    highest, lowest = (np.array([f(formats[row]) for row in held]) for f in (np.max, np.min))
    return space.constants[measure] + float(space.terms[measure] @ np.concatenate([formats, highest, lowest]))


@given(cases, st.data())
@settings(max_examples=60)
def test_a_flip_is_what_the_moved_group_changes(
    case: tuple[tuple[LayerGraph, Plan], Goal], data: st.DataObject
) -> None:
    (graph, plan), goal = case
    space = search_space(graph, plan, SearchOptions(goal))
    chosen = [group for group in space.groups if data.draw(st.booleans())]
    start = space.point(plan.analog.union(*chosen))
    if start is None or start.variables is None:
        return
    formats = start.variables[: space.members.shape[1]]
    for measure in space.terms:
        flips = space.flips(start, measure)
        for g, group in enumerate(space.groups):
            moved = formats.copy()
            moved[g] = 1 - moved[g]
            change = kept(space, measure, moved) - kept(space, measure, formats)
            assert flips[g] == pytest.approx(change, rel=1e-9, abs=1e-15)
            there = replace(space, limits={}).point(start.placement ^ frozenset(group))
            if measure == space.objective and there is not None:
                # Other operators may follow, so that it is no more than that.
                assert there.value <= start.value + flips[g] + space.resolution(measure)


@given(cases)
@settings(max_examples=40)
def test_no_placement_comes_to_less_than_its_floor(case: tuple[tuple[LayerGraph, Plan], Goal]) -> None:
    (graph, plan), goal = case
    space = search_space(graph, plan, SearchOptions(goal))
    chosen = np.array(list(itertools.product([0.0, 1.0], repeat=len(space.groups))))
    floors = {measure: space.floors(chosen, measure) for measure in space.terms}
    for i, row in enumerate(chosen):
        placement = space.placement(row)
        assert floors["macs"][i] == pytest.approx(value(graph, plan, placement, "macs"))
        assert floors["tiles"][i] == plan.tiles_of(graph, placement)
        assert floors["damage"][i] == pytest.approx(damage_of(graph, plan, placement), abs=1e-12)
        for measure in space.terms.keys() & {"latency", "energy"}:
            assert floors[measure][i] <= value(graph, plan, placement, measure) * (1 + 1e-9)


@pytest.mark.parametrize("few", [16, 0], ids=["every placement", "programs and moves"])
@given(case=cases, max_drop=st.floats(0, 6))
@settings(max_examples=40)
def test_milp_is_the_optimum_where_damages_add_up(
    few: int, case: tuple[tuple[LayerGraph, Plan], Goal], max_drop: float
) -> None:
    (graph, plan), goal = case
    options = SearchOptions(goal, max_drop=max_drop)
    damages = {layer.name: 0.0 for layer in plan.layers}
    for tie in graph.tied(damages):
        damages[tie[0]] = damage_of(graph, plan, tie[:1])
    judge = Additive(damages, max_drop)
    # Judged as often as it takes: by default both searches stop early.
    result = Milp(judge, options, most=200, least_gain=0, few=few).run(graph, plan)
    best = Exhaustive(Additive(damages, max_drop), options).run(graph, plan)
    space = search_space(graph, plan, options)
    if not list(everything(graph, plan, space)):
        assert result.plan.analog == plan.analog
        assert "no placement keeps to the tiles, latency and energy" in result.notes[0]
        return
    if not any(d <= max_drop for _, d, _ in everything(graph, plan, space)):
        assert "no placement within the bounds meets the budget" in result.notes[0]
        return
    assert judge.drop(result.plan.analog) <= max_drop
    found, optimum = (value(graph, plan, p.plan.analog, goal.objective) for p in (result, best))
    assert found == pytest.approx(optimum, abs=2 * space.resolution(goal.objective))
    assert len(judge.asked) == len(set(judge.asked))


def chain(count: int) -> tuple[LayerGraph, Plan]:
    """A network of so many products with ReLUs and skips between them, and damages over three decades."""
    layers: list[Layer] = []
    damages = {}
    source = "x"
    for i in range(count):
        name = f"p{i}"
        layers.append(product(name, source, 64 + 13 * (i * 7 % 31), 32 + 11 * (i * 5 % 17), 1 + i * 3 % 50, name))
        layers.append(Layer(f"relu{i}", "Relu", (name,), (f"relu{i}",)))
        source = f"relu{i}"
        if i % 3 == 2:
            layers.append(Layer(f"add{i}", "Add", (source, f"relu{i - 2}"), (f"add{i}",)))
            source = f"add{i}"
        damages[name] = 10.0 ** (-3 * ((i * 37) % 101) / 101)
    return planned(layers, damages)


@pytest.mark.parametrize(
    ("objective", "max_tiles", "share"),
    [
        ("macs", 1500, 0.2),
        ("energy", None, 0.05),
        pytest.param("macs", None, 0.05, marks=pytest.mark.slow),
        pytest.param("latency", None, 0.2, marks=pytest.mark.slow),
        pytest.param("latency", 1500, 0.05, marks=pytest.mark.slow),
        pytest.param("energy", 1500, 0.2, marks=pytest.mark.slow),
    ],
)
def test_five_hundred_layers_are_searched_in_seconds(objective: Objective, max_tiles: int | None, share: float) -> None:
    goal = Goal(objective, max_tiles=max_tiles)
    graph, plan = chain(500)
    estimated = {layer.name: damage_of(graph, plan, [layer.name]) for layer in plan.layers}
    # What is true is a little off from what is estimated, so that the search has to look for it.
    true = {name: damage * (1 + 0.3 * (-1) ** i) for i, (name, damage) in enumerate(estimated.items())}
    judge = Additive(true, share * sum(true.values()))
    begun = time.process_time()
    result = Milp(judge, SearchOptions(goal, max_drop=judge.max_drop)).run(graph, plan)
    assert time.process_time() - begun < 4  # half of it on a machine that does nothing else
    assert len(judge.asked) <= Milp.most
    assert judge.drop(result.plan.analog) <= judge.max_drop
    assert result.plan.analog


@pytest.mark.slow
@pytest.mark.parametrize("goal", [Goal("latency"), Goal("energy", max_tiles=2000)], ids=["latency", "energy and tiles"])
def test_the_optimum_of_five_hundred_layers_with_crossings_takes_less_than_two_seconds(goal: Goal) -> None:
    graph, plan = chain(500)
    begun = time.process_time()
    space = search_space(graph, plan, SearchOptions(goal))
    safest, best = space.safest(), space.best()
    assert safest is not None
    assert best is not None
    middle = space.best(max_damage=(safest.damage + best.damage) / 2)
    assert time.process_time() - begun < 2
    assert middle is not None
    assert best.value < middle.value < safest.value


class OverSamples(Additive):
    """Decides by the interval over samples too; the one over chips alone says that nothing is lost."""

    def within(self, placement: frozenset[str]) -> Verdict:
        verdict = super().within(placement)
        found = replace(verdict.evaluation, drop_interval=(0, 0), sample_interval=verdict.evaluation.drop_interval)
        return Verdict(verdict.status, found, generalized=True)


@pytest.mark.parametrize("few", [16, 0], ids=["every placement", "programs and moves"])
def test_a_search_learns_from_the_interval_that_decides(few: int) -> None:
    graph, plan = chain(9)
    true = {layer.name: damage_of(graph, plan, [layer.name]) * (1 + i % 3) for i, layer in enumerate(plan.layers)}
    judges = [kind(true, 0.4 * sum(true.values())) for kind in (Additive, OverSamples)]
    plans = [Milp(j, SearchOptions(max_drop=j.max_drop), few=few).run(graph, plan).plan for j in judges]
    assert judges[0].asked == judges[1].asked
    assert plans[0].analog == plans[1].analog


@pytest.mark.parametrize("goal", [Goal(), Goal("energy", max_tiles=200)], ids=["macs", "energy within tiles"])
def test_programs_that_are_solved_roughly_are_nearly_the_best(goal: Goal) -> None:
    graph, plan = chain(80)
    space = search_space(graph, plan, SearchOptions(goal))
    rough = replace(space, roughly=True)
    safest, best, found = space.safest(), space.best(), rough.best()
    assert safest is not None
    assert best is not None
    assert found is not None
    assert found.value == pytest.approx(best.value, rel=1e-3)
    for share in (0.1, 0.3, 0.6):
        most = safest.damage + share * (best.damage - safest.damage)
        exact, found = space.best(max_damage=most), rough.best(max_damage=most)
        assert exact is not None
        assert found is not None
        assert found.damage <= most + 2 * space.resolution("damage")
        assert space.point(found.placement) is not None
        gain = (safest.value - found.value) / (safest.value - exact.value)
        assert 0.99 <= gain <= 1 + 1e-6
    assert replace(rough, limits={"tiles": -1}).best() is None


def test_a_search_by_costs_needs_costs() -> None:
    graph, plan = planned([product("p", "x", 8, 8, 1, "p")], {"p": 1}, MACHINE.model_copy(update={"costs": None}))
    assert search_space(graph, plan, SearchOptions()).best() is not None
    with pytest.raises(ConfigError, match="describes no costs"):
        search_space(graph, plan, SearchOptions(Goal("latency")))


def test_reasons_of_layers_that_stay_digital() -> None:
    # A wide product gains by its tile; one of a single column only pays for transfers.
    wide, thin = product("wide", "x", 64, 64, 50, "wide"), product("thin", "wide", 64, 1, 50, "thin")
    graph, plan = planned(
        [wide, thin, product("late", "thin", 640, 64, 50, "late")], dict.fromkeys(["wide", "thin", "late"], 1.0)
    )
    judge = Additive(dict.fromkeys(["wide", "thin", "late"], 1.0), 5)
    result = Milp(judge, SearchOptions(Goal("latency"))).run(graph, plan)
    found = {layer.name: (layer.placement, layer.reason) for layer in result.plan.layers}
    assert found["thin"] == ("digital", "cost")
    assert result.plan.layers[1].detail.startswith("dearer on tiles than digital: ")
