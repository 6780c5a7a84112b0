"""A share of all chips is shown by counting: exact chances of error, by simulation of any distribution."""

import numpy as np
import pytest
from scipy import stats

from lhc.stats import failures_allowed, least_draws, look_schedule


@pytest.mark.parametrize(("share", "error", "chips"), [(0.95, 0.05, 59), (0.99, 0.05, 299), (0.9, 0.05, 29)])
def test_without_a_failure_it_takes_as_many_chips_as_tables_say(share: float, error: float, chips: int) -> None:
    assert least_draws(share, error) == chips
    assert failures_allowed((chips,), share, error) == (0,)
    assert failures_allowed((chips - 1,), share, error) == (-1,)


@pytest.mark.parametrize("chips", [93, 124, 200])
def test_at_one_look_it_is_the_binomial_bound(chips: int) -> None:
    (allowed,) = failures_allowed((chips,), 0.95, 0.05)
    assert stats.binom.cdf(allowed, chips, 0.05) <= 0.05 < stats.binom.cdf(allowed + 1, chips, 0.05)


@pytest.mark.parametrize("most", [59, 100, 122, 300])
def test_looks_spend_no_more_than_the_whole_and_allow_no_fewer_later(most: int) -> None:
    looks = look_schedule(10, most)
    allowed = failures_allowed(looks, 0.95, 0.05)
    assert list(allowed) == sorted(allowed)
    assert allowed[-1] >= 0
    failing = np.random.default_rng(0).random((20_000, most)) < 0.05
    counts = failing.cumsum(axis=1)[:, np.array(looks) - 1]
    shown = (counts <= np.array(allowed)).any(axis=1).mean()
    assert shown <= 0.05 + 3 * (0.05 * 0.95 / 20_000) ** 0.5
    assert shown >= 0.02  # little is left lying
    # Chips of which nearly all hold it are shown to.
    counts = (np.random.default_rng(1).random((2_000, most)) < 0.002).cumsum(axis=1)[:, np.array(looks) - 1]
    assert (counts <= np.array(allowed)).any(axis=1).mean() >= 0.85
