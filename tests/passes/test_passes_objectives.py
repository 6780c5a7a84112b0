"""What placements are best at: least energy or latency against enumeration, and what never goes on a tile for it."""

import itertools
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.costs import cost_of, cost_terms
from lhc.graph import LayerGraph
from lhc.passes import (
    STRATEGIES,
    Goal,
    Objective,
    SearchOptions,
    Select,
    anything_pays,
    default_objective,
    search_space,
)
from lhc.passes.strategies.exhaustive import Exhaustive
from lhc.passes.strategies.milp import Milp
from lhc.passes.strategies.sensitivity_order import SensitivityOrder
from lhc.plan import Plan
from tests.passes.costly_networks import LIONHEART, Additive, mobile, networks, paired, planned, product, value

COSTLY = ["energy", "latency"]


def placements(graph: LayerGraph, plan: Plan) -> list[frozenset[str]]:
    groups = search_space(graph, plan, SearchOptions()).groups
    sizes = range(len(groups) + 1)
    return [plan.analog.union(*chosen) for size in sizes for chosen in itertools.combinations(groups, size)]


def judged(plan: Plan, share: float) -> Additive:
    damages = {row.name: 0.0 if row.sensitivity is None else row.sensitivity.mean for row in plan.layers}
    return Additive(damages, share * sum(damages.values()))


def options(objective: Objective, judge: Additive | None = None) -> SearchOptions:
    return SearchOptions(Goal(objective), max_drop=None if judge is None else judge.max_drop)


@pytest.mark.parametrize("strategy", ["sensitivity", "milp"])
@pytest.mark.parametrize("objective", COSTLY)
def test_depthwise_convolutions_stay_digital_unless_macs_are_wanted(strategy: str, objective: Objective) -> None:
    graph, plan = mobile()
    deep = {name for name in plan.eligible if "depthwise" in name}
    found = STRATEGIES[strategy](judged(plan, 1.0), options(objective)).run(graph, plan).plan
    assert found.analog == set(plan.eligible) - deep
    cost = cost_terms(graph, plan.hardware)
    for row in found.layers:
        if row.name in deep:
            assert row.reason == "cost"
            assert re.search(r": [\d.]+ .[sJ], minus [\d.]+ .[sJ] of conversions, against [\d.]+ .[sJ]", row.detail)
            assert cost.analog[row.name].energy_j > 10 * cost.digital[row.name].energy_j
    assert STRATEGIES[strategy](judged(plan, 1.0), options("macs")).run(graph, plan).plan.analog == set(plan.eligible)


@given(networks(), st.sampled_from(COSTLY), st.floats(0, 1.1))
@settings(max_examples=40)
def test_exhaustive_finds_the_least_of_what_is_accepted(
    case: tuple[LayerGraph, Plan], objective: Objective, share: float
) -> None:
    graph, plan = case
    judge = judged(plan, share)
    found = Exhaustive(judge, options(objective, judge)).run(graph, plan).plan.analog
    accepted = [p for p in placements(graph, plan) if judge.drop(p) <= judge.max_drop]
    least = min(value(graph, plan, p, objective) for p in accepted)
    assert judge.drop(found) <= judge.max_drop
    assert value(graph, plan, found, objective) == pytest.approx(least, rel=1e-5)


@given(networks(), st.sampled_from(COSTLY), st.floats(0, 1.1), st.sampled_from(["sensitivity", "milp", "exhaustive"]))
@settings(max_examples=60)
def test_no_layer_is_analog_that_costs_more_than_it_saves(
    case: tuple[LayerGraph, Plan], objective: Objective, share: float, strategy: str
) -> None:
    graph, plan = case
    judge = judged(plan, share)
    result = STRATEGIES[strategy](judge, options(objective, judge)).run(graph, plan)
    groups = search_space(graph, plan, SearchOptions()).groups
    step = search_space(graph, plan, options(objective)).resolution(objective)
    for analog in (result.plan.analog, *result.fallbacks):
        here = value(graph, plan, analog, objective)
        inside = [group for group in groups if analog.issuperset(group)]
        subsets = (c for size in range(len(inside) + 1) for c in itertools.combinations(inside, size))
        assert all(value(graph, plan, analog.difference(*chosen), objective) >= here - step for chosen in subsets)
    rows = {row.name: row for row in result.plan.layers}
    here = value(graph, plan, result.plan.analog, objective)
    for group in groups:
        if result.plan.analog.isdisjoint(group):
            change = value(graph, plan, result.plan.analog.union(group), objective) - here
            if abs(change) > step:
                assert {rows[name].reason for name in group} == {"cost" if change > 0 else "sensitivity"}


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_layers_that_pay_only_together_are_placed_together(strategy: str) -> None:
    # Conversions in and out of either of two layers cost more than it saves; between two analog ones there are none.
    graph, plan = paired()
    digital, one, other, both = (value(graph, plan, frozenset(p), "energy") for p in ((), ("a",), ("b",), ("a", "b")))
    assert both < digital < min(one, other), "what the test rests on"
    found = STRATEGIES[strategy](judged(plan, 1.0), options("energy")).run(graph, plan)
    assert found.plan.analog == {"a", "b"}
    # The budget allows one alone, which does not pay.
    judge = judged(plan, 0.6)
    assert STRATEGIES[strategy](judge, options("energy", judge)).run(graph, plan).plan.analog == frozenset()


def test_a_layer_that_lost_its_neighbour_says_what_its_conversions_cost() -> None:
    graph, plan = paired()
    judge = judged(plan, 0.6)
    rows = SensitivityOrder(judge, options("energy", judge)).run(graph, plan).plan.layers
    assert {row.reason for row in rows} == {"cost"}
    assert all(", plus " in row.detail and "of conversions, against" in row.detail for row in rows)


@pytest.mark.parametrize("objective", COSTLY)
@pytest.mark.parametrize("seed", range(6))
def test_the_order_by_savings_gains_at_least_what_that_by_macs_does(objective: Objective, seed: int) -> None:
    graph, plan = _mixed(seed)
    judge = judged(plan, 0.4)
    found = SensitivityOrder(judge, options(objective, judge)).run(graph, plan).plan.analog
    by_macs = SensitivityOrder(judge, options("macs", judge)).run(graph, plan).plan.analog
    assert judge.drop(found) <= judge.max_drop
    # Steps of less than a thirtieth of what there is to gain are left out.
    gains = [
        value(graph, plan, frozenset(p), objective)
        for p in ((), search_space(graph, plan, options(objective)).ideal.placement)
    ]
    assert value(graph, plan, found, objective) <= value(graph, plan, by_macs, objective) + (gains[0] - gains[1]) / 30
    macs = {row.name: row.macs for row in plan.layers}
    assert sum(macs[n] for n in by_macs) >= sum(macs[n] for n in found) - sum(macs.values()) / 30
    assert len(judge.asked) <= 2 * SensitivityOrder.judgements(len(plan.eligible))


def _mixed(seed: int) -> tuple[LayerGraph, Plan]:
    """Twelve layers of many shapes in a row, whose tiles bring between nothing and much."""
    import numpy as np

    random = np.random.default_rng(seed)
    layers, source = [], "x"
    for i in range(12):
        rows, cols, positions = (int(n) for n in random.integers(1, (300, 300, 60)))
        layers.append(product(f"p{i}", source, rows, cols, positions, f"p{i}"))
        source = f"p{i}"
    return planned(layers, {f"p{i}": float(10.0 ** random.uniform(-2, 0)) for i in range(12)})


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_where_nothing_pays_nothing_is_analog_and_it_is_said(strategy: str) -> None:
    thin = [product("a", "x", 64, 1, 50, "a"), product("b", "a", 1, 4, 50, "b")]
    graph, plan = planned(thin, {"a": 0.0, "b": 0.0})
    assert not anything_pays(graph, plan, options("energy"))
    assert anything_pays(graph, plan, options("macs"))
    judge = judged(plan, 1.0)
    result = STRATEGIES[strategy](judge, options("energy")).run(graph, plan)
    assert result.plan.analog == frozenset()
    assert judge.asked == [], "what is digital anyway needs no judgement"
    (note,) = result.notes
    assert "no layer pays" in note
    assert "--objective macs" in note
    assert {row.reason for row in result.plan.layers} == {"cost"}


def test_where_a_layer_is_forced_it_is_said_of_the_others() -> None:
    layers = [product("a", "x", 64, 64, 50, "a"), product("b", "a", 64, 1, 50, "b")]
    graph, plan = planned(layers, {"a": 0.0, "b": 0.0})
    plan = plan.decide({"a": ("analog", "forced", "")})
    result = STRATEGIES["sensitivity"](judged(plan, 1.0), options("energy")).run(graph, plan)
    (note,) = result.notes
    assert note.startswith("no other layer pays on this machine")


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_forced_layers_stay_though_they_do_not_pay(strategy: str) -> None:
    graph, plan = mobile(2)
    forced = Select(force_analog=("block0.depthwise",)).run(graph, plan).plan
    assert anything_pays(graph, forced, options("energy"))
    found = STRATEGIES[strategy](judged(plan, 1.0), options("energy")).run(graph, forced)
    for analog in (found.plan.analog, *found.fallbacks):
        assert "block0.depthwise" in analog
        assert "block1.depthwise" not in analog


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_a_bound_is_kept_though_what_it_takes_does_not_pay(strategy: str) -> None:
    # For latency alone; the layer takes more energy on tiles.
    graph, plan = mobile(1)
    everything = frozenset(plan.eligible)
    fastest = min(placements(graph, plan), key=lambda p: cost_of(graph, p, plan.hardware).latency_s)
    bound = cost_of(graph, fastest, plan.hardware).latency_s * (1 + 1e-9)
    goal = Goal("macs", max_latency_s=bound)
    found = STRATEGIES[strategy](judged(plan, 1.0), SearchOptions(goal)).run(graph, plan).plan.analog
    assert found == fastest != everything
    tight = SearchOptions(Goal("energy", max_tiles=1))
    within = STRATEGIES[strategy](judged(plan, 1.0), tight).run(graph, plan).plan
    assert within.tiles(graph) <= 1


def test_the_default_objective_is_energy_where_it_can_be_told() -> None:
    graph, plan = mobile(1)
    unpriced = LIONHEART.model_copy(update={"costs": None})
    for name, kind in STRATEGIES.items():
        follows = name in ("sensitivity", "milp", "exhaustive")
        assert default_objective(kind, graph, LIONHEART) == ("energy" if follows else "macs")
        assert default_objective(kind, graph, unpriced) == "macs"
    sizes = LayerGraph([replace(graph[n], matrix=None) for n in plan.eligible], ["x"], ["y"])
    assert default_objective(Milp, sizes, LIONHEART) == "macs"


def test_a_large_search_works_out_few_fallbacks() -> None:
    graph, plan = _mixed(0)
    judge = judged(plan, math.inf)
    result = SensitivityOrder(judge, options("energy")).run(graph, plan)
    assert result.fallbacks[-1] == frozenset()
    values = [value(graph, plan, placement, "energy") for placement in result.fallbacks]
    assert values == sorted(values)
    assert len(values) <= 30
