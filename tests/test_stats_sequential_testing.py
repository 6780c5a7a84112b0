"""Repeated looks: the chance of error by simulation, levels against exact ones, and when a measurement is given up."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from lhc.stats import hopeless, look_errors, look_schedule

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize(
    ("least", "most", "looks"),
    [
        (10, 100, (10, 13, 17, 22, 29, 38, 49, 64, 83, 100)),
        (2, 9, (2, 3, 4, 5, 6, 8, 9)),
        (10, 10, (10,)),
        (10, 4, (4,)),
    ],
)
def test_looks_are_fixed_beforehand(least: int, most: int, looks: tuple[int, ...]) -> None:
    assert look_schedule(least, most) == looks


def test_one_look_has_the_whole_chance() -> None:
    assert look_errors((10,), 0.05) == (0.05,)


def test_two_looks_are_those_of_the_normal_distribution_in_the_plane() -> None:
    """Half of the chance at half of the draws; then what is left, with a correlation of the square root of a half."""
    first, second = look_errors((10, 20), 0.05)
    bounds = stats.norm.isf([first, second])
    assert first == pytest.approx(0.025, rel=0.01)
    both = stats.multivariate_normal([0, 0], [[1, 0.5**0.5], [0.5**0.5, 1]]).cdf(bounds)
    assert 1 - both == pytest.approx(0.05, rel=0.01)


def _accepted(runs: Floats, looks: tuple[int, ...], errors: tuple[float, ...]) -> Floats:
    """Share of the runs whose upper bound is at most 0 at any look."""
    accepted = np.zeros(len(runs), bool)
    for look, error in zip(looks, errors, strict=True):
        part = runs[:, :look]
        accepted |= part.mean(1) + stats.t.isf(error, look - 1) * part.std(1, ddof=1) / look**0.5 <= 0
    return np.asarray(accepted.mean())


@pytest.mark.parametrize(("least", "most"), [(2, 100), (10, 100), (10, 20)])
@pytest.mark.parametrize("freedom", [None, 3.0], ids=["normal", "heavy tails"])
def test_ten_looks_err_as_often_as_one(least: int, most: int, freedom: float | None) -> None:
    """The true mean on the limit; plain levels err several times as often."""
    rng = np.random.default_rng(3)
    shape = (20000, most)
    runs = rng.normal(size=shape) if freedom is None else rng.standard_t(freedom, shape)
    looks = look_schedule(least, most)
    assert _accepted(runs, looks, (0.05,) * len(looks)) > 0.09
    assert 0.035 < _accepted(runs, looks, look_errors(looks, 0.05)) <= 0.055


def test_what_cannot_be_accepted_any_more_is_ended() -> None:
    looks = look_schedule(10, 100)
    last = look_errors(looks, 0.05)[-1]

    def given_up(mean: float, done: int = 10, deviation: float = 0.3) -> bool:
        return hopeless(mean, deviation, 1.0, looks, done, last)

    assert not given_up(0.9)
    assert not given_up(1.0), "ten chips leave much open"
    assert given_up(1.2)
    assert given_up(1.0, done=64)
    assert not given_up(5.0, done=100), "nothing is left to be ended"
    assert given_up(1.1, deviation=0.0)
    assert not given_up(0.9, deviation=0.0)


@pytest.mark.parametrize(("truth", "chance", "draws"), [(0.85, 0.95, 40), (1.2, 0.0, 14)])
def test_giving_up_early_costs_little_and_saves_much(truth: float, chance: float, draws: float) -> None:
    rng = np.random.default_rng(4)
    looks = look_schedule(10, 100)
    errors = look_errors(looks, 0.05)
    accepted, used = 0, []
    for run in rng.normal(truth, 0.3, (500, 100)):
        for look, error in zip(looks, errors, strict=True):
            mean, deviation = run[:look].mean(), run[:look].std(ddof=1)
            holds = mean + stats.t.isf(error, look - 1) * deviation / look**0.5 <= 1
            if holds or hopeless(mean, deviation, 1.0, looks, look, errors[-1]):
                break
        accepted += holds
        used.append(look)
    assert accepted / 500 >= chance
    assert np.mean(used) <= draws
