"""How often searching and testing errs, and how far it gets, on a fake evaluator of known truth."""

from dataclasses import dataclass

import numpy as np
import pytest

from lhc.measure import Budget, PlacementJudge, SampleScores, measure_sensitivity
from lhc.passes import STRATEGIES
from lhc.plan import Sensitivity
from lhc.samples.metrics import METRICS
from tests.pipeline.known_drops import BUDGET, Chips, FakeEvaluator, network, place, run

RUNS = 2000


def accepted_share(truth: float, heavy: bool, runs: int, base: float = 0.0, spread: float = 0.3) -> float:
    """Of the runs that test one placement, the share that accepts it; drops in budgets."""
    graph, plan = network({"a": 0.0})
    damages = {"a": (truth - base) * BUDGET}

    def one(seed: int) -> bool:
        evaluator = Chips(
            METRICS["mse"], damages, seed, samples=2, chip_spread=spread, split=1, heavy=heavy, base=base * BUDGET
        )
        judge = PlacementJudge(evaluator, Budget(BUDGET))
        return place(graph, plan, STRATEGIES["all-analog"], judge, evaluator).verdict.accepted

    return sum(map(one, range(runs))) / runs


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("base", [0.0, 0.4], ids=["as given", "retrained"])
def test_drop_at_the_budget_is_rarely_accepted_and_below_it_mostly(heavy: bool, base: float) -> None:
    """10,000 samples leave a chip's drop a deviation of 0.3 budgets (ResNet20). At most 5 %, and three deviations."""
    runs = 500
    assert accepted_share(1.0, heavy, runs, base) <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert accepted_share(0.9, heavy, 200, base) >= 0.75
    assert accepted_share(0.5, heavy, 100, base) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("spread", [0.3, 0.6])
def test_drop_at_the_budget_is_rarely_accepted_in_many_runs(heavy: bool, spread: float) -> None:
    assert accepted_share(1.0, heavy, RUNS, spread=spread) <= 0.06
    assert accepted_share(0.5, heavy, RUNS, spread=spread) >= 0.95
    if spread == 0.3:
        assert accepted_share(0.9, heavy, RUNS) >= 0.6


def ambitions(runs: int, heavy: bool, base: float = 0.0) -> list[tuple[float, bool]]:
    """Twelve layers of which eight together are at the budget: what was kept and whether it holds, run by run."""
    names = "abcdefghijkl"
    damages = dict.fromkeys(names, BUDGET * (1 - base) / 8)
    graph, plan = network(damages)
    ranks = {n: Sensitivity(metric="kl", mean=d, std=0.0, interval=None, draws=2) for n, d in damages.items()}
    plan = plan.with_sensitivities(ranks)
    found = []
    for seed in range(runs):
        given = {"samples": 2, "chip_spread": 0.3, "heavy": heavy, "base": base * BUDGET}
        select, verify = (Chips(METRICS["mse"], damages, seed, split=split, **given) for split in (0, 1))  # type: ignore[arg-type]
        done = place(graph, plan, STRATEGIES["sensitivity"], PlacementJudge(select, Budget(BUDGET)), verify)
        found.append((len(done.plan.analog) / 8, len(done.plan.analog) >= 8))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
def test_a_sequence_rarely_ends_too_high_and_not_far_below(heavy: bool) -> None:
    """Seven of eight layers, at 0.875 of the budget, are the most that can be shown."""
    found = ambitions(200, heavy)
    assert np.mean([wrong for _, wrong in found]) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert np.mean([share for share, _ in found]) >= 0.8
    assert min(share for share, _ in found) > 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_searching_does_not_make_wrong_acceptances_more_frequent(strategy: str) -> None:
    """Five layers, each alone exactly at the budget: no placement but all digital may be accepted."""
    damages = dict.fromkeys("abcde", BUDGET)
    runs = 200
    wrong = sum(
        bool(analog) and accepted
        for accepted, analog in (run(damages, s, METRICS["accuracy"], strategy) for s in range(runs))
    )
    # 6 % of them, and three standard deviations of such a count.
    assert wrong <= 0.06 * runs + 3 * (0.06 * 0.94 * runs) ** 0.5


@dataclass(frozen=True, eq=False)
class Misleading(FakeEvaluator):
    """The search sees no damage. Whatever is analog has a drop of the budget, with chips of its own each time."""

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        key = sum(2 ** int(name[1:]) for name in placement)
        spread = np.random.default_rng((self.seed, self.split, key, draws.start)).normal(
            1, self.chip_spread, len(draws)
        )
        drops = BUDGET * spread if placement and self.split else np.zeros(len(draws))
        scores = self.baseline + np.repeat(drops[:, None], self.samples, axis=1)
        return SampleScores(self.metric, scores, np.full(self.samples, self.baseline), exact=not placement)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["sensitivity", "lionheart"])
def test_all_steps_back_together_rarely_accept_a_wrong_placement(strategy: str) -> None:
    """Twelve layers, every placement but all digital exactly at the budget, and the search accepts them all.

    A sequence from the middle, and one from the bottom where its first step fails, each on chips of its own.
    """
    damages = {f"l{index}": 0.001 for index in range(12)}
    graph, plan = network(damages)
    metric = METRICS["mse"]  # a share would need some hundred samples
    runs, wrong, tests = 400, 0, 0
    for seed in range(runs):
        select, verify = (Misleading(metric, damages, seed, samples=2, split=split) for split in (0, 1))
        found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
        wrong += bool(found.plan.analog)
        tests += len(found.failed)
        assert found.verdict.accepted, "all digital holds"
    assert tests / runs > 1, "a second sequence was tried"
    # 5 %, and three standard deviations of such a count.
    assert 0.01 < wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@dataclass(frozen=True, eq=False)
class Cliff(Chips):
    """Up to six layers lose little; more lose the budget, and the search does not see it."""

    def truth(self, placement: frozenset[str]) -> float:
        if not self.split:
            return super().truth(placement)
        return BUDGET * (1.0 if len(placement) > 6 else 0.2)


@pytest.mark.slow
def test_a_second_sequence_over_what_was_jumped_does_not_make_wrong_acceptances_more_frequent() -> None:
    """From six layers the sequence jumps to where nothing holds, and tries what lies between once more."""
    names = "abcdefghijkl"
    damages = dict.fromkeys(names, BUDGET / 12)
    graph, plan = network(damages)
    ranks = {n: Sensitivity(metric="kl", mean=d, std=0.0, interval=None, draws=2) for n, d in damages.items()}
    plan, runs, wrong, again = plan.with_sensitivities(ranks), 500, 0, 0
    for seed in range(runs):
        select, verify = (Cliff(METRICS["mse"], damages, seed, samples=2, chip_spread=0.3, split=s) for s in (0, 1))
        found = place(graph, plan, STRATEGIES["sensitivity"], PlacementJudge(select, Budget(BUDGET)), verify)
        wrong += len(found.plan.analog) > 6
        again += len(found.failed) > 1
    assert again > runs / 4, "second sequences were tried"
    assert 0.01 < wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_most_of_what_fits_goes_analog() -> None:
    damages = {"a": 0.05, "b": 0.0005, "c": 0.001, "d": 0.0005, "e": 0.001}
    placements = [run(damages, seed, METRICS["accuracy"], "lionheart") for seed in range(100)]
    assert all("a" not in analog for _, analog in placements)
    assert sum(analog == frozenset("bcde") and accepted for accepted, analog in placements) >= 80


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "agreement"], ids=["lower is better", "higher is better"])
def test_planted_sensitive_layer_ranks_first(name: str) -> None:
    damages = {f"l{i}": 0.004 for i in range(9)} | {"planted": 0.012}
    graph, plan = network(damages)
    first = 0
    for seed in range(200):
        table = measure_sensitivity(FakeEvaluator(METRICS[name], damages, seed), graph, plan.eligible)
        first += table.ranking()[0] == "planted"
    assert first / 200 >= 0.99


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
