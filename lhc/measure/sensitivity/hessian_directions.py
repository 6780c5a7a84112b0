"""Random directions at the scored output that have the second derivative of the metric as their covariance.

See `lhc.measure.sensitivity.fisher_prediction` for what they are for.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lhc.measure.evaluation_context import Block, WorkContext
from lhc.runtime.onnxruntime.sessions import check_digital
from lhc.samples.class_probabilities import LEAST_PROBABILITY, are_probabilities, classes_last
from lhc.samples.metrics import Array
from lhc.samples.targets import counted_positions

__all__ = ["DIRECTIONS", "directions_at", "output_directions"]

DIRECTIONS = 2
"""Directions at the output per sample. ResNet20, 256 images: figures of layers vary by 2.4 % from seed to seed; by 8 %
with four random ones, and by more with classes drawn from the output."""
PIECE_VALUES = 2**21
"""Values of an output that directions are worked out of at once."""

Floats = npt.NDArray[np.float64]


def directions_at(context: WorkContext, block: Block) -> Callable[[Array], Array]:
    """Directions at the output of some samples; each sample's are its own, whatever block it is in."""

    def towards(output: Array) -> Array:
        check_digital(output, context.output)
        samples = range(block.first, block.first + block.samples)
        seeds = (np.random.SeedSequence(context.seed, spawn_key=(0, sample)) for sample in samples)
        laid_out = classes_last(output, context.class_axis)
        shape = (DIRECTIONS, *laid_out.shape[1:])
        drawn = [np.random.default_rng(seed).integers(0, 2, shape).astype(np.int8) for seed in seeds]
        signs = np.stack(drawn, axis=1) * np.int8(2) - np.int8(1)
        counted = counted_positions(laid_out, block.targets)
        found = output_directions(context.metric.name, laid_out, signs, counted)
        axis = context.class_axis
        return found if axis is None else np.ascontiguousarray(np.moveaxis(found, -1, axis + 1))

    return towards


def output_directions(metric: str, output: Array, signs: Array, counted: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Random directions v at an output with E[v vᵀ] the second derivative of the metric.

    Args:
        metric: ``kl`` or ``nmse``.
        output: digital, ``(samples, ...)``; for ``kl`` classes on the last axis, logits or probabilities.
        signs: ±1 at random, ``(directions, *output)``.
        counted: positions that count, ``(samples, ...)`` without the classes; all where that is None. Directions are 0
            at the others, and greater where fewer count.

    Returns:
        ``(directions, *output)``; the mean over directions of v vᵀ has that expectation.
    """
    if counted is not None:
        left = counted[..., None]
        directions: Floats = output_directions(metric, np.where(left, output, 0), signs) * left
        if metric == "kl":  # a mean over positions
            shares = counted.reshape(len(counted), -1).mean(axis=1)
            directions /= np.sqrt(shares.reshape(-1, *[1] * (output.ndim - 1)))
        return directions
    if metric == "nmse":
        values = output.astype(np.float64)
        energy = np.square(values.reshape(len(values), -1)).sum(axis=1)
        scale = np.sqrt(2 / np.where(energy > 0, energy, 1.0))
        scaled: Floats = signs * scale.reshape(-1, *[1] * (output.ndim - 1))
        return scaled
    shares = are_probabilities(output.astype(np.float64), output)
    rows, own = output.reshape(-1, output.shape[-1]), signs.reshape(len(signs), -1, output.shape[-1])
    found = np.empty(own.shape)
    for start in range(0, len(rows), step := max(1, PIECE_VALUES // output.shape[-1])):
        part = slice(start, start + step)
        found[:, part] = _at_positions(rows[part].astype(np.float64), own[:, part], shares)
    found /= np.sqrt(int(np.prod(output.shape[1:-1])))
    return found.reshape(signs.shape)


def _at_positions(values: Floats, signs: Array, shares: bool) -> Floats:
    """Directions of ``kl`` at some positions, ``(directions, positions, classes)``; ``shares``: values add up to 1."""
    if not shares:
        p = np.exp(values - values.max(axis=-1, keepdims=True))
        return _towards_classes(p / p.sum(axis=-1, keepdims=True), signs)
    # Directions at log p, and from there to p.
    p = np.maximum(values, LEAST_PROBABILITY)
    found: Floats = np.where(
        values > LEAST_PROBABILITY, _towards_classes(p / p.sum(axis=-1, keepdims=True), signs) / p, 0.0
    )
    return found


def _towards_classes(p: Floats, signs: Array) -> Floats:
    """Directions at logits, ``(directions, ..., classes)``; the first lies between the two likeliest classes."""
    w = np.sqrt(p) * signs
    w -= p * w.sum(axis=-1, keepdims=True)
    count = len(signs)
    if count < 2:
        return w
    u = np.zeros_like(p)
    likeliest = np.argpartition(p, -2, axis=-1)[..., -2:]
    np.put_along_axis(u, likeliest, np.array([1.0, -1.0]), axis=-1)
    curved = p * (u - (p * u).sum(axis=-1, keepdims=True))
    size = np.maximum((u * curved).sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    # Positions are told apart by a sign: what they do to one another cancels in the mean.
    first = curved / np.sqrt(size) * signs[:1, ..., :1]
    rest = w[1:] - curved * ((u * w[1:]).sum(axis=-1, keepdims=True) / size)
    directions: Floats = np.concatenate([first, rest / np.sqrt(count - 1)]) * np.sqrt(count)
    return directions
