"""Metrics: how the answers of a network are scored.

A metric scores every sample of one output, against targets or against what the digital network answers; the value of
a set is the mean of its samples' scores. A *set metric* gives one number for all samples instead (a rank correlation
has no score of a single sample). Classes lie on the last axis: outputs with another class axis are laid out so before
(`lhc.samples.class_probabilities`); positions are all other axes, such as the pixels of pictures.
Formulas, ``n`` samples:

against targets

- ``accuracy``  share of positions whose greatest class equals the target;
- ``miou``      mean over classes of intersection over union: positions of the class in both, over those in either; of
  the whole set, classes that neither has left out (set metric);
- ``top5``      share of positions whose target is among the five greatest;
- ``mse``       mean squared error;
- ``psnr``      10 log10(range² / mse) in dB per sample, range = greatest minus least target of that sample;
- ``nll``       negative log likelihood of the target in nats, mean over a sample's positions;
- ``perplexity`` exp of the mean negative log likelihood over all positions of the set (set metric);
- ``spearman``  rank correlation of outputs and targets over the whole set (set metric);

against the digital network

- ``agreement`` share of positions with the same greatest class;
- ``kl``        Kullback-Leibler divergence KL(p_digital || p_analog) in nats over the last axis, softmax first unless
  the output already is a distribution;
- ``nmse``      squared error over the energy of the digital output, per sample;
- ``cosine``    cosine of the angle between both outputs, per sample.

``accuracy``, ``miou``, ``nll`` and ``perplexity`` leave out positions whose target is -100. ``accuracy``, ``miou`` and
``agreement`` take outputs of whole numbers too, which are classes themselves (`are_answers`).

``module:function`` names a function ``(outputs, targets) -> scores (n,)`` or ``-> one number``, given outputs with the
axes that the network gives them, samples first, and the targets where the data has them, else the digital network's
outputs.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, UsageError
from lhc.samples.class_probabilities import are_probabilities, divergences, log_likelihoods
from lhc.samples.targets import (
    IGNORED,
    Array,
    are_answers,
    check_classes,
    check_labels,
    check_range,
    check_values,
)
from lhc.samples.user_metric import UserScore

__all__ = [
    "IGNORED",
    "METRICS",
    "UNCHOSEN",
    "Array",
    "Metric",
    "SampleNumbers",
    "Scores",
    "get_metric",
    "metric_without_targets",
    "shows_classes",
]

Scores = npt.NDArray[np.float64]
MOST_CLASSES = 256
"""That ``miou`` counts where an output holds answers, which do not say how many there are."""

ScoreFunction = Callable[[Array, Array], "Scores | float"]


@dataclass(frozen=True)
class SampleNumbers:
    """A set metric in two steps.

    Attributes:
        of_samples: ``(output (n, ...), reference (n, ...)) -> (n, k)``.
        of_set: the metric, from these of all samples.
    """

    of_samples: Callable[[Array, Array], Array]
    of_set: Callable[[Array], float]


@dataclass(frozen=True)
class Metric:
    """A score with its direction.

    Attributes:
        name: as written on the command line.
        higher_is_better: whether a greater score is a better network.
        needs_targets: scored against targets; False: against the digital network's output; None: against targets
            where the data has them.
        score: ``(output (n, ...), reference (n, ...)) -> scores (n,)``, or one number for a set metric. The reference
            is targets, or the digital network's output; on which axis outputs have classes, ``classes`` says.
        percent: scores are shares from 0 to 1, shown as percentages.
        classes: the score reads the last axis of outputs as scores of classes, and is given them so: an output
            ``(n, classes, height, width)`` comes as ``(n, height, width, classes)``. Otherwise outputs come with the
            axes that the network gives them; False: they hold no classes, None: that is not known, as of a function
            of the user's.
        best: the best score that there can be, where it is no share (of which 1 is); None: there is no such.
        worst: the worst score that there can be, where it is no share (of which 0 is); None: there is no such.
        summary: of a set metric that takes a few numbers of every sample: outputs need not be kept for it.
        chosen: somebody chose it; False: taken for want of a choice, so that one made elsewhere goes before it.
    """

    name: str
    higher_is_better: bool
    needs_targets: bool | None
    score: ScoreFunction
    percent: bool = False
    classes: bool | None = None
    best: float | None = None
    worst: float | None = None
    summary: SampleNumbers | None = None
    chosen: bool = True

    def of_set(self, kept: Array, reference: Array) -> float:
        """Value of a set metric, from outputs, or from what its `summary` keeps of them."""
        return float(self.score(kept, reference) if self.summary is None else self.summary.of_set(kept))

    def damage(self, baseline: npt.ArrayLike, value: npt.ArrayLike) -> Scores:
        """Difference of ``value`` from ``baseline`` in the metric's own unit; larger is worse."""
        difference = np.asarray(baseline, np.float64) - np.asarray(value, np.float64)
        result: Scores = difference if self.higher_is_better else -difference
        return result

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value of the metric."""
        if self.percent:
            return 0.0, 1.0
        least, most = (self.worst, self.best) if self.higher_is_better else (self.best, self.worst)
        return -np.inf if least is None else least, np.inf if most is None else most

    def least_damage(self, baseline: float, others: bool = False) -> float:
        """Below which no damage can be on samples of that digital value; with ``others``, on any samples.

        Negative where the digital network is not best itself: int8 answers otherwise than the file, and so it may do
        worse than with a layer on tiles.
        """
        best = 1.0 if self.percent else self.best
        if best is None:
            return -np.inf
        least = float(self.damage(baseline, best))
        # Scored against outputs that the digital network gives itself, it is best on other samples too.
        own = METRICS.get(self.name, self).needs_targets is False and least == 0
        return least if own or not others else -np.inf

    def most_damage(self, baseline: float | None) -> float:
        """Above which no damage can be: on samples of that digital value, or on any (None)."""
        best, worst = (1.0, 0.0) if self.percent else (self.best, self.worst)
        start = best if baseline is None else baseline
        return np.inf if start is None or worst is None else float(self.damage(start, worst))


def _per_sample(values: Array) -> Scores:
    means: Scores = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return means


def _accuracy(output: Array, targets: Array) -> Scores:
    classes, counted = _classes("accuracy", output, targets)
    if counted.all():
        return _per_sample(classes == targets)
    right, counts = (_per_sample(array) for array in ((classes == targets) & counted, counted))
    if not counts.all():
        raise DataError(f"accuracy: sample {int(counts.argmin())} has no label other than {IGNORED}; leave it out")
    return right / counts


def _classes(metric: str, output: Array, targets: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The answer at every position, the greatest class where the output holds scores, and which positions count."""
    if are_answers(output, targets):
        return output, targets != IGNORED
    check_classes(metric, output)
    check_labels(metric, output.shape, targets)
    return output.argmax(axis=-1), targets != IGNORED


def _overlaps(output: Array, targets: Array) -> Array:
    """Positions of every class in answer and target, then in either, ``(samples, 2 classes)``."""
    answers, counted = _classes("miou", output, targets)
    samples, count = len(output), output.shape[-1]
    if are_answers(output, targets):
        count = MOST_CLASSES
        for values in (answers, targets[counted]):
            if values.size and not 0 <= values.min() <= values.max() < count:
                raise DataError(
                    f"miou: of an output that holds answers it counts classes 0 to {count - 1}; these are"
                    f" {values.min()} to {values.max()}"
                )
    first = np.arange(samples).reshape(-1, *[1] * (targets.ndim - 1)) * count  # of the classes of a sample
    found, wanted = ((first + classes.astype(np.int64))[counted] for classes in (answers, targets))
    both, inside, given = (
        np.bincount(places, minlength=samples * count).reshape(samples, count)
        for places in (found[found == wanted], found, wanted)
    )
    return np.concatenate([both, inside + given - both], axis=1)


def _miou(output: Array, targets: Array) -> float:
    return _of_overlaps(_overlaps(output, targets))


def _of_overlaps(overlaps: Array) -> float:
    if np.isnan(overlaps).any():  # answers that are no numbers
        return math.nan
    both, either = overlaps.sum(axis=0).reshape(2, -1)
    if not either.any():
        raise DataError(f"miou: there is no label other than {IGNORED}")
    return float((both[either > 0] / either[either > 0]).mean())


def _agreement(output: Array, digital: Array) -> Scores:
    if are_answers(output):
        return _per_sample(output == digital)
    check_classes("agreement", output)
    return _per_sample(output.argmax(axis=-1) == digital.argmax(axis=-1))


def _kl(output: Array, digital: Array) -> Scores:
    check_classes("kl", output)
    return _per_sample(divergences(output, digital))


def _top5(output: Array, targets: Array) -> Scores:
    check_classes("top5", output)
    if output.shape[:-1] != targets.shape:
        raise DataError(f"top5: the output has shape {output.shape}, the labels {targets.shape}: one class a position")
    check_range("top5", targets, output.shape[-1])
    best = np.argsort(output, axis=-1)[..., -5:]
    return _per_sample((best == targets[..., None]).any(axis=-1))


def _energy(values: Array) -> Scores:
    energy: Scores = np.square(values.reshape(len(values), -1).astype(np.float64)).sum(axis=1)
    return energy


def _nmse(output: Array, digital: Array) -> Scores:
    error = _energy(np.subtract(output, digital, dtype=np.float64))
    energy = _energy(digital)
    return error / np.where(energy > 0, energy, 1.0)


def _mse(output: Array, targets: Array) -> Scores:
    check_values("mse", output.shape, targets.shape)
    return _per_sample(np.square(np.subtract(output, targets, dtype=np.float64)))


def _psnr(output: Array, targets: Array) -> Scores:
    errors = np.maximum(_mse(output, targets), np.finfo(np.float64).tiny)
    flat = targets.reshape(len(targets), -1).astype(np.float64)
    span = flat.max(axis=1) - flat.min(axis=1)
    if not (span > 0).all():
        raise DataError("psnr: the labels of some sample are constant, so it has no range; choose mse")
    ratio: Scores = 10 * np.log10(span**2 / errors)
    return ratio


def _cosine(output: Array, digital: Array) -> Scores:
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (output, digital))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine: Scores = (a * b).sum(axis=1) / np.where(norms > 0, norms, 1.0)
    return cosine


def _surprise(metric: str, output: Array, targets: Array) -> tuple[Scores, npt.NDArray[np.int64]]:
    """Per sample the summed negative log likelihood of its targets, and how many there are."""
    check_classes(metric, output)
    check_labels(metric, output.shape, targets)
    counted = targets != IGNORED
    sums = np.empty(len(output))
    for row, (values, where) in enumerate(zip(output, counted, strict=True)):
        sums[row] = -log_likelihoods(values[where], targets[row][where]).sum()
    return sums, counted.reshape(len(counted), -1).sum(axis=1)


def _nll(output: Array, targets: Array) -> Scores:
    sums, counts = _surprise("nll", output, targets)
    if not counts.all():
        raise DataError(f"nll: sample {int(counts.argmin())} has no label other than {IGNORED}; leave it out")
    return sums / counts


def _surprises(output: Array, targets: Array) -> Array:
    """Sums and counts of `_surprise`, ``(samples, 2)``."""
    return np.stack(_surprise("perplexity", output, targets), axis=1)


def _perplexity(output: Array, targets: Array) -> float:
    return _of_surprises(_surprises(output, targets))


def _of_surprises(surprises: Array) -> float:
    sums, counts = surprises.T
    if not counts.any():
        raise DataError(f"perplexity: there is no label other than {IGNORED}")
    with np.errstate(over="ignore"):
        return float(np.exp(sums.sum() / counts.sum()))


def _spearman(output: Array, targets: Array) -> float:
    values, wanted = (array.ravel().astype(np.float64) for array in (output, targets))
    if values.shape != wanted.shape or len(values) < 3:
        raise DataError(
            f"spearman: the output has shape {output.shape}, the labels {targets.shape}; it takes one number a sample"
            " and at least three samples"
        )
    if np.ptp(values) == 0:
        return 0.0
    if np.ptp(wanted) == 0:
        return math.nan
    import scipy  # the command line reads names of metrics without it

    return float(scipy.stats.spearmanr(values, wanted).statistic)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", higher_is_better=True, needs_targets=True, score=_accuracy, percent=True, classes=True),
        Metric(
            "agreement",
            higher_is_better=True,
            needs_targets=False,
            score=_agreement,
            percent=True,
            best=1.0,
            classes=True,
        ),
        Metric("kl", higher_is_better=False, needs_targets=False, score=_kl, classes=True, best=0.0),
        Metric("nmse", higher_is_better=False, needs_targets=False, score=_nmse, classes=False, best=0.0),
        Metric(
            "cosine", higher_is_better=True, needs_targets=False, score=_cosine, classes=False, best=1.0, worst=-1.0
        ),
        Metric(
            "miou",
            higher_is_better=True,
            needs_targets=True,
            score=_miou,
            percent=True,
            classes=True,
            summary=SampleNumbers(_overlaps, _of_overlaps),
        ),
        Metric("top5", higher_is_better=True, needs_targets=True, score=_top5, percent=True, classes=True),
        Metric("mse", higher_is_better=False, needs_targets=True, score=_mse, classes=False, best=0.0),
        Metric("psnr", higher_is_better=True, needs_targets=True, score=_psnr, classes=False),
        Metric("nll", higher_is_better=False, needs_targets=True, score=_nll, classes=True, best=0.0),
        Metric(
            "perplexity",
            higher_is_better=False,
            needs_targets=True,
            score=_perplexity,
            classes=True,
            best=1.0,
            summary=SampleNumbers(_surprises, _of_surprises),
        ),
        Metric(
            "spearman", higher_is_better=True, needs_targets=True, score=_spearman, classes=False, best=1.0, worst=-1.0
        ),
    )
}


UNCHOSEN = replace(METRICS["kl"], chosen=False)
"""For samples that are read where no metric has to be chosen: it takes any targets, and leaves a task its own."""


def get_metric(name: str, higher_is_better: bool | None = None) -> Metric:
    """The metric of that name, or a function given as ``module:function``.

    Args:
        name: a built-in metric, or where the function is; modules are looked for in the current folder too.
        higher_is_better: direction of a function; built-in metrics know theirs.

    Raises:
        UsageError: there is none, its direction is missing or contradicts a built-in one.
    """
    if ":" in name:
        return _custom(name, higher_is_better)
    if name not in METRICS:
        near = get_close_matches(name, METRICS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"unknown metric {name!r}{hint}; choose one of {', '.join(METRICS)}, or module:function")
    metric = METRICS[name]
    if higher_is_better is not None and higher_is_better != metric.higher_is_better:
        raise UsageError(f"{name}: {'higher' if metric.higher_is_better else 'lower'} is better; drop the option")
    return metric


def _custom(name: str, higher_is_better: bool | None) -> Metric:
    if higher_is_better is None:
        raise UsageError(f"--metric {name}: say --higher-is-better or --lower-is-better; lhc cannot know")
    return Metric(name, higher_is_better=higher_is_better, needs_targets=None, score=UserScore(name))


def shows_classes(output: Array, targets: Array | None = None) -> bool:
    """Whether an output is shown to hold scores of classes along its last axis, two or more.

    It is by its targets, if they are whole numbers, one a position, each of them a class; or by its values, if they are
    probabilities, or the logarithms of probabilities: what a final Softmax or LogSoftmax gives. Nothing tells the
    logits of a plain linear layer from any other values: ten of them may be ten classes or ten coordinates.

    Args:
        output: of the digital network, for some samples, ``(n, ...)``.
        targets: of some samples, not necessarily of the same, or None.
    """
    if output.ndim < 2 or output.shape[-1] < 2 or output.dtype.kind != "f" or not output.size:
        return False
    if targets is not None and targets.dtype.kind in "iu" and targets.shape[1:] == output.shape[1:-1]:
        counted = targets[targets != IGNORED]
        return bool(counted.size and counted.min() >= 0 and counted.max() < output.shape[-1])
    values = output.astype(np.float64)
    if are_probabilities(values, output):
        return True
    return bool((values <= 0).all()) and are_probabilities(np.exp(values), output)


def metric_without_targets(output: Array, name: str, classes: bool = False) -> tuple[Metric, str]:
    """Metric for an output without targets, and why: agreement where it holds classes, else nmse.

    Args:
        classes: the user says which axis holds them.

    Raises:
        UsageError: it holds no real numbers, so that neither makes sense unasked.
    """
    if output.dtype.kind != "f":
        holds = "it holds classes" if are_answers(output) else "the last axis holds scores of classes"
        raise UsageError(
            f"the data has no labels, and output {name!r} is {output.dtype}: lhc cannot tell classes from counts or"
            " codes; give labels, score another output (--output), or choose: --metric agreement ("
            f"{holds}), nmse (it holds values), or module:function"
        )
    if classes:
        return METRICS["agreement"], f"the data has no labels, and which axis of output {name!r} holds classes was said"
    if shows_classes(output):
        return METRICS["agreement"], f"the data has no labels, and output {name!r} holds probabilities of classes"
    return METRICS["nmse"], f"the data has no labels, and nothing shows that output {name!r} holds classes"
