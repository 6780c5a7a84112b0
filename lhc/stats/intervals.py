"""Intervals of a mean over chips, and over chips and samples. docs/statistics.md explains the choice.

Two things are random: the chip (a *draw*, one programming of all tiles) and the samples. Two intervals of the mean
drop follow:

- **over chips, on these samples** (`over_draws`): Student's t over the draws' own means,
  mean ± t(R-1) · s / sqrt(R). What other chips will do on this data.
- **over chips and samples** (`over_draws_and_samples`): also what other samples of the same kind would show. Drops form
  a crossed table of R draws by N samples; in the two-way random model the mean has the variance
  (MS_draws + MS_samples - MS_rest) / (R·N), with Satterthwaite's degrees of freedom (Searle, Casella, McCulloch,
  Variance Components, 1992, chapter 4). Of shares few samples change, and the part of the samples is at least what an
  exact bound of their count leaves (`lhc.stats.binomial_bounds`).

A level that is spent over several tests is divided between them (`split_level`, Bonferroni), so that the chance of any
wrong acceptance stays below the whole; several looks at one measurement have `lhc.stats.sequential_testing`.

Samples of one document are alike (`by_document`). What is drawn are documents, of unequal size. The mean over all
samples is then a ratio: the sum over documents, divided by their summed sizes (Cochran, Sampling Techniques, 1977,
chapter 9A). Its variance is the jackknife's: what becomes of the mean when a document is left out tells the document's
*pseudo-value* (Tukey 1958; Miller, Biometrika 61, 1974), and pseudo-values are then treated as independent
observations. Linearised residuals, the usual alternative, come out too small where few documents, or one long one, hold
much of the samples; leaving a document out does not. Nor is a variance that rests on few long documents known as well
as their number says: its degrees of freedom are those of the *effective* number of documents (Carter, Schnepel and
Steigerwald, Review of Economics and Statistics 99, 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from lhc.errors import UsageError
from lhc.stats.binomial_bounds import changed_answer_margins
from lhc.support.number_formatting import check_confidence

__all__ = [
    "CONFIDENCE",
    "Summary",
    "by_document",
    "chance_of_difference",
    "chips_needed",
    "clipped",
    "effective_documents",
    "hull",
    "members",
    "one_sided",
    "over_draws",
    "over_draws_and_samples",
    "samples_needed",
    "split_level",
    "summarize",
    "two_sided",
]


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
    """Effective number of documents: those of one size that know as much, (Σ n)² / Σ n² with n samples each.

    >>> effective_documents(np.array([0, 0, 1, 1, 2, 2])), effective_documents(np.array([0, 0, 0, 0, 1]))
    (3.0, 1.4705882352941178)
    """
    _, sizes = np.unique(documents, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def members(documents: npt.NDArray[np.integer]) -> list[npt.NDArray[np.intp]]:
    """Places of the samples of every document, documents by their number."""
    order = np.argsort(documents, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(documents[order])) + 1)


CONFIDENCE = 0.90
"""Two-sided; each bound one-sided at 95 %."""
DIGITS = 15
"""Behind the point, of chances: what is behind these is rounding of binary numbers."""

Interval = tuple[float, float]


def one_sided(confidence: float) -> float:
    """Chance of error of one bound of a two-sided interval."""
    return round((1 - confidence) / 2, DIGITS)


def two_sided(error: float) -> float:
    """Confidence of the two-sided interval whose bounds err with that chance each."""
    return round(1 - 2 * error, DIGITS)


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and interval of the mean over draws.

    With one draw the spread is unknown: ``std`` is 0 and the interval is None.
    """

    mean: float
    std: float
    interval: Interval | None
    draws: int


def summarize(values: Sequence[float] | Floats, confidence: float = CONFIDENCE, step: float = 0.0) -> Summary:
    """Mean over draws with its interval.

    Args:
        values: one value a draw, shape ``(draws,)``.
        step: least change of a value, as in `over_draws`.

    Raises:
        UsageError: no values, or a level outside (0, 1).
    """
    x = np.asarray(values, np.float64)
    if x.size == 0:
        raise UsageError("no draws to summarize; ask for at least one (--draws)")
    std = 0.0 if x.size == 1 else float(x.std(ddof=1))
    return Summary(float(x.mean()), std, over_draws(x, confidence, step), x.size)


def over_draws(values: Floats, confidence: float = CONFIDENCE, step: float = 0.0) -> Interval | None:
    """Student's interval of the mean over draws, on the samples at hand; None with one draw.

    Args:
        values: one a draw.
        step: by which a value can change at least (1 / samples for a share): a spread of less than half a step
            cannot be seen, so the deviation is taken as at least that.
    """
    check_confidence(confidence)
    if values.size < 2:
        return None
    variance = max(float(values.var(ddof=1)), (step / 2) ** 2)
    return _interval(float(values.mean()), variance / values.size, values.size - 1, confidence)


def over_draws_and_samples(
    damage: Floats,
    confidence: float = CONFIDENCE,
    share: bool = False,
    documents: npt.NDArray[np.integer] | None = None,
) -> Interval | None:
    """Interval of the mean over other draws and other samples, or other documents where samples come in such.

    Args:
        damage: per draw and sample, shape ``(draws, samples)``, paired with the digital network sample by sample.
        share: it is a difference of shares: few samples change, and no spread seen is not no spread.
        documents: number of every sample's document, shape ``(samples,)``: they are what is drawn
            (`lhc.stats.intervals`).

    Returns:
        None with one draw, or one sample or document.
    """
    check_confidence(confidence)
    effective = float(damage.shape[1])
    if documents is not None:
        damage, effective = by_document(damage, documents), effective_documents(documents)
    draws, samples = damage.shape
    if draws < 2 or samples < 2:
        return None
    mean = float(damage.mean())
    by_draw, by_sample = damage.mean(axis=1), damage.mean(axis=0)
    rest = damage - by_draw[:, None] - by_sample[None, :] + mean
    square_draws = samples * by_draw.var(ddof=1)
    square_samples = draws * by_sample.var(ddof=1)
    square_rest = float((rest**2).sum()) / ((draws - 1) * (samples - 1))
    # Each part alone is a lower bound of the sum: a negative estimate of a component counts as none.
    total = max(square_draws + square_samples - square_rest, square_draws, square_samples)
    half = chips = 0.0
    if total > 0:
        parts = (square_draws**2 / (draws - 1), square_samples**2 / (effective - 1))
        freedom = total**2 / (sum(parts) + square_rest**2 / ((draws - 1) * (effective - 1)))
        quantile = float(scipy.special.stdtrit(max(float(freedom), 1.0), (1 + confidence) / 2))
        half = quantile * (float(total) / (draws * samples)) ** 0.5
        chips = quantile * (max(0.0, float(square_draws) - square_rest) / (draws * samples)) ** 0.5
    below, above = changed_answer_margins(by_sample, one_sided(confidence)) if share else (0.0, 0.0)
    return mean - max(half, float(np.hypot(below, chips))), mean + max(half, float(np.hypot(above, chips)))


def hull(one: Interval | None, other: Interval | None) -> Interval | None:
    """The least interval that holds both; None where either is not known."""
    if one is None or other is None:
        return None
    return min(one[0], other[0]), max(one[1], other[1])


def clipped(interval: Interval | None, low: float, high: float) -> Interval | None:
    """An interval without the values that cannot be, for showing; a few draws can reach beyond them."""
    return None if interval is None else (max(interval[0], low), min(interval[1], high))


def _interval(mean: float, variance: float, freedom: float, confidence: float) -> Interval:
    half = float(scipy.special.stdtrit(freedom, (1 + confidence) / 2)) * variance**0.5
    return mean - half, mean + half


def split_level(error: float, parts: int, first: float | None = None) -> tuple[float, ...]:
    """Divide a chance of error over looks or tests.

    Args:
        first: share of the first one; the others have equal shares of the rest. Equal shares if None.
    """
    if parts == 1:
        return (error,)
    share = 1 / parts if first is None else first
    return (error * share, *[error * (1 - share) / (parts - 1)] * (parts - 1))


def chance_of_difference(share: float, samples: int, other: float, others: int) -> float:
    """Chance of two shares of samples at least as unlikely as these, where both have the same mean.

    Fisher's exact test, two-sided; shares are rounded to whole samples, and to 0 or 1 where they are beyond.
    """
    right, likewise = (round(min(max(part, 0), 1) * whole) for part, whole in ((share, samples), (other, others)))
    total, every = right + likewise, samples + others
    counts = np.arange(max(0, total - others), min(samples, total) + 1)

    def ways(among: int, chosen: npt.ArrayLike) -> Floats:
        chosen = np.asarray(chosen, np.float64)
        return np.asarray(
            scipy.special.gammaln(among + 1)
            - scipy.special.gammaln(chosen + 1)
            - scipy.special.gammaln(among - chosen + 1)
        )

    chances = np.exp(ways(samples, counts) + ways(others, total - counts) - ways(every, total))
    return float(min(1.0, chances[chances <= chances[right - counts[0]] * (1 + 1e-7)].sum()))


def chips_needed(draws: int, half: float, room: float, most: int, confidence: float = CONFIDENCE) -> int | None:
    """Chips with which the half-width of an interval over them fits in a room, if they go on differing as they do.

    It is t(R-1) · s / sqrt(R): of a few chips, more of them narrow it most by way of Student's quantile.

    Args:
        draws: chips of an interval of that half-width, at least 2.
        most: None is returned where more than so many would be needed.
    """
    counts = np.arange(draws, most + 1)
    widths = scipy.special.stdtrit(counts - 1, (1 + confidence) / 2) / np.sqrt(counts)
    enough = np.flatnonzero(half * widths <= room * widths[0])
    return int(counts[enough[0]]) if len(enough) else None


def samples_needed(budget: float, changed: float, confidence: float = CONFIDENCE) -> int:
    """Samples at which the sampling of data alone resolves a budget of a share.

    If a share ``changed`` of the answers changes between right and wrong, paired differences of 0 and ±1 have at most
    that variance, and the half-width of the interval is z · sqrt(changed / N).

    Args:
        budget: the drop to be resolved, as a share.
        changed: share of samples whose score changes.
    """
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    return int(np.ceil(changed * (z / budget) ** 2)) if budget > 0 else np.iinfo(np.int64).max
