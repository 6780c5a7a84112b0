"""Intervals and bounds: what is random, and how sure a mean is. docs/statistics.md explains the choice.

**Intervals of a mean.** Two things are random: the chip (a *draw*, one programming of all tiles) and the samples. Two
intervals of the mean drop follow:

- **over chips, on these samples** (`over_draws`): Student's t over the draws' own means,
  mean ± t(R-1) · s / sqrt(R). What other chips will do on this data.
- **over chips and samples** (`over_draws_and_samples`): also what other samples of the same kind would show. Drops form
  a crossed table of R draws by N samples; in the two-way random model the mean has the variance
  (MS_draws + MS_samples - MS_rest) / (R·N), with Satterthwaite's degrees of freedom (Searle, Casella, McCulloch,
  Variance Components, 1992, chapter 4). Of shares few samples change, and the part of the samples is at least what an
  exact bound of their count leaves (`changed_answer_margins`).

A level that is spent over several tests is divided evenly between them (Bonferroni), so that the chance of any
wrong acceptance stays below the whole.

Samples of one document are alike (`by_document`). What is drawn are documents, of unequal size. The mean over all
samples is then a ratio: the sum over documents, divided by their summed sizes (Cochran, Sampling Techniques, 1977,
chapter 9A). Its variance is the jackknife's: what becomes of the mean when a document is left out tells the document's
*pseudo-value* (Tukey 1958; Miller, Biometrika 61, 1974), and pseudo-values are then treated as independent
observations. Linearised residuals, the usual alternative, come out too small where few documents, or one long one, hold
much of the samples; leaving a document out does not. Nor is a variance that rests on few long documents known as well
as their number says: its degrees of freedom are those of the *effective* number of documents (Carter, Schnepel and
Steigerwald, Review of Economics and Statistics 99, 2017).

**Counts of chips.** If a smaller share of chips holds a bound, the number of n chips that do not is larger, in
distribution, than binomial with the rest; so a few of many are shown to be few in general (a nonparametric tolerance
bound: Wilks, Ann. Math. Stat. 12, 1941; without any failure among n chips the chance of error is share^n). Normal
theory promises more than it keeps: with its noncentral t, 53 % of the runs with 59 chips err instead of 5 % where drops
are exponential. Looks at a growing number of chips spend the chance of error in proportion to them
(`failures_allowed`), and what counts lie where is followed exactly, so that nothing is approximated.

**Counts of answers.** Where a handful of N samples changes between right and wrong, their spread says little: with none
there is none. The bounds are then those of a count (Clopper and Pearson, Biometrika 26, 1934). From above they are a
quantile of the beta distribution whose mean is that of the samples and one more that is lost, and whose variance is
that of such a mean; from below the one more is kept. So they are defined for samples that count in part, too, being
lost on three chips of ten, as Fay and Feuer (Statistics in Medicine 16, 1997) do for rates. Without any change that
leaves 3 / N at 95 %, the rule of three; with many it is the normal interval. A drop is what was lost less what was
gained. The margins of both are independent, nearly, and their squares add up (Zou and Donner, Statistics in Medicine
27, 2008; Newcombe 1998).

**Looks.** Whoever looks several times at a measurement errs more often than the level of one look says.
Group-sequential bounds keep the chance of error as it is: looks are fixed beforehand (`look_schedule`), the chance is
spent in proportion to the draws looked at (Lan and DeMets, Biometrika 70, 1983; the power family of Kim and DeMets,
1987), and each look's own level follows from how its mean hangs together with those before it (`look_errors`: the
recursion of Armitage, McPherson and Rowe, 1969, for a mean whose draws are independent). Student's quantile at that
level stands for the normal one, as usual. A measurement that is nearly sure not to be accepted any more is ended too
(`hopeless`); that spends no chance of error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log

import numpy as np
import numpy.typing as npt
import scipy

from lhc.errors import UsageError
from lhc.support.number_bounds import check_confidence

Floats = npt.NDArray[np.float64]


def least_draws(share: float, error: float) -> int:
    """Chips that show a share if all of them lie within the bound; 59 for 95 % at an error of 5 %."""
    return ceil(log(error) / log(share) - 1e-9)


def greatest_share(chips: int, error: float) -> float:
    """The greatest share that so many chips show, if all of them lie within the bound; 97 % by 100 at an error of 5 %.

    >>> round(greatest_share(100, 0.05), 4)
    0.9705
    """
    return float(error ** (1 / chips))


def failures_allowed(looks: Sequence[int], share: float, error: float) -> tuple[int, ...]:
    """At every look, the most chips outside the bound with which a share of all is shown; -1 where none shows it.

    Args:
        looks: numbers of chips, growing.
        share: of all chips, that is to lie within.
        error: chance that any look shows it where a smaller share does.
    """
    allowed: list[int] = []
    open_: np.ndarray = np.ones(1)  # chance of every number of failures, undecided so far
    spent, seen = 0.0, 0
    for look in looks:
        for _ in range(look - seen):
            open_ = np.convolve(open_, (share, 1 - share))
        reached = spent + np.cumsum(open_)
        most = int(np.searchsorted(reached, error * look / looks[-1] * (1 + 1e-9), side="right")) - 1
        if most >= 0:
            spent = float(reached[most])
            open_[: most + 1] = 0.0
        allowed.append(most)
        seen = look
    return tuple(allowed)


def changed_answer_margins(changes: Floats, error: float) -> tuple[float, float]:
    """Margins of the mean change of all samples below and above that of the samples at hand.

    Args:
        changes: what samples lose between -1 and 1, shape ``(samples,)``; what lies beyond counts as these.
        error: chance that one bound errs.
    """
    lost, gained = np.clip(changes, 0, 1), np.clip(-changes, 0, 1)
    below = np.hypot(_margin(lost, error, 0.0), _margin(gained, error, 1.0))
    above = np.hypot(_margin(lost, error, 1.0), _margin(gained, error, 0.0))
    return float(below), float(above)


def _margin(shares: Floats, error: float, more: float) -> float:
    """Margin from the mean of shares to its bound on the side of one more sample, which is 0 or 1."""
    shares_and_more = np.append(shares, more)
    mean, variance = float(shares_and_more.mean()), float(shares_and_more.var())
    # Whatever the others are, those that are none of them can be so many.
    unseen = float(abs(more - shares.mean()) * (1 - error ** (1 / shares.size)))
    if variance == 0:
        return unseen
    size = (shares.size + 2) * mean * (1 - mean) / variance - 1
    bound = scipy.special.betaincinv(size * mean, size * (1 - mean), 1 - error if more else error)
    return max(unseen, float(bound - shares.mean() if more else shares.mean() - bound))


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
            (`lhc.stats`).

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


def scaled(interval: Interval | None, factor: float) -> Interval | None:
    """An interval in another unit; ``factor`` is above 0."""
    return None if interval is None else (interval[0] * factor, interval[1] * factor)


def clipped(interval: Interval | None, low: float, high: float) -> Interval | None:
    """An interval without the values that cannot be, for showing; a few draws can reach beyond them."""
    return None if interval is None else (max(interval[0], low), min(interval[1], high))


def _interval(mean: float, variance: float, freedom: float, confidence: float) -> Interval:
    half = float(scipy.special.stdtrit(freedom, (1 + confidence) / 2)) * variance**0.5
    return mean - half, mean + half


def chance_of_difference(share: float, samples: int, other: float, others: int) -> float:
    """Chance of two shares of samples at least as unlikely as these, where both have the same mean.

    Fisher's exact test, two-sided; shares are rounded to whole samples, and to 0 or 1 where they are beyond.
    """
    counts = ((round(min(max(part, 0), 1) * whole), whole) for part, whole in ((share, samples), (other, others)))
    table = np.array([(right, whole - right) for right, whole in counts])
    return float(scipy.stats.fisher_exact(table).pvalue)


def enough(count: int, half: float, room: float) -> int:
    """Chips or samples with which the half-width of an interval fits in a room, if it falls as 1 / sqrt(count).

    >>> enough(10, 0.02, 0.01)
    40
    """
    return ceil(count * (half / room) ** 2)


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


GROWTH = 1.3
"""Of the number of draws from look to look, at least by one."""
FEWEST = 5
"""Draws before which nothing is given up."""
_REACH, _POINTS = 7.0, 1001
"""The recursion goes over standard scores within so many deviations, on so many points."""


def look_schedule(least: int, most: int) -> tuple[int, ...]:
    """Numbers of draws at which a running measurement is looked at."""
    looks = [min(least, most)]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, round(GROWTH * looks[-1]))))
    return tuple(looks)


@lru_cache(maxsize=256)
def look_errors(looks: tuple[int, ...], error: float) -> tuple[float, ...]:
    """The level of each look at which the chance that any of them errs is the whole.

    Args:
        looks: numbers of draws, growing.
    """
    if len(looks) == 1:
        return (error,)
    shares = np.array(looks) / looks[-1]
    spent = np.diff(shares * error, prepend=0.0)
    scores, step = np.linspace(-_REACH, _REACH, _POINTS, retstep=True)
    edges = scores - step / 2
    density = np.exp(-(scores**2) / 2) / np.sqrt(2 * np.pi)
    errors = []
    for number, (share, chance) in enumerate(zip(shares, spent, strict=True)):
        if number:
            kept = np.sqrt(shares[number - 1] / share)
            fresh = np.sqrt(1 - kept**2)
            steps = (scores[:, None] - kept * scores[None, :]) / fresh
            density = np.exp(-(steps**2) / 2) @ density * (step / (fresh * np.sqrt(2 * np.pi)))
        beyond = np.cumsum(density[::-1])[::-1] * step
        bound = float(np.interp(-np.log(chance), -np.log(np.maximum(beyond, 1e-300)), edges))
        errors.append(float(scipy.special.ndtr(-bound)))
        density = density * np.clip((bound - edges) / step, 0, 1)  # what was decided is not looked at again
    return tuple(errors)


_OPTIMISM = 1.0
"""By so many standard errors the mean of the draws to come is taken to be better than what was seen."""
_LEAST_CHANCE = 0.05
"""With a smaller chance to be accepted at the last look, a measurement is ended."""


def hopeless(
    mean: float, deviation: float, limit: float, looks: Sequence[int], done: int, last_error: float, beside: float = 0.0
) -> bool:
    """Futility at an interim look: whether it is nearly sure that the bound will not come within the limit.

    Args:
        done: draws that were seen.
        last_error: level of the last look.
        beside: half-width of what further draws do not narrow, at that look.
    """
    most = looks[-1]
    left = most - done
    if left <= 0 or done < FEWEST:
        return False
    half = float(scipy.special.stdtrit(most - 1, 1 - last_error)) * deviation / most**0.5
    wanted = limit - (half**2 + beside**2) ** 0.5
    rest = mean - _OPTIMISM * deviation / done**0.5
    expected, spread = (done * mean + left * rest) / most, deviation * left**0.5 / most
    if spread == 0:
        return bool(expected > wanted)
    return bool(scipy.special.ndtr((wanted - expected) / spread) < _LEAST_CHANCE)
