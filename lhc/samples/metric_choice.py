"""Choice of a metric by the values of an output, where nobody chose one."""

import numpy as np

from lhc.errors import UsageError
from lhc.samples.class_probabilities import are_probabilities
from lhc.samples.metrics import IGNORED, METRICS, Array, Metric
from lhc.samples.targets import are_answers

__all__ = ["metric_without_targets", "shows_classes"]


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
