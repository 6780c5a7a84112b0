"""Curvatures for HILAL from one batch of the samples; formulas in `lhc.passes.strategies.hilal`.

As published, to compare with: it knows neither the tiles nor copies of weights nor the calibration of chips. What it
places is verified with all of them.
"""

from collections.abc import Sequence

import numpy as np

from lhc.errors import UsageError
from lhc.measure.evaluator import PlacementEvaluator
from lhc.passes import Curvature
from lhc.samples.targets import beyond_classes

__all__ = ["BATCH", "curvatures"]

BATCH = 128
"""Samples that curvatures are taken on, as in HILAL's published settings."""
WEIGHT_NOISE = 0.08


def curvatures(evaluator: PlacementEvaluator, names: Sequence[str]) -> dict[str, Curvature]:
    """Curvatures of the layers, by name.

    Args:
        evaluator: samples with class labels.

    Raises:
        UsageError: there are no class labels.
        UnsupportedOperatorError: the network has operators without a gradient.
    """
    from lhc.runtime.gradients.curvature import loss_curvatures

    targets = evaluator.task.targets
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise UsageError("strategy 'hilal' takes the curvature of the cross-entropy: it needs class labels")
    where, feeds = next(evaluator.task.blocks(BATCH))
    labels = np.asarray(targets[where])
    classes = evaluator.example_output.shape[-1]
    if not 0 <= labels.min() <= labels.max() < classes:
        beyond = beyond_classes(int(labels.min()), int(labels.max()), classes, ignoring=False)
        raise UsageError(f"strategy 'hilal' takes the curvature of the cross-entropy: the {beyond}")
    layout = evaluator.task.layout
    axis, taken, tensor = layout.of_output(evaluator.output_name), layout.feeds(feeds), evaluator.context.scored_tensor
    found = loss_curvatures(evaluator.model, evaluator.graph, names, taken, labels, tensor, evaluator.seed, axis)
    return {
        name: Curvature(
            0.5 * (WEIGHT_NOISE * one.largest) ** 2 * one.trace / one.parameters, one.eigenvalue / one.trace
        )
        if one.trace > 0
        else Curvature(0.0, 0.0)
        for name, one in found.items()
    }
