"""The rule of acceptance, on evaluations made by hand."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from lhc.errors import OutOfTimeError
from lhc.measure import Budget, PlacementJudge, SampleScores
from lhc.measure.budget_test import SEARCH_DRAWS, Drop, parse_drop, sequential_test
from lhc.measure.measurement import Wanted
from lhc.results import Evaluation, Verdict
from lhc.samples.metrics import METRICS
from lhc.stats import look_errors, look_schedule, over_draws, summarize, two_sided


def _evaluation(drops: list[float]) -> Evaluation:
    drop = summarize(drops)
    values = [0.9 - d for d in drops]
    value = summarize(values)
    return Evaluation(
        metric="accuracy",
        percent=True,
        baseline=0.9,
        values=tuple(values),
        mean=value.mean,
        std=value.std,
        interval=value.interval,
        drop=drop.mean,
        drop_interval=drop.interval,
        sample_interval=None,
        drops=tuple(drops),
        samples=100,
        seed=0,
        t_s=0.0,
        confidence=0.9,
    )


@dataclass(frozen=True)
class Case:
    id: str
    drops: list[float]
    status: Literal["accepted", "rejected", "undecided"]


CASES = [
    Case("clearly below", [0.001, 0.002, 0.003], "accepted"),
    Case("clearly above", [0.05, 0.06, 0.055], "rejected"),
    Case("lucky mean", [0.0, 0.018, 0.009], "undecided"),
    Case("on the budget without spread", [0.01, 0.01, 0.01], "accepted"),
    Case("better than digital", [-0.01, -0.02], "undecided"),
    Case("one chip says nothing", [0.0], "undecided"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bound_decides(case: Case) -> None:
    assert Budget(0.01).status(_evaluation(case.drops)) == case.status


@pytest.mark.parametrize(
    ("drop", "expected"),
    [(0.01, 0.01), (0, 0.0), ("0.01", 0.01), ("1%", 0.01), (" 2.5 % ", 0.025), ("100%", 1.0), (3.5, 3.5)],
)
def test_a_budget_is_a_number_or_a_percentage(drop: Drop, expected: float) -> None:
    assert parse_drop(drop)[0] == pytest.approx(expected, abs=0)


def test_a_budget_in_the_unit_of_its_metric_is_taken() -> None:
    Budget(0.99).check_unit("accuracy", percent=True)
    Budget(1.0, percentage=True).check_unit("accuracy", percent=True)
    Budget(3.5).check_unit("perplexity", percent=False)
    Budget(1.5, "relative", percentage=True).check_unit("mse", percent=False)


def test_a_large_budget_that_is_no_percentage_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for taken in (Budget(0.19), Budget(0.5, percentage=True)):
        taken.check_unit("accuracy", percent=True)
    Budget(0.5).check_unit("kl", percent=False)
    assert not caplog.messages
    Budget(0.5).check_unit("accuracy", percent=True)
    assert caplog.messages == ["--max-drop 0.5 allows 50 points; for 0.5 points give 0.5%"]


def test_wrong_acceptance_at_the_budget_is_rare() -> None:
    """True drop on the budget, normal spread over chips: at most 5 % accepted; 2,000 runs give 6.0 % at 98 %."""
    rng = np.random.default_rng(0)
    runs = rng.normal(0.01, 0.004, size=(2000, 10))
    accepted = sum(Budget(0.01).status(_evaluation(list(run))) == "accepted" for run in runs)
    assert accepted / 2000 <= 0.06


@dataclass
class Chips:
    """An evaluator whose chips drop by given numbers, on two samples that differ by ``apart``."""

    drops: np.ndarray
    draws: int = 10
    apart: float = 0.0
    time: int = 1000
    metric = METRICS["mse"]
    samples = 2
    baseline = 0.5
    seed = 0
    t_s = 0.0
    asked: list[range] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Nobody is idle."""

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        if draws.stop > self.time:
            raise OutOfTimeError("over")
        self.asked.append(draws)
        self.told.append(what)
        damage = self.drops[draws.start : draws.stop, None] + np.array([-self.apart, self.apart])
        return SampleScores(self.metric, self.baseline + damage, np.full(2, self.baseline))


def _looked(evaluator: Chips, budget: Budget, begin: Chips | None = None) -> Verdict:
    return sequential_test(evaluator, frozenset("a"), budget, range(100), 0.05, "testing", begin)


def test_a_test_takes_chips_while_they_can_still_decide_it() -> None:
    rng = np.random.default_rng(0)
    for mean, status, draws in ((0.4, "accepted", 10), (0.85, "accepted", 29), (2.0, "rejected", 10)):
        evaluator = Chips(rng.normal(mean, 0.3, 100))
        found = _looked(evaluator, Budget(1.0))
        assert (found.status, found.evaluation.draws) == (status, draws)
        assert [chips.start for chips in evaluator.asked[1:]] == [chips.stop for chips in evaluator.asked[:-1]]


def test_every_look_says_of_which_chips_its_units_are() -> None:
    """Each counts its own from 0: without a name the count would seem to fall back."""
    evaluator = Chips(np.random.default_rng(0).normal(0.85, 0.3, 100))
    _looked(evaluator, Budget(1.0))
    assert len(evaluator.told) > 2
    chips = [(range_.start + 1, range_.stop) for range_ in evaluator.asked]
    assert evaluator.told == [f"testing, units of chips {first} to {last}" for first, last in chips]


def test_a_share_of_the_chips_is_shown_by_those_that_break_the_budget() -> None:
    """With 100 chips 83 without a failure show 95 %, or all of them with one."""
    budget, good = Budget(1.0, share=0.95), np.full(100, 0.4)
    for failing, status, draws in (((), "accepted", 83), ((20,), "accepted", 100), ((20, 50), "undecided", 64)):
        drops = good.copy()
        drops[list(failing)] = 1.1
        found = _looked(Chips(drops), budget)
        assert (found.status, found.evaluation.draws) == (status, draws)
        assert found.yield_shown == found.accepted
        alone = _looked(Chips(drops), Budget(1.0))
        assert (alone.accepted, alone.yield_shown) == (True, None)
    # What the mean does not show is not accepted either, whatever the chips do one by one.
    mean = _looked(Chips(np.full(100, 1.1)), budget)
    assert (mean.status, mean.evaluation.draws) == ("rejected", 10)


def test_chips_of_any_distribution_are_rarely_taken_for_good() -> None:
    """95 of 100 chips hold the budget, but for a hair; their mean does easily. Exponential, as chips that fail are."""
    rng = np.random.default_rng(0)
    drops = rng.exponential(size=(400, 100)) / -np.log(0.0501)
    shown = np.mean([_looked(Chips(one), Budget(1.0, share=0.95)).accepted for one in drops])
    assert shown <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    few = rng.exponential(size=(100, 100)) / -np.log(0.002)
    assert np.mean([_looked(Chips(one), Budget(1.0, share=0.95)).accepted for one in few]) >= 0.9


def test_the_interval_of_a_test_is_that_of_its_last_look() -> None:
    drops = np.random.default_rng(0).normal(0.4, 0.3, 100)
    found = _looked(Chips(drops), Budget(1.0)).evaluation
    level = two_sided(look_errors(look_schedule(10, 100), 0.05)[0])
    assert found.confidence == level
    assert found.drop_interval == pytest.approx(over_draws(drops[:10], level))


def test_a_test_is_given_up_where_only_more_samples_could_decide_it() -> None:
    drops = np.random.default_rng(0).normal(0.5, 0.1, 100)
    assert _looked(Chips(drops, apart=2.0), Budget(1.0)).accepted
    found = _looked(Chips(drops, apart=2.0), Budget(1.0, generalize=True))
    assert (found.status, found.evaluation.draws) == ("undecided", 10)


def test_a_test_goes_on_where_samples_leave_room_at_the_level_of_the_last_look() -> None:
    """At the first look's level samples alone would take more than the budget."""
    drops = np.random.default_rng(0).normal(0.5, 0.1, 100)
    found = _looked(Chips(drops, apart=0.04), Budget(1.0, generalize=True))
    assert (found.status, found.evaluation.draws) == ("accepted", 83)


def test_a_test_ends_with_the_time_but_begins_in_any_case() -> None:
    drops = np.random.default_rng(0).normal(0.95, 0.3, 100)
    found = _looked(Chips(drops, time=20), Budget(1.0))
    assert (found.status, found.evaluation.draws) == ("undecided", 17)
    found = _looked(Chips(drops, time=0), Budget(1.0), Chips(drops))
    assert found.evaluation.draws == 10
    with pytest.raises(OutOfTimeError):
        _looked(Chips(drops, time=0), Budget(1.0))


def test_a_search_is_told_the_mean_of_a_few_chips() -> None:
    evaluator = Chips(np.array([0.0, 1.5, 0.5, 1.6, 9.0]))
    verdict = PlacementJudge(evaluator, Budget(1.0)).within(frozenset("a"))
    assert verdict.accepted
    assert verdict.bound == pytest.approx(0.9)
    assert evaluator.asked == [range(SEARCH_DRAWS)]
    assert not PlacementJudge(evaluator, Budget(0.8)).within(frozenset("a")).accepted
