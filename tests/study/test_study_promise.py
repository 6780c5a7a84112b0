"""The whole of ranking, searching and verifying on a fake evaluator of known truth."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from lhc.errors import OutOfTimeError
from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.measure import Budget, Evaluator, PlacementJudge, SampleScores, evaluation, measure_sensitivity
from lhc.passes import STRATEGIES, Goal, Objective, PassResult, Qualify, SearchOptions, Strategy, initial_plan
from lhc.passes.trained_walks import already_walked
from lhc.plan import Plan, Sensitivity
from lhc.samples.metrics import METRICS, Metric
from lhc.study.search import search
from lhc.study.state import Verification
from lhc.study.verify import verified
from tests.passes.costly_networks import paired

RUNS = 2000
BUDGET = 0.01
MACHINE = Hardware.load("lionheart")


@dataclass(frozen=True, eq=False)
class FakeEvaluator:
    """Damages add up over layers; chips differ, samples differ, and every score has noise of its own.

    The drop of a placement on *these* samples over all chips is known: the sum of its layers' damages. Chips shift a
    placement's drop by a normal number of deviation ``chip_spread`` times that sum.
    """

    metric: Metric
    damages: dict[str, float]
    seed: int
    samples: int = 400
    draws: int = 10
    baseline: float = 0.9
    t_s: float = 0.0
    chip_spread: float = 0.5
    split: int = 0
    cache: dict[int, np.ndarray] = field(default_factory=dict)

    def _chip(self, draw: int) -> dict[str, float]:
        rng = np.random.default_rng((self.seed, draw))
        return {name: 1 + self.chip_spread * rng.normal() for name in self.damages}

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        rng = np.random.default_rng((self.seed, self.split, len(placement), draws.start))
        drops = [sum(self.damages[n] * self._chip(draw)[n] for n in placement) for draw in draws]
        noise = rng.normal(0, 0.05, (len(draws), self.samples))
        noise -= noise.mean(axis=1, keepdims=True)
        sign = -1 if self.metric.higher_is_better else 1
        scores = self.baseline + sign * (np.array(drops)[:, None] + noise)
        return SampleScores(self.metric, scores, np.full(self.samples, self.baseline))


def network(damages: dict[str, float]) -> tuple[LayerGraph, Plan]:
    layers, tensor = [], "x"
    for name in damages:
        weight = WeightRef(f"{name}.w", 1, (8, 8), "float32", name)
        layers.append(Layer(name, "MatMul", (tensor, f"{name}.w"), (f"{name}.y",), weight, MatrixShape(8, 8, 1, 1)))
        tensor = f"{name}.y"
    graph = LayerGraph(layers, ["x"], [tensor])
    return graph, Qualify().run(graph, initial_plan(graph, MACHINE, "s", "0")).plan


def place(
    graph: LayerGraph,
    plan: Plan,
    strategy: type[Strategy],
    judge: PlacementJudge,
    verify: Evaluator,
    again: bool = False,
    options: SearchOptions | None = None,
) -> Verification:
    wanted = SearchOptions(max_drop=judge.budget.max_drop) if options is None else options
    return verified(graph, plan, search(graph, plan, strategy, judge, wanted), verify, judge.budget, again)


def run(damages: dict[str, float], seed: int, metric: Metric, strategy: str) -> tuple[bool, frozenset[str]]:
    graph, plan = network(damages)
    select = FakeEvaluator(metric, damages, seed)
    verify = FakeEvaluator(metric, damages, seed, split=1)
    found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
    return found.verdict.accepted, found.plan.analog


@pytest.mark.parametrize("name", ["accuracy", "mse"], ids=["higher is better", "lower is better"])
def test_drop_at_the_budget_is_rarely_accepted_and_at_half_of_it_mostly(name: str) -> None:
    """One placement, judged as `all-analog` is: at most 6 % of 2,000 accept at the budget, at least 80 % at half."""
    at_budget = sum(run({"a": BUDGET}, seed, METRICS[name], "all-analog")[0] for seed in range(RUNS))
    at_half = sum(run({"a": BUDGET / 2}, seed, METRICS[name], "all-analog")[0] for seed in range(RUNS))
    assert at_budget / RUNS <= 0.06
    assert at_half / RUNS >= 0.80


@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_searching_does_not_make_wrong_acceptances_more_frequent(strategy: str) -> None:
    """Five layers, each alone exactly at the budget: no placement but all digital may be accepted."""
    damages = dict.fromkeys("abcde", BUDGET)
    runs = 500
    wrong = sum(
        bool(analog) and accepted
        for accepted, analog in (run(damages, s, METRICS["accuracy"], strategy) for s in range(runs))
    )
    # 6 % of 500, and three standard deviations of such a count.
    assert wrong <= 0.06 * runs + 3 * (0.06 * 0.94 * runs) ** 0.5


@dataclass(frozen=True, eq=False)
class Misleading(FakeEvaluator):
    """The search sees no damage. Whatever is analog has a drop of the budget, with chips of its own each time."""

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        key = sum(2 ** int(name[1:]) for name in placement)
        spread = np.random.default_rng((self.seed, self.split, key)).normal(1, self.chip_spread, len(draws))
        drops = BUDGET * spread if placement and self.split else np.zeros(len(draws))
        scores = self.baseline + np.repeat(drops[:, None], self.samples, axis=1)
        return SampleScores(self.metric, scores, np.full(self.samples, self.baseline), exact=not placement)


@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_all_steps_back_together_rarely_accept_a_wrong_placement(strategy: str) -> None:
    """Twelve layers, every placement but all digital exactly at the budget, and the search accepts them all.

    Chosen, three fallbacks, the one without what is in the way, and a ladder: as many chances to err, each with chips
    that are independent of the others'.
    """
    damages = {f"l{index}": 0.001 for index in range(12)}
    graph, plan = network(damages)
    metric = METRICS["mse"]  # a share would need some hundred samples
    runs, wrong, tests = 2000, 0, 0
    for seed in range(runs):
        select, verify = (Misleading(metric, damages, seed, samples=2, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
        wrong += bool(found.plan.analog)
        tests += len(found.failed)
        assert found.verdict.accepted, "all digital holds"
    assert tests / runs > 5, "all of them were tried"
    # 5 %, and three standard deviations of such a count.
    assert 0.02 < wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_without_what_is_in_the_way_the_rest_is_verified_and_kept() -> None:
    """Layers by damage per MAC are stepped back from in another order than layers by damage: the heavy one comes last.

    On the verification's samples it is the heavy one that breaks the budget, so none of three fallbacks holds.
    """
    damages = {"heavy": 0.004, **{f"l{index}": 0.0005 for index in range(6)}}
    graph, plan = network(damages)
    layers = tuple(
        layer.model_copy(update={"macs": 10**9 if layer.name == "heavy" else layer.macs}) for layer in plan.layers
    )
    ranks = {
        name: Sensitivity(metric="kl", mean=damage, std=0.0, interval=None, draws=2) for name, damage in damages.items()
    }
    plan = plan.model_copy(update={"layers": layers}).with_sensitivities(ranks)
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(damages, 0.0001), 3)
    verify = FakeEvaluator(metric, {**damages, "heavy": 0.03}, 3, split=1)
    found = place(graph, plan, STRATEGIES["sensitivity"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == damages.keys() - {"heavy"}
    assert found.notes[0] == "stepped back after verification: heavy digital"
    assert found.notes[1].startswith("verified before that: 7 analog layers, mean drop 2.")
    assert len(found.failed) == 4, "the chosen one, and three of the path"


@pytest.mark.parametrize(("objective", "kept"), [("macs", {"b", "c"}), ("energy", set())])
def test_what_is_left_without_what_is_in_the_way_must_still_pay(objective: Objective, kept: set[str]) -> None:
    """Products of 8 by 8 take less energy on the digital cores: with all three analog as with two of them."""
    damages = {"a": 0.03, "b": 0.0005, "c": 0.0005}
    graph, plan = network(damages)
    whole = plan.decide(dict.fromkeys(damages, ("analog", "budget", "")))
    bold = already_walked(PassResult(whole, fallbacks=(frozenset(),)), "lionheart")
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(damages, 0.0001), 3)
    verify = FakeEvaluator(metric, damages, 3, split=1)
    options = SearchOptions(Goal(objective))
    found = place(graph, plan, bold, PlacementJudge(select, Budget(BUDGET)), verify, options=options)
    assert found.verdict.accepted
    assert found.plan.analog == kept


@pytest.mark.parametrize("strategy", ["sensitivity", "milp", "exhaustive"])
def test_what_paid_beside_a_layer_is_given_up_with_it(strategy: str) -> None:
    """Either of two products alone takes more energy on tiles than it saves, by its conversions."""
    graph, plan = paired()
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.0001, "b": 0.0001}, 3)
    verify = FakeEvaluator(metric, {"a": 0.03, "b": 0.0001}, 3, split=1)
    options = SearchOptions(Goal("energy"))
    judge = PlacementJudge(select, Budget(BUDGET))
    found = place(graph, plan, STRATEGIES[strategy], judge, verify, options=options)
    assert found.verdict.accepted
    assert found.plan.analog == frozenset(), "not b alone, which would hold the budget"
    row = next(row for row in found.plan.layers if row.name == "b")
    assert row.reason == "cost"
    saying = "made digital after verification; beside what is left it costs more on tiles than it saves: analog"
    assert re.fullmatch(rf"{saying} [\d.]+ .J, digital [\d.]+ .J, [\d.]+ .J more for conversions", row.detail)


@pytest.mark.parametrize(("each", "kept"), [(0.0012, 6), (0.0033, 1), (0.012, 0)])
def test_the_path_is_climbed_from_its_safe_end(each: float, kept: int) -> None:
    """A path of 20 layers down to none: after 20, 19, 18 and 17 layers, rungs of 0, 1, 6, 11 and 16 are looked at."""
    names = [f"l{index}" for index in range(20)]
    graph, plan = network(dict.fromkeys(names, each))
    path = tuple(frozenset(names[:length]) for length in range(19, -1, -1))
    everything = plan.decide(dict.fromkeys(names, ("analog", "budget", "")))
    walked = already_walked(PassResult(everything, fallbacks=path), "lionheart")
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(names, 0.00001), 3, chip_spread=0.05)
    verify = FakeEvaluator(metric, dict.fromkeys(names, each), 3, split=1, chip_spread=0.05)
    found = place(graph, plan, walked, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == frozenset(names[:kept])
    assert found.notes[0].endswith(f"{20 - kept - 5} more digital")
    assert any("larger --max-drop" in note for note in found.notes) == (kept == 0)


def test_a_rule_is_not_stepped_back_from() -> None:
    """Who asks for all layers is told that they do not hold, and is given all layers."""
    damages = {f"l{index}": 0.003 for index in range(5)}
    graph, plan = network(damages)
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, STRATEGIES["all-analog"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert not found.verdict.accepted
    assert found.plan.analog == damages.keys()
    assert found.failed == ()


def test_what_a_search_had_accepted_when_time_was_over_is_verified_as_it_is() -> None:
    """Placements that were accepted before need not lie within each other."""
    damages = {"l0": 0.03, "l1": 0.0001, "l2": 0.0001}
    graph, plan = network(damages)
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, dict.fromkeys(damages, 0.0001), 3)
    verify = FakeEvaluator(metric, damages, 3, split=1)

    class Late(Strategy):
        name: ClassVar[str] = "late"

        def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
            self.judge.within(frozenset({"l0"}))
            self.judge.within(frozenset({"l1", "l2"}))
            raise OutOfTimeError("over")

    layers = tuple(layer.model_copy(update={"macs": 10**6 if layer.name == "l0" else 1}) for layer in plan.layers)
    plan = plan.model_copy(update={"layers": layers})
    found = place(graph, plan, Late, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"l1", "l2"}


def test_most_of_what_fits_goes_analog() -> None:
    damages = {"a": 0.05, "b": 0.0005, "c": 0.001, "d": 0.0005, "e": 0.001}
    placements = [run(damages, seed, METRICS["accuracy"], "lionheart") for seed in range(100)]
    assert all("a" not in analog for _, analog in placements)
    assert sum(analog == frozenset("bcde") and accepted for accepted, analog in placements) >= 80


@pytest.mark.parametrize("name", ["kl", "agreement"], ids=["lower is better", "higher is better"])
def test_planted_sensitive_layer_ranks_first(name: str) -> None:
    damages = {f"l{i}": 0.004 for i in range(9)} | {"planted": 0.012}
    graph, plan = network(damages)
    first = 0
    for seed in range(500):
        table = measure_sensitivity(FakeEvaluator(METRICS[name], damages, seed), graph, plan.eligible)
        first += table.ranking()[0] == "planted"
    assert first / 500 >= 0.99


def test_half_width_stops_a_layer_once_it_is_known() -> None:
    damages = {"steady": 0.01, "wild": 0.01}

    @dataclass(frozen=True, eq=False)
    class Mixed(FakeEvaluator):
        def _chip(self, draw: int) -> dict[str, float]:
            rng = np.random.default_rng((self.seed, draw))
            return {"steady": 1 + 0.05 * rng.normal(), "wild": 1 + 0.5 * rng.normal()}

    graph, plan = network(damages)
    table = measure_sensitivity(Mixed(METRICS["kl"], damages, 1, draws=60), graph, plan.eligible, half_width=0.2)
    steady, wild = table.layers["steady"], table.layers["wild"]
    assert steady.draws <= 5
    assert 10 < wild.draws <= 60
    assert wild.interval is not None
    if wild.draws < 60:
        assert wild.interval[1] - wild.interval[0] <= 2 * 0.2 * wild.mean


def test_failed_verification_steps_back_to_a_safer_placement() -> None:
    """On the samples of the search the last layer is harmless, on those of the verification it is not."""
    graph, plan = network({"a": 0.001, "b": 0.001})
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.001, "b": 0.0012}, 3)
    verify = FakeEvaluator(metric, {"a": 0.001, "b": 0.05}, 3, split=1)
    found = place(graph, plan, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"a"}
    assert found.notes[0] == "stepped back after verification: b digital"
    (failed,) = found.failed
    said = (
        f"mean drop {100 * failed.verdict.evaluation.drop:.2f} points, at most {100 * failed.verdict.bound:.2f} points"
    )
    assert found.notes[1:] == (f"verified before that: 2 analog layers, {said}; not shown to hold 1.00 points",)
    layers = tuple(layer.model_copy(update={"module": f"body.{layer.name}"}) for layer in plan.layers)
    titled = plan.model_copy(update={"layers": layers})
    again = place(graph, titled, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert again.notes[0] == "stepped back after verification: body.b (b) digital"


def test_what_would_help_where_nothing_is_analog_depends_on_the_mean_drops() -> None:
    graph, plan = network({"a": 0.02})
    metric = METRICS["accuracy"]
    for drop, helps in ((0.05, "the mean drop of each is over it, so only a larger --max-drop"), (0.0095, "--draws")):
        select, verify = (FakeEvaluator(metric, {"a": drop}, 3, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES["lionheart"], PlacementJudge(select, Budget(BUDGET)), verify)
        assert not found.plan.analog
        assert helps in found.notes[-1]


def test_a_walk_with_retraining_is_stepped_back_from_as_well() -> None:
    """All three layers were accepted on the way; on other samples only the first holds the budget."""
    damages = {"a": 0.001, "b": 0.05, "c": 0.05}
    graph, plan = network(damages)
    whole = plan.decide(dict.fromkeys("abc", ("analog", "budget", "accepted after retraining with it analog")))
    path = (frozenset("ab"), frozenset("a"), frozenset[str]())
    walked = already_walked(PassResult(whole, fallbacks=path), "lionheart")
    select, verify = (FakeEvaluator(METRICS["accuracy"], damages, 3, split=split) for split in (0, 1))
    found = place(graph, plan, walked, PlacementJudge(select, Budget(BUDGET)), verify)
    assert found.verdict.accepted
    assert found.plan.analog == {"a"}
    assert found.notes[0] == "stepped back after verification: b, c digital"
    details = {row.name: row.detail for row in found.plan.layers}
    assert details["a"] == "accepted after retraining with it analog"
    assert details["b"] == "made digital after verification"


def test_a_search_that_ends_with_nothing_analog_says_so() -> None:
    graph, plan = network({"a": 0.5, "b": 0.5})
    metric = METRICS["accuracy"]

    def notes(strategy: str) -> tuple[str, ...]:
        select, verify = (FakeEvaluator(metric, {"a": 0.5, "b": 0.5}, 3, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
        assert found.plan.analog == frozenset()
        return found.notes

    assert "larger --max-drop" in notes("lionheart")[-1]
    assert notes("all-digital") == ()


def test_least_drop_is_kept_when_nothing_holds() -> None:
    graph, plan = network({"a": 0.001, "b": 0.001})
    metric = METRICS["accuracy"]
    select = FakeEvaluator(metric, {"a": 0.001, "b": 0.001}, 3)
    verify = FakeEvaluator(metric, {"a": 0.05, "b": 0.05}, 3, split=1)
    found = place(graph, plan, STRATEGIES["all-analog"], PlacementJudge(select, Budget(BUDGET)), verify)
    assert not found.verdict.accepted
    assert found.plan.analog == {"a", "b"}


def test_a_plan_that_is_fed_back_is_judged_on_chips_of_its_own() -> None:
    graph, plan = network({"a": 0.001})
    seen: list[range] = []

    @dataclass(frozen=True, eq=False)
    class Watching(FakeEvaluator):
        def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
            seen.append(draws)
            return super().measure(placement, draws, what)

    evaluator = Watching(METRICS["accuracy"], {"a": 0.001}, 1)
    for again in (False, True):
        place(graph, plan, STRATEGIES["all-analog"], PlacementJudge(evaluator, Budget(BUDGET)), evaluator, again=again)
    assert seen == [range(10, 20), range(20, 30)]


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_the_interval_of_a_share_is_shown_within_its_range(metric: str) -> None:
    """Two chips, of which one is perfect: Student's interval is several times as wide as what a share can be."""
    evaluator = FakeEvaluator(METRICS[metric], {}, 0, samples=100, draws=2)
    scores = np.stack([np.ones(100), np.repeat([1.0, 0.0], 50)])
    found = evaluation(SampleScores(METRICS[metric], scores, np.full(100, 0.9)), evaluator, False)
    assert found.interval is not None
    assert found.drop_interval is not None
    low, high = found.interval
    if metric == "accuracy":
        assert (low, high) == (0.0, 1.0)
    else:
        assert low < 0 < 1 < high
    assert found.drop_interval[1] - found.drop_interval[0] > 3, "what decides is not cut"
