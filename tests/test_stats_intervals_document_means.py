"""Means over samples that come in documents: by the definition, and by simulation."""

import numpy as np
import pytest

from lhc.stats import by_document, effective_documents, members, over_draws_and_samples


def _documents(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    """Numbers of documents of these sizes, in any order."""
    return rng.permutation(np.repeat(np.arange(len(sizes)) * 10, sizes))


def test_variance_of_pseudo_values_is_that_of_leaving_documents_out() -> None:
    rng = np.random.default_rng(3)
    documents = _documents(rng, np.array([1, 2, 7, 4]))
    values = rng.normal(size=(3, len(documents)))

    pseudo = by_document(values, documents)

    assert pseudo.shape == (3, 4)
    np.testing.assert_allclose(pseudo.mean(axis=1), values.mean(axis=1))
    without = np.stack([values[:, documents != one].mean(axis=1) for one in np.unique(documents)], axis=1)
    squares = ((without - without.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    np.testing.assert_allclose(pseudo.var(axis=1, ddof=1) / 4, 3 / 4 * squares)


def test_documents_of_one_sample_are_samples() -> None:
    values = np.random.default_rng(1).normal(size=(2, 6))
    np.testing.assert_allclose(by_document(values, np.arange(6)), values)
    assert effective_documents(np.arange(6)) == 6
    assert over_draws_and_samples(values, 0.9, True, np.arange(6)) == pytest.approx(
        over_draws_and_samples(values, 0.9, True)
    )


def test_one_document_has_no_interval() -> None:
    values = np.random.default_rng(1).normal(size=(4, 6))
    assert over_draws_and_samples(values, documents=np.full(6, 9)) is None


def test_members_are_the_places_of_every_document() -> None:
    assert [places.tolist() for places in members(np.array([7, 2, 7, 2, 5]))] == [[1, 3], [4], [0, 2]]


@pytest.mark.parametrize("kind", ["equal", "unequal", "one long"])
def test_interval_over_documents_covers_the_truth_and_that_over_windows_does_not(kind: str) -> None:
    """Windows of a document share a part twice as large as what is their own."""
    rng = np.random.default_rng(18)
    trials, draws, count = 4000, 5, 20
    covered = np.zeros(2)
    for _ in range(trials):
        sizes = {
            "equal": np.full(count, 6),
            "unequal": rng.geometric(1 / 6, count),
            "one long": np.array([3 * count, *[3] * (count - 1)]),
        }[kind]
        documents = np.repeat(np.arange(count), sizes)
        windows = len(documents)
        table = (
            0.3
            + rng.normal(0, 0.3, (draws, 1))
            + rng.normal(0, 2, count)[documents]
            + rng.normal(0, 1, windows)
            + rng.normal(0, 0.5, (draws, count))[:, documents]
            + rng.normal(0, 0.5, (draws, windows))
        )
        for number, kept in enumerate((None, documents)):
            interval = over_draws_and_samples(table, documents=kept)
            assert interval is not None
            covered[number] += interval[0] <= 0.3 <= interval[1]
    by_windows, by_documents = covered / trials
    assert by_windows < 0.7
    # To 1 % where documents are of one size, 2 % where they are not; on the safe side where one is long.
    low, high = {"equal": (0.89, 0.91), "unequal": (0.88, 0.92), "one long": (0.9, 0.97)}[kind]
    assert low < by_documents < high
