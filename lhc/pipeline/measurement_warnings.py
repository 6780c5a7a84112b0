"""Warnings about measurements, told to the logger ``lhc``."""

import logging
import math
from dataclasses import replace

import numpy as np

from lhc.costs.crossings import held_elements
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure.budget_test import Budget
from lhc.measure.evaluator import PlacementEvaluator
from lhc.onnx_model import OnnxModel
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.plan import Outcome, Plan
from lhc.results import Verdict
from lhc.runtime.onnxruntime.batched_calls import calibration_count, call_samples
from lhc.samples.metrics import IGNORED, METRICS, Array, shows_classes
from lhc.samples.targets import are_answers
from lhc.stats import chance_of_difference, samples_needed
from lhc.support.number_formatting import counted, counted_samples, metric_value, share_text

log = logging.getLogger("lhc")

LIBRARIES = 900 * 2**20
"""Bytes of a process with torch, onnxruntime and compiled loops: 490 to 550 MiB with a torch for processors alone, 800
with one for CUDA were measured."""
UNLIKELY = 1e-4
"""Chance below which two values of one digital network are not put down to the choice of samples."""
LEAST_WON = 1 / 3
"""Of what the most frequent class leaves to be won, the share below which a network is asked about."""
LOOKED_AT = 256
"""Samples whose accuracy is asked about under another metric, and targets that are squared at once."""
WON_BY_NOISE = 0.01
"""Share of the digital value up to which healing may truly improve answers."""
TIMES_WORSE = 3.0
"""Ratio of errors from which on samples can hardly be of one kind."""
STANDARD_ERRORS = 3.9
"""Of a difference of means, beyond which less than `UNLIKELY` of a normal distribution lies, on both sides."""


def on_engine(name: str, why: str, gpu: str | None) -> str:
    """Note on the engine that computes: its name, the reason for it, and its device."""
    where = "the processor" if gpu is None else f"{gpu}; lhc was tested without a GPU"
    return f"the engine {name} computes products, {why}, on {where}"


def warn_of_gpu(opened: LoadedModel) -> None:
    """Say so where trainings compute on a GPU."""
    from lhc.runtime.torch_settings import gpu_name

    name = gpu_name()
    if name is not None:
        opened.warn(f"training computes on {name}, where that runs the whole network; lhc was tested without a GPU")


def beyond_memory(model: OnnxModel, graph: LayerGraph, machine: Hardware, samples: int, memory: int) -> str | None:
    """Warning that a process takes more than a memory in bytes, whatever it keeps; None where it does not.

    That is libraries; four times the weights, which a search stays below, for the network, a session of it, one chip,
    gradients or what a session copies while it is made; and what one call of the network, or the calibration of a chip,
    holds of its tensors.

    Args:
        samples: how many there are.
    """
    weights = sum(4 * math.prod(tensor.dims) for tensor in model.proto.graph.initializer)
    together = call_samples(graph)
    if machine.corrects_outputs:
        together = max(together, calibration_count(graph, machine.compensation))
    together = min(together, samples)
    tensors = 4 * held_elements(graph) * together
    needed = LIBRARIES + 4 * weights + tensors
    if needed <= memory:
        return None
    return (
        f"--memory {memory / 2**20:,.0f} MiB is less than a process of this command needs, about"
        f" {needed / 2**20:,.0f} MiB: libraries {LIBRARIES / 2**20:,.0f}, four times the weights"
        f" {4 * weights / 2**20:,.0f}, tensors of {counted(together, 'sample')} {tensors / 2**20:,.0f}; --memory bounds"
        " only what it keeps beside these for later (chips, answers)"
    )


def warn_of_nothing_analog(opened: LoadedModel, analog: frozenset[str], stored: Plan | None) -> None:
    """Say so where figures are the digital network's; ``stored``: the placement that the user gave or the file has."""
    if not analog:
        makes = "'lhc partition' makes one, --all-analog takes every layer"
        none = "" if stored is not None else f": it carries no placement ({makes})"
        opened.warn(f"no layer is analog, so neither time nor noise changes anything{none}")


def warn_of_few_samples(verify: PlacementEvaluator, budget: Budget) -> None:
    """Say so before measuring when the samples cannot show that the budget holds for other samples too.

    For shares only. The assumption: three times as many samples change between right and wrong as the budget allows to
    be lost, at least one in a hundred and at most all.
    """
    if not verify.metric.percent or budget.max_drop == 0:
        return
    drop = budget.max_drop * (verify.baseline if budget.relative else 1)
    changed = min(max(3 * drop, 0.01), 1)
    needed = samples_needed(drop, changed, budget.confidence)
    documents = verify.task.document_count
    count, what = (verify.samples, "samples") if documents is None else (documents, "documents")
    if count < needed:
        if budget.generalize:
            told = f"--generalize: {count} {what} may be too few to decide for others of their kind:"
        else:
            told = f"the verdict is for these {count} {what}; to decide for others of their kind too (--generalize)"
        log.warning(
            "%s about %s may be needed, if tiles change %s of the answers, as often for better as for worse",
            told,
            f"{needed:,}",
            share_text(changed),
        )


def warn_of_other_samples(verdict: Verdict, budget: Budget) -> None:
    """Say so when an accepted placement is not shown to hold the budget for other samples."""
    interval = verdict.evaluation.sample_interval
    if verdict.accepted and not budget.generalize and (interval is None or interval[1] > budget.max_drop):
        log.warning(
            "the budget is met for these samples; for others of their kind that is not shown (--generalize decides for"
            " them)"
        )


def warn_of_wrong_direction(verdict: Verdict, budget: Budget) -> None:
    """Ask whether a function's direction is meant where noise is shown to improve the answers by far.

    Noise hardly improves a network for samples of a kind. Healing can by a little, on the samples at hand: digits won
    0.2 points on average, in an interval over samples that holds 0. So the whole of that interval must lie below 0, by
    more than a hundredth of the digital value; a mean absolute error taken for a score lay from -10 to -2.4 %. Metrics
    that lhc knows come with their direction.
    """
    found = verdict.evaluation
    interval = found.sample_interval or found.drop_interval
    if found.metric in METRICS or interval is None:
        return
    if interval[1] >= -WON_BY_NOISE * (1 if budget.relative else abs(found.baseline)):
        return
    said, other = ("higher", "lower") if found.higher_is_better else ("lower", "higher")
    log.warning(
        "noise of analog layers improves %s from %s to %s, if it is better when %s as was said; is it better when %s"
        " (--%s-is-better)?",
        found.metric,
        metric_value(found.baseline, False),
        metric_value(found.mean, False),
        said,
        other,
        other,
    )


def warn_of_other_digital(evaluator: PlacementEvaluator, outcome: Outcome) -> None:
    """Say so where the digital network does otherwise than where it was placed, beyond what other samples make.

    For shares of samples (accuracy, top5), and for errors that are means over samples; of documents, these are what is
    drawn.
    """
    found, placed = evaluator.baseline, outcome.baseline
    if evaluator.metric.name != outcome.metric:
        return
    difference = "hardly make such a difference"
    if evaluator.metric.name in ("accuracy", "top5"):
        drawn = evaluator.task.document_count or evaluator.samples, outcome.documents or outcome.samples
        differs = chance_of_difference(found, drawn[0], placed, drawn[1]) < UNLIKELY
        difference = f"make such a difference in less than one of {1 / UNLIKELY:,.0f} cases"
    else:
        differs = _far_worse(evaluator, outcome)
    if differs:
        log.warning(
            "the digital network has %s of %s on these %s, and had %s on the %s that its placement was judged on;"
            " samples of one kind %s: are these scaled and normalised as those were, and of the same kind?",
            metric_value(found, evaluator.metric.percent),
            evaluator.metric.name,
            counted_samples(evaluator.samples, evaluator.task.document_count),
            metric_value(placed, evaluator.metric.percent),
            counted_samples(outcome.samples, outcome.documents),
            difference,
        )


def _far_worse(evaluator: PlacementEvaluator, outcome: Outcome) -> bool:
    """Whether an error is some times that of the placement, and by more than its spread over samples explains.

    The spread is that of these samples alone: a plan keeps none. So only what is worse can be told, where it is wide.
    """
    scores, placed = evaluator.digital_score, outcome.baseline
    if (
        isinstance(scores, float)
        or evaluator.metric.higher_is_better
        or not evaluator.baseline > TIMES_WORSE * placed >= 0
    ):
        return False
    drawn = evaluator.task.document_count or evaluator.samples, outcome.documents or outcome.samples
    if drawn[0] < 2:
        return False
    error = float(np.std(scores, ddof=1)) * math.sqrt(1 / drawn[0] + 1 / drawn[1])
    return evaluator.baseline - placed > STANDARD_ERRORS * error


def warn_of_doubtful_labels(evaluator: PlacementEvaluator) -> None:
    """Say so when labels, inputs and network do not seem to belong together, or are those that it was trained on.

    Under ``miou`` and functions of the user's that is asked of the accuracy of a few samples, where these show classes.
    """
    metric, labels = evaluator.metric, evaluator.task.targets
    if labels is not None and metric.name == "mse":
        caution = doubts_of_error(evaluator.baseline, labels)
        if caution is not None:
            log.warning("%s", caution)
        return
    own = metric.name not in METRICS and metric.classes is not False
    if labels is None or labels.dtype.kind not in "iu" or not (own or metric.name in ("accuracy", "miou")):
        return
    if metric.name != "accuracy":
        counted = np.flatnonzero((labels != IGNORED).reshape(len(labels), -1).any(axis=1))[:LOOKED_AT]
        if not counted.size:
            return
        task = evaluator.task.take(counted).with_metric(METRICS["accuracy"])
        labels, evaluator = labels[counted], replace(evaluator, task=task, against="as given")
    output = evaluator.example_output
    answers = are_answers(output, labels)
    fits = answers or (labels.shape[1:] == output.shape[1:-1] and shows_classes(output, labels))
    if metric.name != "accuracy" and not fits:
        return
    classes = len(np.unique(labels[labels != IGNORED])) if answers else output.shape[-1]
    caution = doubts(evaluator.baseline, labels, classes)
    if caution is not None:
        log.warning("%s", caution)


def doubts(accuracy: float, labels: Array, classes: int) -> str | None:
    """Doubt about labels from the accuracy of the digital network; None where there is no doubt.

    Inputs on another scale than in training mostly leave a network at the level of chance. Missing normalisation alone
    left ResNet20 at 35 % of 91 %; so where one label a sample is to be found, a network is asked about that wins less
    than a third of what always answering the most frequent class leaves to be won. With a label for every position
    (pixels, words), one is that wins nothing of it: many good ones win little.

    Args:
        labels: class indices, ``(samples, ...)``; `IGNORED` ones do not count.
    """
    if accuracy == 1:
        return (
            f"the digital network is right on all {len(labels)} samples: was it trained on them, or did it give the"
            " labels itself? Such samples do not show what analog layers cost on others"
        )
    what = "samples" if labels.ndim == 1 else "labels"
    values, counts = np.unique(labels[labels != IGNORED], return_counts=True)
    constant, most = counts.max() / counts.sum(), values[counts.argmax()]
    if accuracy <= 1 / classes:
        beside = f"no better than chance for {classes} classes"
    elif accuracy <= constant + (1 - constant) * (LEAST_WON if labels.ndim == 1 else 0):
        beside = f"where always answering class {most} is right on {share_text(constant)}"
    else:
        return None
    return (
        f"the digital network is right on {share_text(accuracy)} of the {what}, {beside}. Are the inputs scaled and"
        " normalised as in training? Do the labels count the classes as the network does?"
    )


def doubts_of_error(error: float, targets: Array) -> str | None:
    """Doubt about targets from the mean squared error of the digital network; None where there is no doubt.

    It is compared with a constant answer, the mean of the targets at every position: whoever does no better has learnt
    nothing, or is given inputs or targets on another scale than in training. Each mean leaves out the sample that it is
    compared with, else those of few samples would be good answers. Targets that are all alike leave nothing to learn.

    Args:
        targets: ``(samples, ...)``, as the output has them.
    """
    count = len(targets)
    mean = targets.mean(axis=0, dtype=np.float64)
    blocks = (targets[start : start + LOOKED_AT] for start in range(0, count, LOOKED_AT))
    spread = sum(float(np.square(block - mean).sum()) for block in blocks) / targets.size
    if count < 2 or spread == 0:
        return None
    constant = spread * (count / (count - 1)) ** 2
    if error < constant:
        return None
    return (
        f"the digital network has an mse of {metric_value(error, False)}, no better than always answering the mean of"
        f" the targets, which has {metric_value(constant, False)}. Are inputs and targets scaled and normalised as in"
        " training?"
    )
