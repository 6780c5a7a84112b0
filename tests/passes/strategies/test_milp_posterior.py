"""What a search believes, against Bayesian linear regression written out and against draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.passes.search.solver import Floats
from lhc.passes.strategies import milp_posterior as milp_belief
from lhc.passes.strategies.milp_posterior import Belief, believe


@st.composite
def judgements(draw: st.DrawFn) -> tuple[Floats, list[Floats], list[float], float, float]:
    """Sensitivities, judged placements, their bounds, the limit, and what one sample is of a drop."""
    groups = draw(st.integers(1, 5))
    sensitivities = np.array(draw(st.lists(st.floats(0.01, 2), min_size=groups, max_size=groups)))
    masks = st.lists(st.sampled_from([0.0, 1.0]), min_size=groups, max_size=groups)
    others = draw(st.lists(masks, max_size=4))
    placements = [np.ones(groups), *(np.array(mask) for mask in others)]
    bounds = draw(st.lists(st.floats(-0.1, 3), min_size=len(placements), max_size=len(placements)))
    return sensitivities, placements, bounds, draw(st.floats(0.05, 1)), draw(st.sampled_from([0.0, 0.005]))


def prior(sensitivities: Floats, bound: float, scale: float, grain: float) -> tuple[Floats, Floats]:
    """Mean and covariance before a judgement: a common factor, known to 100 %, and each group's own 50 %."""
    mean = sensitivities * max(bound, scale) / sensitivities.sum()
    own = 0.5 * mean + 0.01 * scale + 0.1 * grain
    return mean, np.diag(own**2) + np.outer(mean, mean)


@given(judgements())
def test_a_belief_is_that_of_bayesian_linear_regression(
    case: tuple[Floats, list[Floats], list[float], float, float],
) -> None:
    sensitivities, placements, bounds, limit, grain = case
    found = believe(sensitivities, placements, bounds, limit, grain)
    scale = max(limit, 1e-3 * max(abs(b) for b in bounds))
    mean, covariance = prior(sensitivities, bounds[0], scale, grain)
    # In the form of precisions, which shares no step with the one that is used.
    rows, drops = np.array(placements), np.array(bounds)
    weights = np.diag(1 / (0.15 * np.abs(drops) + 0.1 * scale) ** 2)
    before = np.linalg.inv(covariance)
    after = np.linalg.inv(before + rows.T @ weights @ rows)
    np.testing.assert_allclose(found.covariance, after, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.mean, after @ (before @ mean + rows.T @ weights @ drops), rtol=1e-5, atol=1e-8)


def test_a_belief_is_that_of_draws_which_agree_with_what_was_judged() -> None:
    sensitivities, limit = np.array([1.0, 2.0, 0.5]), 0.5
    placements, bounds = [np.ones(3), np.array([1.0, 0.0, 1.0])], [1.4, 0.3]
    found = believe(sensitivities, placements, bounds, limit)
    random = np.random.default_rng(5)
    mean, covariance = prior(sensitivities, bounds[0], limit, 0.0)
    drops = random.multivariate_normal(mean, covariance, 400_000)
    likelihood = np.ones(len(drops))
    for placement, bound in zip(placements, bounds, strict=True):
        likelihood *= np.exp(-0.5 * ((drops @ placement - bound) / (0.15 * bound + 0.1 * limit)) ** 2)
    likelihood /= likelihood.sum()
    expected = likelihood @ drops
    assert found.mean == pytest.approx(expected, abs=0.005)
    spread = (drops - expected).T @ (likelihood[:, None] * (drops - expected))
    assert found.covariance == pytest.approx(spread, abs=0.002)


def drawn(seed: int, groups: int) -> Belief:
    random = np.random.default_rng(seed)
    root = random.normal(size=(groups, groups)) / 5
    return Belief(random.uniform(0, 0.4, groups), root @ root.T, 0.6, 0.6)


def test_a_chance_is_the_share_of_draws_that_hold() -> None:
    belief, chosen = drawn(3, 4), np.array([1.0, 0.0, 1.0, 1.0])
    random = np.random.default_rng(7)
    expected = belief.mean @ chosen
    sums = random.multivariate_normal(belief.mean, belief.covariance, 200_000) @ chosen
    found = sums + (0.15 * abs(expected) + 0.1 * belief.scale) * random.standard_normal(len(sums))
    chance = belief.chance(np.asarray(expected), chosen @ belief.covariance @ chosen)
    assert float(chance) == pytest.approx(float((found <= belief.limit).mean()), abs=0.005)


@given(st.integers(0, 1000), st.integers(1, 6), st.data())
@settings(max_examples=40)
def test_chances_of_moves_are_those_of_the_placements_that_they_lead_to(
    seed: int, groups: int, data: st.DataObject
) -> None:
    belief = drawn(seed, groups)
    chosen = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=groups, max_size=groups)))
    found = belief.flipped(chosen)
    for i in range(groups):
        for j in range(groups):
            there = chosen.copy()
            there[list({i, j})] = 1 - there[list({i, j})]
            alone = belief.chance(belief.mean @ there, there @ belief.covariance @ there)
            assert found[i, j] == pytest.approx(float(alone), abs=1e-9)


def test_what_was_judged_draws_the_estimate_towards_it() -> None:
    few = believe(np.array([1.0, 1.0]), [np.ones(2)], [2.0], 1.0)
    more = believe(np.array([1.0, 1.0]), [np.ones(2), np.array([1.0, 0.0])], [2.0, 0.2], 1.0)
    assert more.mean[0] < few.mean[0]
    assert more.mean[1] > few.mean[1]  # the sum of both is known
    assert (more.covariance.diagonal() < few.covariance.diagonal()).all()


@pytest.mark.parametrize("bounds", [[0.0], [-0.5], [1e-12]], ids=["nothing", "gain", "next to nothing"])
def test_a_limit_of_0_and_drops_of_0_are_believed(bounds: list[float]) -> None:
    found = believe(np.zeros(3), [np.ones(3)], bounds, 0.0)
    assert np.isfinite(found.mean).all()
    chances = found.flipped(np.ones(3))
    assert ((chances >= 0) & (chances <= 1)).all()


def test_sums_of_two() -> None:
    assert milp_belief.pairs(np.array([1.0, 2.0])).tolist() == [[1, 3], [3, 2]]
