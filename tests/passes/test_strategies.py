"""Search strategies with a judge whose damages are known and add up."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhc.errors import UsageError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware, Tiles
from lhc.passes import (
    STRATEGIES,
    Curvature,
    Goal,
    PassResult,
    Qualify,
    SearchOptions,
    Select,
    Strategy,
    check_goal,
    initial_plan,
    run_passes,
    strategy_of,
    wanted_together,
)
from lhc.passes.strategies import AllAnalog, AllDigital, FirstLast, LionHeart, SensitivityOrder
from lhc.plan import Plan, Sensitivity
from lhc.results import Evaluation, Verdict


@dataclass(frozen=True)
class Product:
    """A layer of a fake network: its costs, the damage it does, and whose weights it holds."""

    name: str
    damage: float = 1.0
    macs: int = 1
    tiles: int = 1
    weights: str = ""


@dataclass
class FakeJudge:
    """Accepts while damages add up to no more than a budget; remembers what it was asked."""

    damages: Mapping[str, float]
    budget: float
    asked: list[frozenset[str]] = field(default_factory=list)

    def holds(self, placement: frozenset[str]) -> bool:
        return math.fsum(self.damages[name] for name in placement) <= self.budget

    def within(self, placement: frozenset[str]) -> Verdict:
        self.asked.append(placement)
        evaluation = Evaluation("kl", False, 0, (0,), 0, 0, None, 0, None, None, (0,), 1, 0, 0, 0.9)
        return Verdict("accepted" if self.holds(placement) else "rejected", evaluation)


TILE = 100


def network(products: Sequence[Product], tiles: int | None = None) -> tuple[LayerGraph, Plan]:
    """A chain of products, qualified, with their damages as sensitivities."""
    layers, tensor = [], "x"
    for p in products:
        # `tiles` tiles high, and as many positions as the MACs need.
        rows = p.tiles * TILE
        assert p.macs % rows == 0
        weight = WeightRef(f"{p.name}.w", 1, (rows, 1), "float32", p.weights or p.name)
        matrix = MatrixShape(rows, 1, 1, p.macs // rows)
        layers.append(Layer(p.name, "MatMul", (tensor, f"{p.name}.w"), (f"{p.name}.out",), weight, matrix))
        tensor = f"{p.name}.out"
    graph = LayerGraph(layers, ["x"], [tensor])
    hardware = Hardware(name="fake", tiles=Tiles(rows=TILE, cols=TILE, count=tiles))
    plan = Qualify().run(graph, initial_plan(graph, hardware, "source", "0")).plan
    figures = {p.name: Sensitivity(metric="kl", mean=p.damage, std=0, interval=None) for p in products}
    return graph, plan.with_sensitivities(figures)


def equal_layers(*damages: float, tiles: int = 1) -> list[Product]:
    return [Product(f"l{i}", damage, TILE * tiles, tiles) for i, damage in enumerate(damages)]


def judge_of(products: Sequence[Product], budget: float) -> FakeJudge:
    return FakeJudge({p.name: p.damage for p in products}, budget)


def flat(products: Sequence[Product], **options: object) -> SearchOptions:
    """Options with a curvature for every layer, so that every strategy can run: all alike."""
    curvatures = {p.name: Curvature(1.0, 0.5) for p in products}
    return SearchOptions(curvatures=curvatures, **options)  # type: ignore[arg-type]


def reasons(result: PassResult) -> dict[str, str]:
    return {layer.name: layer.reason for layer in result.plan.layers}


def check_fallbacks(result: PassResult, fixed: frozenset[str] = frozenset()) -> None:
    """Each one is a smaller part of the one before, down to what the user fixed."""
    path = [result.plan.analog, *result.fallbacks]
    assert all(after < before for before, after in itertools.pairwise(path))
    assert path[-1] == fixed


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


# ResNet20 for CIFAR (facts/lionheart.md 1.1): name, input channels x kernel, output channels, positions.
STAGES = ((1, 16, 16, 1024), (2, 16, 32, 256), (3, 32, 64, 64))
RESNET20_ORDER = (
    "layer1.0.conv1",
    "layer1.0.conv2",
    "layer1.1.conv1",
    "layer1.1.conv2",
    "layer1.2.conv1",
    "layer1.2.conv2",
    "layer2.0.conv2",
    "layer2.1.conv1",
    "layer2.1.conv2",
    "layer2.2.conv1",
    "layer2.2.conv2",
    "layer3.0.conv2",
    "layer3.1.conv1",
    "layer3.1.conv2",
    "layer3.2.conv1",
    "layer3.2.conv2",
    "layer2.0.conv1",
    "layer3.0.conv1",
    "conv1",
    "linear",
)


def resnet20() -> tuple[LayerGraph, Plan]:
    shapes = {"conv1": MatrixShape(27, 16, 1, 1024)}
    for stage, before, width, positions in STAGES:
        for block in range(3):
            for conv in (1, 2):
                channels = before if (block, conv) == (0, 1) else width
                shapes[f"layer{stage}.{block}.conv{conv}"] = MatrixShape(9 * channels, width, 1, positions)
    shapes["linear"] = MatrixShape(64, 10, 1, 1)
    layers, tensor = [], "x"
    for name, matrix in shapes.items():
        op = "Gemm" if name == "linear" else "Conv"
        weight = WeightRef(f"{name}.w", 1, (matrix.cols, matrix.rows), "float32", name)
        layers.append(Layer(name, op, (tensor, f"{name}.w"), (f"{name}.out",), weight, matrix))
        tensor = f"{name}.out"
    graph = LayerGraph(layers, ["x"], [tensor])
    return graph, Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "s", "0")).plan


def test_resnet20_costs_what_the_reference_says() -> None:
    graph, plan = resnet20()
    assert len(plan.eligible) == 20
    assert plan.macs == 40_551_040
    assert plan.tiles_of(graph, frozenset(plan.eligible)) == 36
    without_first = plan.decide({n: ("analog", "budget", "") for n in plan.eligible if n != "conv1"})
    assert without_first.analog_mac_fraction == pytest.approx(0.98909, abs=5e-6)


def test_lionheart_walks_resnet20_in_the_published_order() -> None:
    graph, plan = resnet20()
    # Each layer alone breaks the budget, so that each is asked about alone.
    judge = FakeJudge(dict.fromkeys(plan.eligible, 1.0), 0.5)
    result = LionHeart(judge).run(graph, plan)
    assert judge.asked == [frozenset({name}) for name in RESNET20_ORDER]
    assert result.plan.analog == frozenset()
    assert result.fallbacks == ()


def test_lionheart_keeps_what_fits_by_hand() -> None:
    graph, plan = resnet20()
    damages = dict.fromkeys(plan.eligible, 1.0) | {"layer1.0.conv2": 4.0, "conv1": 3.0, "linear": 0.5}
    judge = FakeJudge(damages, 5.5)
    result = LionHeart(judge).run(graph, plan)
    # 1, then 4 more make 5; after that no layer of 1 fits, nor conv1, but the last one does.
    kept = ["layer1.0.conv1", "layer1.0.conv2", "linear"]
    assert result.plan.analog == set(kept)
    assert len(judge.asked) == 20
    assert judge.asked[5] == frozenset({*kept[:2], RESNET20_ORDER[5]})
    assert result.fallbacks == (frozenset(kept[:2]), frozenset(kept[:1]), frozenset())
    check_fallbacks(result)
    assert {name for name, reason in reasons(result).items() if reason == "sensitivity"} == {*RESNET20_ORDER} - {*kept}


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
    result = run_passes([fixed, strategy_of(name)(judge, flat(products))], graph, plan)
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
    for name in ("sensitivity", "lionheart", "random", "first-last"):
        with pytest.raises(UsageError, match=f"'{name}' goes for MACs.*: milp, exhaustive"):
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
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "s", "0")).plan
    attention = frozenset(layer.name for layer in qkv)
    assert wanted_together(graph, plan, ["block"]) == (attention,)
    assert wanted_together(graph, plan, ["input"]) == (attention,)
    assert wanted_together(graph, plan, ["*key", "layers.0.[qv]*"]) == (attention - {"layers.0.key"},)
    assert wanted_together(graph, plan, ["layers.1.fc"]) == (), "one layer alone is no group"
    with pytest.raises(UsageError, match="--group 'nothing' matches no layer"):
        wanted_together(graph, plan, ["nothing"])
