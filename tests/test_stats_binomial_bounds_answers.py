"""Bounds where few samples change: against exact ones of scipy, by exact enumeration, and by simulation."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lhc.stats import CONFIDENCE, changed_answer_margins, one_sided, over_draws, over_draws_and_samples, two_sided
from tests.simulated_answers import Kind


def _changed(samples: int, lost: int, gained: int = 0) -> np.ndarray:
    changes = np.zeros(samples)
    changes[:lost] = 1
    changes[lost : lost + gained] = -1
    return changes


@pytest.mark.parametrize(("samples", "lost"), [(60, 0), (330, 1), (330, 2), (330, 9), (40, 39), (5000, 250)])
@pytest.mark.parametrize("error", [0.05, 0.005, 0.0004])
def test_margins_of_a_count_are_those_of_clopper_and_pearson(samples: int, lost: int, error: float) -> None:
    share = lost / samples
    low = stats.beta.ppf(error, lost, samples - lost + 1) if lost else 0.0
    high = stats.beta.ppf(1 - error, lost + 1, samples - lost)
    found = changed_answer_margins(_changed(samples, lost), error)
    # What was gained nowhere adds from below: a gain of so many is possible.
    nothing = 1 - error ** (1 / samples)
    assert found == pytest.approx((np.hypot(share - low, nothing), high - share), rel=1e-9)
    assert changed_answer_margins(-_changed(samples, lost), error) == pytest.approx(found[::-1])


@pytest.mark.parametrize("confidence", [0.5, CONFIDENCE, 0.99])
def test_what_no_sample_showed_is_possible_to_the_rule_of_three(confidence: float) -> None:
    """Nothing changed in 60 samples: at 95 % of one side a change of 3 / 60 is possible, of 5.3 / 60 at 99.5 %."""
    most = 1 - one_sided(confidence) ** (1 / 60)
    assert over_draws_and_samples(np.zeros((5, 60)), confidence, share=True) == pytest.approx((-most, most))
    assert 60 * (1 - one_sided(CONFIDENCE) ** (1 / 60)) == pytest.approx(3, abs=0.1)


def test_one_changed_answer_of_330_leaves_the_exact_bound() -> None:
    interval = over_draws_and_samples(np.tile(_changed(330, 1), (10, 1)), share=True)
    assert interval is not None
    assert interval[1] == pytest.approx(stats.beta.ppf(0.95, 2, 329))
    assert interval[1] == pytest.approx(0.0143, abs=5e-5)


@cache
def _ends(samples: int, confidence: float, share: bool) -> np.ndarray:
    """Both ends by how many samples were lost and gained, on chips that are all alike, ``(lost, gained, 2)``."""

    def ends(lost: int, gained: int) -> tuple[float, float] | None:
        return over_draws_and_samples(np.tile(_changed(samples, lost, gained), (2, 1)), confidence, share)

    return np.array([[ends(lost, gained) for gained in range(20)] for lost in range(45)])


def _misses(ends: np.ndarray, samples: int, drop: float, gain: float) -> tuple[float, float]:
    """Chances that the lower end lies above a drop, and the upper one below it."""
    lost, gained = (np.arange(size) for size in ends.shape[:2])
    chances = stats.binom.pmf(lost, samples, drop + gain)[:, None] * stats.binom.pmf(
        gained[None, :], samples - lost[:, None], gain / (1 - drop - gain)
    )
    assert chances.sum() == pytest.approx(1, abs=1e-4), "what is left out"
    return float(chances[ends[..., 0] > drop + 1e-12].sum()), float(chances[ends[..., 1] < drop - 1e-12].sum())


@pytest.mark.parametrize("error", [0.05, 0.01, 0.002])
@pytest.mark.parametrize(("samples", "most"), [(100, 0.03), (330, 0.03), (1000, 0.015)])
@pytest.mark.parametrize("gain", [0.0, 0.0005, 0.003, 0.005])
def test_no_end_misses_more_often_than_its_level_says(samples: int, most: float, gain: float, error: float) -> None:
    """Exactly, of all numbers that may be lost and gained, on chips that are alike."""
    ends = _ends(samples, two_sided(error), True)
    for drop in np.arange(0.001, most + 1e-9, 0.0005):
        low, high = _misses(ends, samples, float(drop), gain)
        assert low <= error
        assert high <= error, drop


@pytest.mark.parametrize(("drop", "without", "with_them"), [(0.0125, 0.0815, 0.0157), (0.02, 0.1028, 0.0386)])
def test_by_spread_and_three_alone_the_upper_end_is_too_low_too_often(
    drop: float, without: float, with_them: float
) -> None:
    samples, error = 330, one_sided(CONFIDENCE)
    spread = _ends(samples, CONFIDENCE, False)
    three = np.subtract.outer(np.arange(45), np.arange(20)) / samples + 3 / samples
    spread = np.stack([spread[..., 0], np.maximum(spread[..., 1], three)], axis=-1)
    assert _misses(spread, samples, drop, 0.0)[1] == pytest.approx(without, abs=5e-5)
    assert _misses(_ends(samples, CONFIDENCE, True), samples, drop, 0.0)[1] == pytest.approx(with_them, abs=5e-5)
    assert with_them < error < without


KINDS = [
    Kind("few samples", 330, 0.03),
    Kind("more samples", 1000, 0.01),
    Kind("gains", 330, 0.01, gain=0.01),
    Kind("unlike samples", 330, 0.03, alike=0.7),
    Kind("unlike chips", 1000, 0.02, apart=0.1),
    Kind("two chips", 1000, 0.02, draws=2),
    Kind("many chips", 330, 0.03, alike=0.8, draws=20),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_ends_hold_where_samples_change_on_some_chips_only(kind: Kind) -> None:
    rng = np.random.default_rng(12)
    trials, error = 500, one_sided(CONFIDENCE)
    misses = np.zeros(2)
    for _ in range(trials):
        interval = over_draws_and_samples(kind.damage(rng), share=True)
        assert interval is not None
        misses += interval[0] > kind.drop, interval[1] < kind.drop
    # Three standard deviations of the share that is allowed; with this seed it can only fail if the code changes.
    assert misses.max() / trials <= error + 3 * (error * (1 - error) / trials) ** 0.5


def test_where_many_samples_change_nothing_is_wider() -> None:
    """A tenth of 10,000 is lost, a tenth gained, on chips that differ as well."""
    damage = Kind("many", 10_000, 0.0, gain=0.1, apart=0.05).damage(np.random.default_rng(3))
    by_spread, bounded = (over_draws_and_samples(damage, share=share) for share in (False, True))
    assert by_spread is not None
    assert bounded is not None
    assert bounded[0] <= by_spread[0]
    assert bounded[1] >= by_spread[1]
    assert bounded[1] - bounded[0] <= 1.01 * (by_spread[1] - by_spread[0])


def test_chips_and_samples_both_count() -> None:
    """One answer of 500 is lost on all chips, and on two of ten twenty more: neither alone is the half-width."""
    damage = np.zeros((10, 500))
    damage[:, 0] = 1
    damage[:2, 1:21] = 1
    interval, chips = over_draws_and_samples(damage, share=True), over_draws(damage.mean(axis=1))
    samples = changed_answer_margins(damage.mean(axis=0), one_sided(CONFIDENCE))
    assert interval is not None
    assert chips is not None
    half = interval[1] - damage.mean()
    assert half > 1.1 * max(samples[1], chips[1] - damage.mean())


@given(
    st.lists(st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1)), min_size=2, max_size=60),
    st.floats(1e-4, 0.2),
)
def test_margins_are_those_of_what_may_be_unseen_at_least(changes: list[float], error: float) -> None:
    found = changed_answer_margins(np.array(changes), error)
    assert changed_answer_margins(-np.array(changes), error) == pytest.approx(found[::-1])
    unseen = 1 - error ** (1 / len(changes))
    lost = np.clip(changes, 0, 1).mean()
    gained = np.clip(np.negative(changes), 0, 1).mean()
    assert found[1] >= (1 - lost) * unseen - 1e-12
    assert found[0] >= (1 - gained) * unseen - 1e-12
    assert all(np.array(changed_answer_margins(np.array(changes), error / 2)) >= np.array(found) - 1e-9)
