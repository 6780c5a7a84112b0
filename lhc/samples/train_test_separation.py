"""Samples that train, and those that calibrate, kept apart from samples that judge."""

import logging
from collections.abc import Iterator, Mapping
from hashlib import sha256

import numpy as np

from lhc.errors import DataError, UsageError
from lhc.samples.class_order import mixed_places, stratified_order
from lhc.samples.splits import documents_in_order
from lhc.samples.task import Array, Indices, Samples, Task, content_bytes
from lhc.support.number_formatting import counted

COMPARED_SAMPLES = 256
"""Samples whose sizes are compared between training and judging, and which are looked for in the others."""
MOST_SHARED, FEW_SHARED = 0.5, 0.01
"""Share of them that may be in the training data: more are refused, and warned of. Some data holds a sample twice."""
OTHER_SCALE = 3.0
"""Ratio of sizes from which on they can hardly be samples of one kind."""

LEAST_OF_PARTS = 10
"""Samples that are split, by the parts they are split into."""

log = logging.getLogger("lhc")


def check_separation(training: Task, judging: Task) -> None:
    """Refuse to judge on the samples that are trained on; warn of some of them, and of samples on another scale.

    Raises:
        UsageError: they are the same, or most of those that judge are trained on.
    """
    shared = _share_within(judging, training)
    if shared > MOST_SHARED:
        raise UsageError(
            "most of the samples that judge are among those that train, so the network would look better than it is."
            " Give different samples to each, or only one file, which lhc splits"
        )
    if shared > FEW_SHARED:
        log.warning(
            "%.0f %% of the samples that judge are in the training data too: the network may look better than it is",
            100 * shared,
        )
    for name in sorted(judging.inputs.keys() & training.inputs.keys()):
        judges, trains = _size(judging.inputs[name]), _size(training.inputs[name])
        if max(judges, trains) > OTHER_SCALE * min(judges, trains):
            log.warning(
                "input %r has a root mean square of %.3g in the training data and of %.3g in the data that judges. Are"
                " both preprocessed as the network wants it?",
                name,
                trains,
                judges,
            )


def check_calibration_separation(calibrating: Task, judging: Task) -> None:
    """Refuse to judge chips on samples that they are calibrated on; warn of some of them.

    Raises:
        UsageError: most of those that calibrate are among those that judge, or the other way round.
    """
    parts = {
        "samples that calibrate chips are among those that judge them": _share_within(calibrating, judging),
        "samples that judge chips are among those that calibrate them": _share_within(judging, calibrating),
    }
    told, shared = max(parts.items(), key=lambda part: part[1])
    if shared > MOST_SHARED:
        raise UsageError(
            f"most of the {told}: chips would look better than they are; leave --calibrate out, and some of --data are"
            " set aside for it"
        )
    if shared > FEW_SHARED:
        log.warning("%.0f %% of the %s: they may look better than they are", 100 * shared, told)


def _share_within(some: Task, others: Task) -> float:
    """Share of some samples, evenly spread, whose inputs are among the others, wherever they are there."""
    names = sorted(name for name in some.inputs.keys() & others.inputs.keys() if some.inputs[name].ndim)
    if not names:
        return 0.0

    def rows(task: Task) -> Iterator[bytes]:
        for _, feeds in task.blocks(COMPARED_SAMPLES):
            arrays = {name: np.asarray(feeds[name]) for name in names}
            for row in range(len(arrays[names[0]])):
                pieces = _without_padding({name: np.asarray(array[row]) for name, array in arrays.items()})
                yield sha256(b"|".join(bytes(content_bytes(piece)) for piece in pieces)).digest()

    spread = np.linspace(0, len(some) - 1, min(len(some), COMPARED_SAMPLES)).astype(np.int64)
    looked = list(rows(some.take(spread)))
    found = set(looked).intersection(rows(others))
    return sum(row in found for row in looked) / len(looked)


def _without_padding(sample: Mapping[str, Array]) -> list[Array]:
    """Arrays of a sample; of a text without what fills it up, since another file may fill it up to another length."""
    tokens = sample.get("input_ids")
    if tokens is None or tokens.ndim != 1:
        return list(sample.values())
    counted = np.flatnonzero(sample.get("attention_mask", tokens))
    length = int(counted[-1]) + 1 if counted.size else 0
    return [array[:length] if array.shape == tokens.shape else array for array in sample.values()]


def _size(array: Samples) -> float:
    """Root mean square of the first samples; 0 for what are no real numbers."""
    some = np.asarray(array[:COMPARED_SAMPLES] if array.ndim else array)
    return float(np.sqrt(np.mean(np.square(some, dtype=np.float64)))) if some.dtype.kind == "f" else 0.0


def split_off(task: Task, training: int, parts: int) -> tuple[Task, Task]:
    """Samples for training, and the others, as `places_apart` deals them.

    Raises:
        DataError: there are too few samples to split.
    """
    train, judge = places_apart(task, training, parts)
    return task.take(train), task.take(judge)


def places_apart(task: Task, training: int, parts: int) -> tuple[Indices, Indices]:
    """Places of samples for training, and of the others, by a fixed permutation that is stratified by label.

    Documents stay whole where there are as many as parts; else their samples are dealt, and a warning says so.

    Args:
        training: parts that train.
        parts: of how many.

    Raises:
        DataError: there are too few samples to split.
    """
    least = LEAST_OF_PARTS * parts
    if len(task) < least:
        raise DataError(
            f"{len(task)} samples are too few to split them into training and judging; give at least {least}"
        )
    documents = task.document_count
    if documents is not None and documents >= parts:
        shares = [(number % parts < training, one) for number, one in enumerate(documents_in_order(task))]
        kinds = (np.sort(np.concatenate([one for trains, one in shares if trains is kind])) for kind in (True, False))
        train, judge = kinds
        return train, judge
    if documents is not None:
        log.warning(
            "%s cannot be split into %d parts, so of one document parts train and others judge: the network may look"
            " better than it is",
            counted(documents, "document"),
            parts,
        )
    order = stratified_order(task)
    trains = np.arange(len(order)) % parts < training
    return mixed_places(task, order[trains]), mixed_places(task, order[~trains])
