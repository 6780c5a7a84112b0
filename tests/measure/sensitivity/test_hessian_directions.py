"""Random directions at an output have the curvature of the metric, at the positions that count."""

from itertools import product

import numpy as np
import pytest

from lhc.measure.sensitivity.hessian_directions import output_directions


@pytest.mark.parametrize("probabilities", [False, True])
def test_directions_have_the_curvature_of_kl(probabilities: bool) -> None:
    """All sign vectors once, so that means over directions are expectations."""
    logits = np.array([[2.0, -1.0, 0.5, 0.0]])
    p = np.exp(logits) / np.exp(logits).sum()
    signs = np.array(list(product([-1.0, 1.0], repeat=8))).reshape(-1, 2, 1, 4)
    found = [output_directions("kl", p if probabilities else logits, s) for s in signs]
    moment = np.mean([np.einsum("dni,dnj->ij", v, v) / 2 for v in found], axis=0)
    if probabilities:
        # At p the curvature is 1/p; to compare, go on to the logits.
        jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
        moment = jacobian @ moment @ jacobian
    assert np.allclose(moment, np.diag(p[0]) - np.outer(p[0], p[0]), atol=1e-12)


def test_directions_have_the_curvature_of_nmse() -> None:
    output = np.array([[3.0, 4.0], [1.0, 0.0]])
    signs = np.array(list(product([-1.0, 1.0], repeat=2))).reshape(-1, 1, 1, 2).repeat(2, axis=2)
    found = [output_directions("nmse", output, s) for s in signs]
    moments = np.mean([np.einsum("dni,dnj->nij", v, v) for v in found], axis=0)
    assert np.allclose(moments, [2 / 25 * np.eye(2), 2 * np.eye(2)])


@pytest.mark.parametrize("metric", ["kl", "nmse"])
def test_directions_are_those_of_the_positions_that_count(metric: str) -> None:
    rng = np.random.default_rng(0)
    output, signs = rng.normal(size=(2, 5, 6)), rng.choice([-1.0, 1.0], (3, 2, 5, 6))
    counted = np.arange(5) < np.array([5, 3])[:, None]

    found = output_directions(metric, output, signs, counted)

    for row, most in enumerate((5, 3)):
        alone = output_directions(metric, output[row : row + 1, :most], signs[:, row : row + 1, :most])
        np.testing.assert_allclose(found[:, row : row + 1, :most], alone, rtol=1e-12)
        assert not found[:, row, most:].any()
