"""Measurement of one placement: scores per draw, and per sample where the metric has them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import scipy

from lhc.errors import DataError, NotFiniteError
from lhc.results import Evaluation
from lhc.samples.metrics import METRICS, Array, Metric, Scores
from lhc.samples.task import Indices
from lhc.stats import (
    CONFIDENCE,
    clipped,
    hull,
    members,
    over_draws,
    over_draws_and_samples,
    scaled,
    summarize,
)

__all__ = [
    "Evaluator",
    "Measurement",
    "SampleScores",
    "SetScores",
    "Wanted",
    "drop_scale",
    "evaluation",
    "finite",
    "looked_at",
    "sample_interval",
    "worst_where_nan",
]

Wanted = Sequence[tuple[frozenset[str], range]]
"""Placements, each with the numbers of its programmings."""
BOOTSTRAP = 400
"""Resamples of a set metric."""


class Measurement(Protocol):
    """Values and drops of a placement, one a draw."""

    @property
    def values(self) -> Scores:
        """Value of the metric per draw, shape ``(draws,)``."""
        ...

    @property
    def drops(self) -> Scores:
        """Damage per draw, paired with the digital network on the same samples, shape ``(draws,)``."""
        ...

    def joined(self, other: "Measurement") -> "Measurement":
        """With the draws of another measurement of the same placement behind."""
        ...

    @property
    def step(self) -> float:
        """Least change that a value can show; 0 where it is continuous or exact."""
        ...

    @property
    def documents(self) -> Indices | None:
        """Number of every sample's document, as `Task.documents`."""
        ...

    def chip_interval(self, confidence: float) -> tuple[float, float] | None:
        """Interval of the mean drop over other draws, on these samples; None with one draw."""
        ...

    def sample_interval(self, confidence: float) -> tuple[float, float] | None:
        """Interval of the mean drop over other draws and other samples: other documents where there are such."""
        ...


@runtime_checkable
class MeasuresOutputs(Protocol):
    """A measurement of several outputs (`lhc.measure.multi_output_evaluator`)."""

    def of_outputs(self, relative: bool, confidence: float, t_s: float | None) -> tuple[Evaluation, ...]:
        """Evaluations of every output by itself."""
        ...


class Evaluator(Protocol):
    """Measures placements on a fixed set of samples; a `PlacementEvaluator`, or a fake in tests."""

    @property
    def metric(self) -> Metric: ...

    @property
    def samples(self) -> int: ...

    @property
    def baseline(self) -> float:
        """Value of the digital network."""
        ...

    @property
    def draws(self) -> int:
        """Programmings per placement; a test uses at least as many."""
        ...

    @property
    def seed(self) -> int: ...

    @property
    def t_s(self) -> float: ...

    def measure(self, placement: frozenset[str], draws: range, what: str) -> Measurement:
        """Measure the network with exactly these layers analog, on these chips."""
        ...

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Begin measurements before they are asked for, as far as processes would be idle; results are the same.

        Args:
            certain: they will be asked for.
            perhaps: they may be. What was expected before, and is not any more, is dropped.
        """
        ...


@dataclass(frozen=True, eq=False)
class SampleScores:
    """Scores per draw and sample.

    Attributes:
        scores: shape ``(draws, samples)``.
        digital: scores of the digital network, shape ``(samples,)``.
        exact: nothing varies from draw to draw: no layer is analog, or the hardware has no noise.
        documents: number of every sample's document; None where every sample stands alone.
        rounded: of exact scores: it is another network than the digital one, which may answer other samples otherwise.
    """

    metric: Metric
    scores: Scores
    digital: Scores
    exact: bool = False
    documents: Indices | None = None
    rounded: bool = False

    @property
    def values(self) -> Scores:
        means: Scores = self.scores.mean(axis=1)
        return means

    @property
    def damage(self) -> Scores:
        """Damage per draw and sample."""
        return self.metric.damage(self.digital, self.scores)

    @property
    def drops(self) -> Scores:
        means: Scores = self.damage.mean(axis=1)
        return means

    @property
    def step(self) -> float:
        return 1 / self.digital.size if self._is_share and not self.exact else 0.0

    @property
    def _is_share(self) -> bool:
        """A user's own metric is a share where all its scores are 0 or 1; of lhc's own it is known which are."""
        own = self.metric.name not in METRICS
        return self.metric.percent or (own and all(((s == 0) | (s == 1)).all() for s in (self.digital, self.scores)))

    def joined(self, other: Measurement) -> "SampleScores":
        assert isinstance(other, SampleScores)
        return replace(self, scores=np.concatenate([self.scores, other.scores]))

    def chip_interval(self, confidence: float) -> tuple[float, float] | None:
        return over_draws(self.drops, confidence, self.step)

    def sample_interval(self, confidence: float) -> tuple[float, float] | None:
        few_may_change = self._is_share and (self.rounded or not self.exact)
        return over_draws_and_samples(self.damage, confidence, few_may_change, self.documents)


@dataclass(frozen=True, eq=False)
class SetScores:
    """Outputs per draw and sample, for a metric that scores whole sets; intervals over samples by bootstrap.

    Attributes:
        outputs: or what the metric's summary keeps of them, ``(draws, samples, ...)``.
        digital: the same of the digital network, ``(samples, ...)``.
        reference: what outputs are scored against, ``(samples, ...)``.
        documents: number of every sample's document; None where every sample stands alone.
    """

    metric: Metric
    outputs: Array
    digital: Array
    reference: Array
    documents: Indices | None = None

    @property
    def values(self) -> Scores:
        return np.array([self.metric.of_set(output, self.reference) for output in self.outputs], np.float64)

    @property
    def drops(self) -> Scores:
        return self.metric.damage(self.metric.of_set(self.digital, self.reference), self.values)

    @property
    def step(self) -> float:
        return 0.0

    def joined(self, other: Measurement) -> "SetScores":
        assert isinstance(other, SetScores)
        return replace(self, outputs=np.concatenate([self.outputs, other.outputs]))

    def chip_interval(self, confidence: float) -> tuple[float, float] | None:
        return over_draws(self.drops, confidence, self.step)

    def sample_interval(self, confidence: float) -> tuple[float, float] | None:
        """Student's interval with the bootstrap's standard error: draws and samples drawn again, with replacement.

        Percentiles of a few hundred resamples would not resolve the levels of single looks. The seed is fixed, and
        documents are drawn whole (Davison and Hinkley, Bootstrap Methods, 1997, sections 3.8 and 5.2.1). None where the
        metric is no number on some of them, such as a correlation of equal labels, or fails: then nothing is known.
        """
        draws, samples = self.outputs.shape[:2]
        whole = None if self.documents is None else members(self.documents)
        count = samples if whole is None else len(whole)
        if min(draws, count) < 2:
            return None
        rng = np.random.default_rng(0)
        means = np.empty(BOOTSTRAP)
        for index in range(BOOTSTRAP):
            drawn = rng.integers(0, count, count)
            chosen = drawn if whole is None else np.concatenate([whole[one] for one in drawn])
            chips = self.outputs[rng.integers(0, draws, draws)]
            part = SetScores(self.metric, chips[:, chosen], self.digital[chosen], self.reference[chosen])
            try:
                means[index] = part.drops.mean()
            except DataError:
                return None
        if not np.isfinite(means).all():
            return None
        drops = self.drops
        of_chips = float(drops.var(ddof=1)) / draws
        total = float(means.var(ddof=1)) + of_chips / draws  # resampled chips vary less, by one part of their number
        half, mean = 0.0, float(drops.mean())
        if total > 0:  # Welch and Satterthwaite
            of_samples = max(total - of_chips, 0.0)
            freedom = total**2 / (of_chips**2 / (draws - 1) + of_samples**2 / (count - 1))
            half = float(scipy.special.stdtrit(max(freedom, 1.0), (1 + confidence) / 2)) * total**0.5
        return mean - half, mean + half


def looked_at(
    evaluator: Evaluator, placement: frozenset[str], looks: Iterable[int], what: str
) -> Iterator[Measurement]:
    """A placement with more and more draws, measured as far as anybody looks; ``looks``: after how many draws."""
    measured: Measurement | None = None
    done = 0
    for look in looks:
        more = evaluator.measure(placement, range(done, look), what)
        measured = more if measured is None else measured.joined(more)
        done = look
        yield measured


def drop_scale(baseline: float, relative: bool) -> float:
    """Factor from drops in the metric's unit to those that a budget is in: shares of the baseline's magnitude, or 1."""
    return 1 / abs(baseline) if relative else 1.0


def sample_interval(
    measured: Measurement, evaluator: Evaluator, relative: bool, confidence: float
) -> tuple[float, float] | None:
    """Interval of the mean drop over chips and samples; arguments as those of `evaluation`."""
    # Few draws can make it narrower than that over chips by chance; that other samples vary too cannot make it surer.
    both = hull(measured.chip_interval(confidence), measured.sample_interval(confidence))
    return scaled(both, drop_scale(evaluator.baseline, relative))


def finite(measured: Measurement) -> Measurement:
    """The measurement itself.

    Raises:
        NotFiniteError: the mapped network gives values that are not finite.
    """
    if not np.isfinite(measured.values).all():
        raise NotFiniteError(
            "the mapped network gives NaN or infinite values on some samples; what is lost is undefined. An operator"
            " such as Log, Sqrt or Div does not stand the errors of analog layers before it: keep these digital"
            " (--exclude of 'lhc partition')"
        )
    return measured


def worst_where_nan(measured: Measurement) -> Measurement:
    """The measurement with the worst scores for chips that give NaN on some samples, where scores are shares."""
    if not isinstance(measured, SampleScores) or not measured.metric.percent:
        return measured
    broken = np.isnan(measured.scores).any(axis=1, keepdims=True)
    return replace(measured, scores=np.where(broken, 0.0, measured.scores)) if broken.any() else measured


def evaluation(
    measured: Measurement,
    evaluator: Evaluator,
    relative: bool,
    confidence: float = CONFIDENCE,
    t_s: float | None = None,
) -> Evaluation:
    """Value and drop of a placement with both intervals.

    Args:
        relative: drops as a share of the baseline's magnitude.
        t_s: time of inference; the evaluator's own by default.

    Raises:
        NotFiniteError: the mapped network gives values that are not finite.
    """
    measured = finite(measured)
    outputs = measured.of_outputs(relative, confidence, t_s) if isinstance(measured, MeasuresOutputs) else ()
    scale = drop_scale(evaluator.baseline, relative)
    value, drops = summarize(measured.values, confidence, measured.step), measured.drops * scale
    drop = float(drops.mean())
    # No drop is beyond these: what an interval of a few chips says of others is no finding. Of several outputs the drop
    # is the greatest, which no single metric bounds.
    metric = evaluator.metric
    here, anywhere = (
        (-math.inf, math.inf)
        if isinstance(measured, MeasuresOutputs)
        else (
            min(scale * metric.least_damage(evaluator.baseline, others), drop),
            max(scale * metric.most_damage(None if others else evaluator.baseline), drop),
        )
        for others in (False, True)
    )
    return Evaluation(
        metric=metric.name,
        percent=metric.percent,
        baseline=evaluator.baseline,
        values=tuple(measured.values.tolist()),
        mean=value.mean,
        std=value.std,
        interval=clipped(value.interval, *metric.bounds),
        drop=drop,
        drop_interval=clipped(scaled(measured.chip_interval(confidence), scale), *here),
        sample_interval=clipped(sample_interval(measured, evaluator, relative, confidence), *anywhere),
        drops=tuple(drops.tolist()),
        samples=evaluator.samples,
        documents=None if measured.documents is None else len(members(measured.documents)),
        seed=evaluator.seed,
        t_s=evaluator.t_s if t_s is None else t_s,
        confidence=confidence,
        higher_is_better=metric.higher_is_better,
        outputs=outputs,
    )
