"""Means over samples that come in documents, the samples of one document being alike.

What is drawn are documents, of unequal size. The mean over all samples is then a ratio: the sum over documents, divided
by their summed sizes (Cochran, Sampling Techniques, 1977, chapter 9A). Its variance is the jackknife's: what becomes of
the mean when a document is left out tells the document's *pseudo-value* (Tukey 1958; Miller, Biometrika 61, 1974), and
pseudo-values are then treated as independent observations. Linearised residuals, the usual alternative, come out too
small where few documents, or one long one, hold much of the samples; leaving a document out does not. Nor is a variance
that rests on few long documents known as well as their number says: its degrees of freedom are those of the *effective*
number of documents (Carter, Schnepel and Steigerwald, Review of Economics and Statistics 99, 2017).
"""

import numpy as np
import numpy.typing as npt

__all__ = ["by_document", "effective_documents", "members"]

Floats = npt.NDArray[np.float64]


def by_document(values: Floats, documents: npt.NDArray[np.integer]) -> Floats:
    """Pseudo-values of documents, which have the mean that the samples have.

    With ``m`` the mean of a draw over all N samples and ``m_d`` that without document d, of K documents: they are
    ``m + (K - 1) (m - m_d)``, shifted so that their mean is ``m``.

    Args:
        values: per draw and sample, shape ``(draws, samples)``.
        documents: number of every sample's document, shape ``(samples,)``.

    Returns:
        Shape ``(draws, K)``; the samples' own values where every document has one.
    """
    _, where, sizes = np.unique(documents, return_inverse=True, return_counts=True)
    means: Floats = values.mean(axis=1, keepdims=True)
    if len(sizes) == 1:
        return means
    sums = np.stack([np.bincount(where, row, len(sizes)) for row in values - means])
    changes: Floats = (len(sizes) - 1) * sums / (len(documents) - sizes)
    pseudo: Floats = means + changes - changes.mean(axis=1, keepdims=True)
    return pseudo


def effective_documents(documents: npt.NDArray[np.integer]) -> float:
    """How many documents of one size know as much: (Σ n)² / Σ n², with n samples in a document.

    >>> effective_documents(np.array([0, 0, 1, 1, 2, 2])), effective_documents(np.array([0, 0, 0, 0, 1]))
    (3.0, 1.4705882352941178)
    """
    _, sizes = np.unique(documents, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def members(documents: npt.NDArray[np.integer]) -> list[npt.NDArray[np.intp]]:
    """Places of the samples of every document, documents by their number."""
    order = np.argsort(documents, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(documents[order])) + 1)
