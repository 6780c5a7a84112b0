"""Layers in the order of damage per MAC: bisection and repair, with a judge whose damages are known and add up."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lhc.passes.sensitivity_order import SensitivityOrder
from tests.passes.known_damages import TILE, Product, check_fallbacks, equal_layers, judge_of, network, reasons

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


@given(weighted, st.integers(0, 60), st.integers(0, 8))
def test_sensitivity_is_accepted_maximal_and_cheap(sizes: list[tuple[int, int]], budget: int, repairs: int) -> None:
    products = [Product(f"l{i}", damage, TILE * macs) for i, (damage, macs) in enumerate(sizes)]
    graph, plan = network(products)
    judge = judge_of(products, budget)
    result = SensitivityOrder(judge, repairs=repairs).run(graph, plan)
    analog = result.plan.analog
    assert judge.holds(analog)
    assert not analog or analog in judge.asked
    order = [p.name for p in sorted(products, key=lambda p: (p.damage / p.macs, p.name))]
    prefixes = [frozenset(order[:n]) for n in range(len(order) + 1)]
    longest = max((p for p in prefixes if judge.holds(p)), key=len)
    assert longest <= analog
    if repairs >= len(products):
        assert not any(judge.holds(analog | {name}) for name in order if name not in analog)
    assert len(judge.asked) <= 1 + math.ceil(math.log2(len(products))) + repairs
    assert len(judge.asked) == len(set(judge.asked))
    assert set(reasons(result).values()) <= {"budget", "sensitivity"}
    check_fallbacks(result)


def test_all_analog_is_judged_first_and_alone_where_it_holds() -> None:
    products = equal_layers(1, 2, 3, 4)
    graph, plan = network(products)
    judge = judge_of(products, 10)
    result = SensitivityOrder(judge).run(graph, plan)
    assert judge.asked == [frozenset({"l0", "l1", "l2", "l3"})]
    assert result.plan.analog == judge.asked[0]


def test_bisection_and_repair_by_hand() -> None:
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
    assert judge.asked == [frozenset("abcd"), frozenset("ab"), frozenset("abc"), frozenset("abd")]
    assert result.plan.analog == frozenset("abd")
    assert result.fallbacks == (frozenset("ab"), frozenset("a"), frozenset())
    assert reasons(result) == {"a": "budget", "b": "budget", "c": "sensitivity", "d": "budget"}
    assert SensitivityOrder(judge, repairs=0).run(graph, plan).plan.analog == frozenset("ab")


def test_repair_adds_up_to_so_many_layers() -> None:
    products = [Product("big", 100, 100 * TILE), *[Product(f"s{i}", 2, TILE) for i in range(6)]]
    graph, plan = network(products)
    judge = judge_of(products, 7)
    for repairs, expected in ((1, 1), (2, 2), (6, 3)):
        found = SensitivityOrder(judge, repairs=repairs).run(graph, plan).plan.analog
        assert found == {f"s{i}" for i in range(expected)}
