"""What every strategy keeps to: tiles, ties, groups, what the user fixed; and rules that ask no judge."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.passes import (
    STRATEGIES,
    Goal,
    Qualify,
    Select,
    Strategy,
    check_goal,
    initial_plan,
    strategy_of,
    wanted_together,
)
from lhc.passes.strategies.fixed_rules import AllAnalog, AllDigital, FirstLast
from lhc.passes.strategies.lionheart_walk import LionHeart
from lhc.passes.strategies.sensitivity_order import SensitivityOrder
from lhc.results import Verdict
from tests.passes.known_damages import (
    TILE,
    FakeJudge,
    Product,
    check_fallbacks,
    equal_layers,
    flat,
    judge_of,
    network,
    reasons,
)


@dataclass(frozen=True)
class RuleCase:
    id: str
    rule: type[Strategy]
    analog: str


RULES = [
    RuleCase("all-analog", AllAnalog, "abcd"),
    RuleCase("all-digital", AllDigital, ""),
    RuleCase("first-last", FirstLast, "bc"),
]


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.id)
def test_rules_place_without_asking(case: RuleCase) -> None:
    products = [Product(name, macs=TILE) for name in "abcd"]
    graph, plan = network(products)
    judge = judge_of(products, 0)
    result = case.rule(judge).run(graph, plan)
    assert result.plan.analog == frozenset(case.analog)
    assert {(layer.reason, layer.detail) for layer in result.plan.layers} == {("strategy", f"by {case.id}")}
    assert judge.asked == []
    assert result.fallbacks == ()
    assert plan.analog == frozenset()


def test_first_and_last_are_so_among_the_eligible_layers() -> None:
    products = [Product(name, macs=TILE) for name in "abcde"]
    graph, plan = network(products)
    plan = Select(exclude=("a",), force_analog=("e",)).run(graph, plan).plan
    result = FirstLast(judge_of(products, 0)).run(graph, plan)
    assert result.plan.analog == frozenset("ce")


def test_the_last_layer_is_the_last_in_the_file_also_where_it_shares_weights() -> None:
    products = [Product(name, macs=TILE, weights=weights) for name, weights in zip("abcd", "1232", strict=True)]
    graph, plan = network(products)
    result = FirstLast(judge_of(products, 0)).run(graph, plan)
    # d is last and b moves with it; c is neither first nor last.
    assert result.plan.analog == frozenset("c")


@pytest.mark.parametrize("rule", [AllAnalog, FirstLast, AllDigital])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_rules_of_small_networks(rule: type[Strategy], count: int) -> None:
    products = [Product(name, macs=TILE) for name in "ab"[:count]]
    graph, plan = network(products)
    result = rule(judge_of(products, 0)).run(graph, plan)
    assert len(result.plan.analog) == (count if rule is AllAnalog else 0)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9, 40])
@pytest.mark.parametrize("budget", [0, 3, 1000], ids=["nothing holds", "some holds", "all holds"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_asks_more_than_it_says(name: str, budget: int, count: int) -> None:
    if name == "exhaustive" and count > 9:
        pytest.skip("takes few layers")
    products = [Product(f"l{i}", 1 + i % 4, (1 + i % 3) * TILE) for i in range(count)]
    graph, plan = network(products)
    judge = judge_of(products, budget)
    strategy_of(name)(judge, flat(products)).run(graph, plan)
    assert len(judge.asked) <= strategy_of(name).judgements(count)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.sampled_from("abcdef")), min_size=1, max_size=6),
    st.integers(0, 12),
    st.integers(1, 8),
)
def test_every_strategy_keeps_to_the_tiles_and_moves_ties_together(
    sizes: list[tuple[int, int, str]], budget: int, tiles: int
) -> None:
    # Layers of one letter hold the same weights, hence the same tiles.
    height = {letter: size for _, size, letter in sizes}
    products = [
        Product(f"l{i}", damage, 6 * TILE, height[letter], letter) for i, (damage, _, letter) in enumerate(sizes)
    ]
    graph, plan = network(products, tiles)
    for name in STRATEGIES:
        strategy = strategy_of(name)(judge_of(products, budget), flat(products))
        result = strategy.run(graph, plan)
        for analog in (result.plan.analog, *result.fallbacks):
            assert plan.tiles_of(graph, analog) <= tiles
            for group in graph.tied(p.name for p in products):
                assert set(group) <= analog or analog.isdisjoint(group)
        if strategy.searches:
            check_fallbacks(result)


@pytest.mark.parametrize("name", ["sensitivity", "lionheart", "all-analog"])
def test_layers_without_room_say_so(name: str) -> None:
    # Two tiles each, three tiles in all: the one with the least damage per MAC, the most MACs, or the first.
    products = [Product("a", 1, 8 * TILE, 2), Product("b", 9, 4 * TILE, 2), Product("c", 9, 2 * TILE, 1)]
    graph, plan = network(products, tiles=3)
    result = strategy_of(name)(judge_of(products, 100)).run(graph, plan)
    assert result.plan.analog == {"a", "c"}
    assert reasons(result)["b"] == "tiles"
    assert "no tiles left" in result.plan.layers[1].detail


def test_layers_that_share_weights_share_their_room() -> None:
    products = [Product(name, 1, 2 * TILE, 2, "same") for name in "ab"]
    graph, plan = network(products, tiles=2)
    for name in ("sensitivity", "lionheart", "all-analog"):
        result = strategy_of(name)(judge_of(products, 100)).run(graph, plan)
        assert result.plan.analog == frozenset("ab")


def test_tied_layers_are_judged_together_and_ranked_by_their_sums() -> None:
    # Per MAC: the pair (1 + 1) / (1 + 9), the single one 0.5.
    products = [Product("p", 1, TILE, weights="w"), Product("s", 2, 4 * TILE), Product("q", 1, 9 * TILE, weights="w")]
    graph, plan = network(products)
    judge = judge_of(products, 3)
    assert SensitivityOrder(judge).run(graph, plan).plan.analog == {"p", "q"}
    assert judge.asked == [frozenset("pqs"), frozenset("pq")]
    walk = judge_of(products, 3)
    assert LionHeart(walk).run(graph, plan).plan.analog == {"p", "q"}
    assert walk.asked == [frozenset("pq"), frozenset("pqs")]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_what_the_user_fixed_stays_and_counts(name: str) -> None:
    products = equal_layers(5, 1, 1, 1, 1)
    graph, plan = network(products)
    fixed = Select(force_analog=("l0",), force_digital=("l1",), exclude=("l2",))
    judge = judge_of(products, 6)
    result = strategy_of(name)(judge, flat(products)).run(graph, fixed.run(graph, plan).plan)
    assert {"l0"} <= result.plan.analog <= {"l0", "l3", "l4"}
    found = reasons(result)
    assert (found["l0"], found["l1"], found["l2"]) == ("forced", "forced", "excluded")
    assert all("l0" in asked for asked in judge.asked)
    assert all("l0" in analog for analog in result.fallbacks)
    if STRATEGIES[name].searches:
        # 5 of the forced layer leave room for one more.
        assert result.plan.analog == {"l0", "l3"}
        check_fallbacks(result, frozenset({"l0"}))


def test_forced_layers_take_their_tiles_first() -> None:
    products = equal_layers(9, 1, 1, tiles=2)
    graph, plan = network(products, tiles=4)
    forced = Select(force_analog=("l0",)).run(graph, plan).plan
    for name in ("sensitivity", "lionheart", "all-analog"):
        result = strategy_of(name)(judge_of(products, 100)).run(graph, forced)
        assert result.plan.analog == {"l0", "l1"}


def test_undecided_counts_as_rejected() -> None:
    products = equal_layers(1, 1)
    graph, plan = network(products)

    class Undecided(FakeJudge):
        def within(self, placement: frozenset[str]) -> Verdict:
            return Verdict("undecided", super().within(placement).evaluation)

    for strategy in (SensitivityOrder, LionHeart):
        assert strategy(Undecided({"l0": 0, "l1": 0}, 1)).run(graph, plan).plan.analog == frozenset()


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_nothing_to_place_is_no_error(name: str) -> None:
    graph, plan = network([])
    judge = FakeJudge({}, 1)
    result = strategy_of(name)(judge).run(graph, plan)
    assert result.plan == plan
    assert judge.asked == []


def test_strategies_are_made_by_name() -> None:
    judge = FakeJudge({}, 1)
    for name, kind in STRATEGIES.items():
        strategy = strategy_of(name)(judge)
        assert type(strategy) is kind
        assert strategy.name == name
    rules = {"all-analog", "all-digital", "first-last"}
    assert set(STRATEGIES) == {"sensitivity", "milp", "lionheart", "exhaustive", "random", "hilal"} | rules
    with pytest.raises(UsageError, match="unknown strategy 'lion'; choose one of sensitivity, milp, lionheart"):
        strategy_of("lion")


@pytest.mark.parametrize(
    "goal", [Goal("latency"), Goal("energy"), Goal(max_latency_s=1.0), Goal(max_energy_j=1.0)], ids=str
)
def test_what_goes_for_macs_refuses_another_goal(goal: Goal) -> None:
    for name in ("lionheart", "random", "hilal", "first-last", "all-analog"):
        with pytest.raises(UsageError, match=f"'{name}' does not go by latency.*: sensitivity, milp, exhaustive"):
            check_goal(strategy_of(name), goal)
    for name in ("sensitivity", "milp", "exhaustive"):
        check_goal(strategy_of(name), goal)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "speed"}, "unknown objective 'speed'"),
        ({"max_tiles": -1}, "--max-tiles must be at least 0"),
        ({"max_latency_s": math.inf}, "--max-latency must be at least 0 and finite"),
        ({"max_energy_j": math.nan}, "--max-energy must be at least 0 and finite"),
    ],
    ids=str,
)
def test_goals_without_meaning_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Goal(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_keeps_to_the_tiles_that_the_user_allows(name: str) -> None:
    products = equal_layers(1, 1, 1, 1)
    graph, plan = network(products, tiles=3)
    for most in (0, 2, 9):
        result = strategy_of(name)(judge_of(products, 100), flat(products, goal=Goal(max_tiles=most))).run(graph, plan)
        allowed = 0 if name == "all-digital" else 2 if name == "first-last" else 4
        assert len(result.plan.analog) == min(most, 3, allowed)


@pytest.mark.parametrize("name", list(STRATEGIES))
@given(groups=st.lists(st.sets(st.sampled_from("abcdef"), min_size=2), max_size=3), budget=st.integers(0, 9))
def test_what_the_user_wants_together_moves_together(name: str, groups: list[set[str]], budget: int) -> None:
    products = [Product(n, 1 + i % 3, 6 * TILE) for i, n in enumerate("abcdef")]
    graph, plan = network(products)
    together = tuple(map(frozenset, groups))
    result = strategy_of(name)(judge_of(products, budget), flat(products, together=together)).run(graph, plan)
    for analog in (result.plan.analog, *result.fallbacks):
        assert all(group <= analog or analog.isdisjoint(group) for group in together)


def test_groups_by_block_input_and_pattern() -> None:
    def matmul(name: str, source: str) -> Layer:
        weight = WeightRef(f"{name}.w", 1, (8, 8), "float32", name)
        return Layer(name, "MatMul", (source, f"{name}.w"), (f"{name}.out",), weight, MatrixShape(8, 8, 1, 1))

    qkv = [matmul(f"layers.0.{n}", "x") for n in ("query", "key", "value")]
    graph = LayerGraph([*qkv, matmul("layers.1.fc", "layers.0.query.out")], ["x"], ["layers.1.fc.out"])
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "", "0")).plan
    attention = frozenset(layer.name for layer in qkv)
    assert wanted_together(graph, plan, ["block"]) == (attention,)
    assert wanted_together(graph, plan, ["input"]) == (attention,)
    assert wanted_together(graph, plan, ["*key", "layers.0.[qv]*"]) == (attention - {"layers.0.key"},)
    assert wanted_together(graph, plan, ["layers.1.fc"]) == (), "one layer alone is no group"
    with pytest.raises(UsageError, match="--group 'nothing' matches no layer"):
        wanted_together(graph, plan, ["nothing"])
