"""Rank correlation against scipy's."""

import numpy as np
import pytest
import scipy

from lhc.stats import rank_correlation


@pytest.mark.parametrize("levels", [3, 1000], ids=["many equal numbers", "hardly any"])
def test_it_is_that_of_scipy(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for count in (3, 5, 40):
        first, second = rng.integers(levels, size=(2, count)) / 7
        first[:2] = 0.0, 1.0  # not constant
        second[:2] = 0.0, 1.0
        assert rank_correlation(first, second) == scipy.stats.spearmanr(first, second).statistic
