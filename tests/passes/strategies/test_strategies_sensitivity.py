"""Layers in the order of damage per MAC, and how far to go, with a judge whose damages are known and add up."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.passes.strategies.sensitivity_order import SensitivityOrder
from tests.passes.known_damages import TILE, Product, check_fallbacks, equal_layers, judge_of, network, reasons

PARTS = ((), ("",), ("", "/columns"))
"""What a layer may have on tiles."""
few = st.lists(st.integers(0, 20), min_size=0, max_size=8)


@given(few, st.integers(0, 80))
def test_sensitivity_finds_the_best_set_of_equal_layers(damages: list[int], budget: int) -> None:
    products = equal_layers(*damages)
    graph, plan = network(products)
    judge = judge_of(products, budget)
    result = SensitivityOrder(judge).run(graph, plan)
    # With equal MACs and damages that add up, the most layers are had by taking the least damage first.
    subsets = [
        frozenset(p.name for i, p in enumerate(products) if choice >> i & 1) for choice in range(2 ** len(products))
    ]
    best = max(len(subset) for subset in subsets if judge.holds(subset))
    assert judge.holds(result.plan.analog)
    assert len(result.plan.analog) == best
    check_fallbacks(result)


weighted = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=8)


@given(weighted, st.integers(0, 60))
def test_sensitivity_is_accepted_cheap_and_at_least_the_longest_row(sizes: list[tuple[int, int]], budget: int) -> None:
    products = [Product(f"l{i}", damage, TILE * macs) for i, (damage, macs) in enumerate(sizes)]
    graph, plan = network(products)
    judge = judge_of(products, budget)
    result = SensitivityOrder(judge).run(graph, plan)
    analog = result.plan.analog
    assert judge.holds(analog)
    assert not analog or analog in judge.asked
    macs = {p.name: p.macs for p in products}

    def gained(placement: frozenset[str]) -> int:
        return sum(macs[name] for name in placement)

    order = [p.name for p in sorted(products, key=lambda p: (p.damage / p.macs, p.name))]
    rows = [frozenset(order[:n]) for n in range(len(order) + 1)]
    # A step of less than a thirtieth of all MACs may be left out.
    longest = max(gained(row) for row in rows if judge.holds(row))
    assert gained(analog) >= longest - sum(macs.values()) / 30
    assert len(judge.asked) == len(set(judge.asked)) <= 2 + math.log2(len(products) ** 2)
    assert set(reasons(result).values()) <= {"budget", "sensitivity"}
    path = [*reversed(result.fallbacks), analog, *result.bolder]
    damages = [sum(judge.damages[name] for name in placement) for placement in path]
    assert damages == sorted(damages)
    assert all(gained(after) > gained(before) for before, after in itertools.pairwise(path))
    assert (path[0], path[-1]) == (frozenset(), frozenset(macs))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=5), st.integers(0, 200))
def test_columns_follow_the_rest_of_their_layer(damages: list[tuple[int, int]], budget: int) -> None:
    """Whatever they do. Every layer is digital, on tiles but for a fifth, or on tiles; the best of these is near."""
    products = [
        Product(f"l{i}{part}", damage, TILE * macs)
        for i, pair in enumerate(damages)
        for part, damage, macs in zip(("", "/columns"), pair, (4, 1), strict=True)
    ]
    graph, plan = network(products)
    plan = plan.with_digital_columns({f"l{i}": (0,) for i in range(len(damages))})
    judge = judge_of(products, budget)
    result = SensitivityOrder(judge).run(graph, plan)
    path = [*reversed(result.fallbacks), result.plan.analog, *result.bolder]
    for placement in (*path, *judge.asked):
        assert all(name.removesuffix("/columns") in placement for name in placement)
    assert path[-1] == frozenset(plan.eligible)
    macs = {p.name: p.macs / TILE for p in products}

    choices = itertools.product(PARTS, repeat=len(damages))
    all_of_them = [[f"l{i}{part}" for i, parts in enumerate(choice) for part in parts] for choice in choices]
    best = max(sum(macs[name] for name in names) for names in all_of_them if judge.holds(frozenset(names)))
    got = sum(macs[name] for name in result.plan.analog)
    # A greedy order, and steps of a thirtieth: less than one layer is lost of what enumeration finds.
    assert best - 5 < got <= best


def test_columns_that_do_less_than_the_rest_are_no_hindrance() -> None:
    products = [Product("l0", 8, TILE * 4), Product("l0/columns", 0, TILE)]
    graph, plan = network(products)
    plan = plan.with_digital_columns({"l0": (0,)})
    result = SensitivityOrder(judge_of(products, 8)).run(graph, plan)
    assert result.plan.analog == {"l0", "l0/columns"}
    assert SensitivityOrder(judge_of(products, 7)).run(graph, plan).plan.analog == frozenset()


def test_all_analog_is_judged_first_and_alone_where_it_holds() -> None:
    products = equal_layers(1, 2, 3, 4)
    graph, plan = network(products)
    judge = judge_of(products, 10)
    result = SensitivityOrder(judge).run(graph, plan)
    assert judge.asked == [frozenset({"l0", "l1", "l2", "l3"})]
    assert result.plan.analog == judge.asked[0]


def test_a_large_layer_holds_nobody_up_who_comes_after_it() -> None:
    # Damage per MAC: a 1, b 2, c 3, d 4; c is large, so d fits where c does not.
    products = [
        Product("d", 4 * TILE, TILE),
        Product("c", 30 * TILE, 10 * TILE),
        Product("b", 2 * TILE, TILE),
        Product("a", TILE, TILE),
    ]
    graph, plan = network(products)
    judge = judge_of(products, 8 * TILE)
    result = SensitivityOrder(judge).run(graph, plan)
    assert judge.asked == [frozenset("abcd"), frozenset("ab"), frozenset("abd"), frozenset("abc")]
    assert result.plan.analog == frozenset("abd")
    assert result.fallbacks == (frozenset("ab"), frozenset("a"), frozenset())
    assert result.bolder == (frozenset("abc"), frozenset("abcd"))
    assert reasons(result) == {"a": "budget", "b": "budget", "c": "sensitivity", "d": "budget"}


def test_what_lies_before_a_small_last_step_is_judged() -> None:
    """Damages of a network whose last layers bring little and do much: without them nearly all holds."""
    products = [
        Product("c1", 3.0, 400 * TILE),
        Product("c2", 4.0, 300 * TILE),
        Product("pw", 3.0, 10 * TILE),
        Product("fc", 6.0, 1 * TILE),
    ]
    graph, plan = network(products)
    judge = judge_of(products, 8.0)
    result = SensitivityOrder(judge).run(graph, plan)
    assert result.plan.analog == {"c1", "c2"}
    assert result.bolder == (frozenset({"c1", "c2", "pw", "fc"}),)
    assert len(judge.asked) <= SensitivityOrder.judgements(len(products))


@pytest.mark.parametrize(("budget", "analog"), [(15.0, {"c2", "c3", "fc", "stem"}), (13.0, {"c2", "c3"})])
def test_layers_of_few_macs_come_behind_where_the_search_ends(budget: float, analog: set[str]) -> None:
    """Damages of a network of five layers. By damage per MAC stem, c1 and fc come last, and two are small steps."""
    products = [
        Product("stem", 1.7, 90 * TILE),
        Product("c1", 28.7, 1440 * TILE),
        Product("c2", 10.7, 1440 * TILE),
        Product("c3", 1.5, 720 * TILE),
        Product("fc", 0.2, 3 * TILE),
    ]
    graph, plan = network(products)
    judge = judge_of(products, budget)
    result = SensitivityOrder(judge).run(graph, plan)
    assert result.plan.analog == analog
    assert judge.asked[-1] == {"c2", "c3", "fc", "stem"}
    assert result.bolder == (frozenset({"stem", "c1", "c2", "c3"}), frozenset({"stem", "c1", "c2", "c3", "fc"}))
    assert result.fallbacks[-2:] == (frozenset({"c3"}), frozenset())
