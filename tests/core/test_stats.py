"""Intervals over draws: against scipy, by simulation, and by their errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lhc.errors import UsageError
from lhc.stats import CONFIDENCE, summarize


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
