"""Intervals over draws: against scipy, by simulation, and by their errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lhc.errors import UsageError
from lhc.stats import (
    CONFIDENCE,
    chance_of_difference,
    chips_needed,
    clipped,
    hull,
    one_sided,
    over_draws,
    over_draws_and_samples,
    samples_needed,
    summarize,
    two_sided,
)


def test_summary_of_numbers_done_by_hand() -> None:
    summary = summarize([1.0, 2.0, 3.0])
    half = 2.919985580353726 / math.sqrt(3)  # t(0.95; 2 degrees of freedom), from tables
    assert (summary.mean, summary.std, summary.draws) == (2.0, 1.0, 3)
    assert summary.interval == pytest.approx((2 - half, 2 + half), rel=1e-9)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda values: np.std(values) > 1e-6),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_interval_is_that_of_scipy(values: list[float], confidence: float) -> None:
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert summarize(values, confidence).interval == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_equal_draws_give_an_interval_without_width() -> None:
    summary = summarize([0.5, 0.5, 0.5, 0.5])
    assert summary.std == 0
    assert summary.interval == (0.5, 0.5)


def test_one_draw_has_no_interval() -> None:
    summary = summarize([0.25])
    assert (summary.mean, summary.std, summary.interval, summary.draws) == (0.25, 0.0, None, 1)


@pytest.mark.parametrize("draws", [2, 5, 10])
def test_interval_and_each_bound_cover_the_mean_as_often_as_stated(draws: int) -> None:
    trials, mean = 2000, 0.3
    values = np.random.default_rng(20250817).normal(mean, 0.02, (trials, draws))
    intervals = [summarize(row).interval for row in values]
    low, high = np.array([bounds for bounds in intervals if bounds is not None]).T
    # Four standard deviations of a binomial share; with this seed it can only fail if the code changes.
    for covered, level in (
        ((low <= mean) & (mean <= high), CONFIDENCE),
        (low <= mean, (1 + CONFIDENCE) / 2),
        (mean <= high, (1 + CONFIDENCE) / 2),
    ):
        assert abs(covered.mean() - level) < 4 * math.sqrt(level * (1 - level) / trials)


def test_no_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="--draws"):
        summarize([])


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 90.0, math.nan])
def test_levels_outside_of_zero_and_one_are_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        summarize([1.0, 2.0], confidence)


@pytest.mark.parametrize("draws", [5, 20])
def test_interval_over_draws_and_samples_covers_the_truth(draws: int) -> None:
    """Crossed random effects of known size: chips, samples, and the rest."""
    rng = np.random.default_rng(7)
    trials, samples, covered, narrow = 1000, 40, 0, 0
    for _ in range(trials):
        table = (
            0.5
            + rng.normal(0, 1.0, (draws, 1))
            + rng.normal(0, 2.0, (1, samples))
            + rng.normal(0, 1.5, (draws, samples))
        )
        interval = over_draws_and_samples(table)
        chips = over_draws(table.mean(axis=1))
        assert interval is not None
        assert chips is not None
        covered += interval[0] <= 0.5 <= interval[1]
        narrow += chips[0] <= 0.5 <= chips[1]
    # Satterthwaite's approximation errs on the safe side here; chips alone miss the sampling of data.
    assert 0.87 <= covered / trials <= 0.96
    assert narrow < covered


def test_interval_over_samples_is_never_narrower_in_variance_than_its_parts() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(0, 1, (4, 30))
    table -= table.mean(axis=0) - rng.normal(0, 1e-9, 30)  # no difference between samples at all
    chips = over_draws(table.mean(axis=1))
    both = over_draws_and_samples(table)
    assert chips is not None
    assert both is not None
    assert both[1] - both[0] >= 0.9 * (chips[1] - chips[0])


def test_unknown_spreads_have_no_interval() -> None:
    assert over_draws(np.array([1.0])) is None
    assert over_draws_and_samples(np.ones((1, 5))) is None
    assert over_draws_and_samples(np.ones((5, 1))) is None
    assert over_draws_and_samples(np.full((3, 4), 0.25)) == (0.25, 0.25)


def test_samples_needed_resolve_the_budget() -> None:
    samples = samples_needed(0.01, 0.03)
    assert samples == math.ceil(0.03 * (1.6448536269514722 / 0.01) ** 2)
    rng = np.random.default_rng(0)
    # Differences of 0 and ±1 with 3 % changed: the half-width that this many samples give is the budget.
    changes = rng.choice([-1, 0, 1], p=[0.015, 0.97, 0.015], size=(200, samples))
    half = 1.645 * changes.std(axis=1) / math.sqrt(samples)
    assert half.mean() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("draws", "room"), [(2, 0.5), (2, 0.05), (10, 0.2)])
def test_chips_needed_are_the_fewest_whose_interval_fits(draws: int, room: float) -> None:
    """Chips that differ as much as those that were seen, by the interval itself."""

    def half(count: int) -> float:
        values = np.arange(count, dtype=np.float64)
        low, high = over_draws(values / values.std(ddof=1), 0.9) or (0.0, 0.0)
        return (high - low) / 2

    found = chips_needed(draws, half(draws), room, 5000)
    assert found is not None
    assert half(found) <= room < half(found - 1)
    assert chips_needed(draws, half(draws), room, found - 1) is None


def test_no_spread_seen_is_not_no_spread() -> None:
    """Ten chips that agree on 5 samples can each be off by up to half a sample."""
    equal = np.full(10, 0.8)
    assert over_draws(equal) == (0.8, 0.8)
    interval = over_draws(equal, step=1 / 5)
    assert interval is not None
    assert interval[1] - interval[0] > 0.05
    assert over_draws(np.array([0.1, 0.5, 0.9]), step=1e-6) == over_draws(np.array([0.1, 0.5, 0.9]))


def test_hull_holds_both() -> None:
    assert hull((0.0, 1.0), (0.5, 2.0)) == (0.0, 2.0)
    assert hull(None, (0.0, 1.0)) is None


def test_what_cannot_be_is_not_shown() -> None:
    assert clipped((-0.2, 0.7), 0.0, 1.0) == (0.0, 0.7)
    assert clipped((0.9, 1.4), 0.0, 1.0) == (0.9, 1.0)
    assert clipped((0.2, 0.7), 0.0, 1.0) == (0.2, 0.7)
    assert clipped(None, 0.0, 1.0) is None


@pytest.mark.parametrize(
    ("right", "samples", "others_right", "others"),
    [(278, 497, 446, 450), (6, 8, 446, 450), (8, 8, 450, 450), (0, 5, 9, 9), (480, 500, 960, 1000)],
)
def test_the_chance_of_two_shares_is_that_of_scipy(right: int, samples: int, others_right: int, others: int) -> None:
    found = chance_of_difference(right / samples, samples, others_right / others, others)
    wanted = stats.fisher_exact(np.array([[right, samples - right], [others_right, others - others_right]])).pvalue
    assert found == pytest.approx(wanted, rel=1e-6)


def test_shares_that_a_forged_file_may_say_are_the_nearest_that_there_are() -> None:
    assert chance_of_difference(0.5, 12, -3.0, 40) == chance_of_difference(0.5, 12, 0.0, 40)
    assert chance_of_difference(0.5, 12, 1e300, 40) == chance_of_difference(0.5, 12, 1.0, 40)


def test_chances_of_error_have_no_rounding_of_binary_numbers() -> None:
    assert [one_sided(level) for level in (0.9, 0.95, 0.99)] == [0.05, 0.025, 0.005]
    assert [two_sided(error) for error in (0.05, 0.025, 0.0475)] == [0.9, 0.95, 0.905]
