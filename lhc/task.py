"""What a network is judged on: samples, targets and a metric.

A metric scores every sample of one output, either against targets or against what the digital network
answers. Scores of a set are the mean of its samples' scores. Formulas:

- ``accuracy``  share of positions whose greatest class equals the target;
- ``agreement`` the same, with the digital network's class as the target (needs no labels);
- ``kl``        Kullback-Leibler divergence KL(p_digital || p_analog) in nats over the last axis, softmax
  first unless the output already is a distribution;
- ``nmse``      squared error over the energy of the digital output, per sample;
- ``mse``       mean squared error against targets.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, UsageError

__all__ = ["METRICS", "Array", "Metric", "Task", "get_metric"]

Array = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]
ScoreFunction = Callable[[Array, Array], Scores]


@dataclass(frozen=True)
class Metric:
    """A score per sample, with its direction.

    Attributes:
        name: as written on the command line.
        higher_is_better: whether a greater score is a better network.
        needs_targets: scored against targets; otherwise against the digital network's output.
        score: ``(output (n, ...), reference (n, ...)) -> scores (n,)``.
        percent: scores are shares, shown as percentages.
    """

    name: str
    higher_is_better: bool
    needs_targets: bool
    score: ScoreFunction
    percent: bool = False

    def damage(self, baseline: npt.ArrayLike, value: npt.ArrayLike) -> Scores:
        """How much worse ``value`` is than ``baseline``, in the metric's own unit; larger is worse."""
        difference = np.asarray(baseline, np.float64) - np.asarray(value, np.float64)
        result: Scores = difference if self.higher_is_better else -difference
        return result


def _per_sample(values: npt.NDArray[np.generic]) -> Scores:
    means: Scores = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return means


def _check_classes(metric: str, output: Array) -> None:
    # With fewer than two classes every answer would be right, whatever the tiles do.
    if output.ndim < 2 or output.shape[-1] < 2:
        raise DataError(
            f"{metric}: the output has shape {output.shape}, its last axis must hold scores of at least two classes;"
            " choose another metric: nmse, or mse with targets"
        )


def _accuracy(output: Array, targets: Array) -> Scores:
    _check_classes("accuracy", output)
    classes: Array = output.argmax(axis=-1)
    if classes.shape != targets.shape:
        raise DataError(
            f"accuracy: the output gives classes of shape {classes.shape}, the targets have {targets.shape};"
            " targets must hold one class index per position"
        )
    return _per_sample(classes == targets)


def _agreement(output: Array, digital: Array) -> Scores:
    _check_classes("agreement", output)
    return _per_sample(output.argmax(axis=-1) == digital.argmax(axis=-1))


def _log_probabilities(output: Array) -> Scores:
    x = output.astype(np.float64)
    rounding = 1e-4 if output.dtype.itemsize > 2 else 4e-3  # of a sum of probabilities in float32, in float16
    if (x >= 0).all() and np.allclose(x.sum(axis=-1), 1, atol=rounding):
        return np.log(np.maximum(x, 1e-12))
    x = x - x.max(axis=-1, keepdims=True)
    result: Scores = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return result


def _kl(output: Array, digital: Array) -> Scores:
    _check_classes("kl", output)
    log_p, log_q = _log_probabilities(digital), _log_probabilities(output)
    return _per_sample((np.exp(log_p) * (log_p - log_q)).sum(axis=-1))


def _energy(values: Array) -> Scores:
    energy: Scores = np.square(values.reshape(len(values), -1).astype(np.float64)).sum(axis=1)
    return energy


def _nmse(output: Array, digital: Array) -> Scores:
    error = _energy(np.subtract(output, digital, dtype=np.float64))
    energy = _energy(digital)
    return error / np.where(energy > 0, energy, 1.0)


def _mse(output: Array, targets: Array) -> Scores:
    if output.shape != targets.shape:
        raise DataError(f"mse: the output has shape {output.shape}, the targets have {targets.shape}; they must match")
    return _per_sample(np.square(np.subtract(output, targets, dtype=np.float64)))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", higher_is_better=True, needs_targets=True, score=_accuracy, percent=True),
        Metric("agreement", higher_is_better=True, needs_targets=False, score=_agreement, percent=True),
        Metric("kl", higher_is_better=False, needs_targets=False, score=_kl),
        Metric("nmse", higher_is_better=False, needs_targets=False, score=_nmse),
        Metric("mse", higher_is_better=False, needs_targets=True, score=_mse),
    )
}


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}; choose one of {', '.join(METRICS)}")
    return METRICS[name]


@dataclass(frozen=True, eq=False)
class Task:
    """Samples, their targets where there are any, and the metric that judges the answers.

    Attributes:
        inputs: input name -> ``(samples, ...)``, all with the same number of samples.
        targets: ``(samples, ...)`` or None.
        metric: how an output is scored.
    """

    inputs: Mapping[str, Array]
    targets: Array | None
    metric: Metric

    def __post_init__(self) -> None:
        arrays = {**self.inputs, **({} if self.targets is None else {"targets": self.targets})}
        if not self.inputs:
            raise DataError("the data holds no inputs")
        if any(array.ndim == 0 for array in arrays.values()):
            raise DataError("every array must have samples as its first axis; found a scalar")
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"arrays of different length: {lengths}; the first axis of every array counts samples")
        if len(self) == 0:
            raise DataError("the data holds no samples")
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{name!r} holds NaN or infinite values; remove those samples")
        if self.metric.needs_targets and self.targets is None:
            raise DataError(
                f"metric {self.metric.name!r} needs targets and the data has none; add them (--label-key names"
                " their key) or choose a metric that compares with the digital network: agreement, kl, nmse"
            )

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, indices: npt.NDArray[np.integer]) -> "Task":
        """The samples of these indices, in that order."""
        targets = None if self.targets is None else self.targets[indices]
        return replace(self, inputs={k: v[indices] for k, v in self.inputs.items()}, targets=targets)

    def head(self, samples: int | None) -> "Task":
        """The first ``samples`` samples; all where that is None or more than there are."""
        return self if samples is None or samples >= len(self) else self.take(np.arange(samples))

    def with_metric(self, metric: Metric) -> "Task":
        """The same samples judged by another metric."""
        return replace(self, metric=metric)

    def blocks(self, size: int) -> Iterator[tuple[slice, Mapping[str, Array]]]:
        """Consecutive blocks of at most ``size`` samples, as their position and their feeds."""
        for start in range(0, len(self), size):
            where = slice(start, min(start + size, len(self)))
            yield where, {name: array[where] for name, array in self.inputs.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of inputs and targets."""
        state = sha256()
        for name, array in [*sorted(self.inputs.items()), ("", self.targets)]:
            if array is not None:
                state.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
                state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()
