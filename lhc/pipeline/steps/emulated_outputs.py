"""Outputs of the mapped network."""

import logging
from collections.abc import Sequence

import numpy as np

from lhc.errors import DataError
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.samples.targets import counts_samples
from lhc.support.number_formatting import time_text

log = logging.getLogger("lhc")


def emulated_outputs(state: PreparedNetwork, analog: frozenset[str], at: Sequence[float]) -> dict[str, np.ndarray]:
    """Output name -> ``(samples, ...)``, or ``(draws, samples, ...)`` with more than one draw.

    Args:
        at: times of inference, in seconds; with more than one the names are ``NAME@T``.

    Raises:
        DataError: no output counts samples.
    """
    draws = state.options.draws
    evaluator = state.evaluator(state.task)
    result: dict[str, np.ndarray] = {}
    for t in at:
        blocks: list[list[list[np.ndarray]]] = [[] for _ in range(draws)]
        sizes: list[int] = []
        for draw, where, outputs in evaluator.outputs(analog, range(draws), f"after {time_text(t)}", t):
            blocks[draw].append(outputs)
            sizes += [where.stop - where.start] if draw == 0 else []
        for index, name in enumerate(state.graph.outputs):
            parts = [[outputs[index] for outputs in blocks[draw]] for draw in range(draws)]
            if not all(counts_samples(part, size) for chip in parts for part, size in zip(chip, sizes, strict=True)):
                log.warning("output %r is left out: none of its axes is known to count samples (--sample-axis)", name)
                continue
            if len({part.shape[1:] for chip in parts for part in chip}) > 1:
                log.warning("output %r is left out: its shape differs from call to call", name)
                continue
            stacked = np.stack([np.concatenate(chip) for chip in parts])
            result[name if len(at) == 1 else f"{name}@{t:g}"] = stacked[0] if draws == 1 else stacked
    if not result:
        raise DataError(
            f"{state.model.label}: no output counts samples, so there is none to keep for all of them; say which axis"
            " does (--sample-axis); lhc.HybridSession gives the outputs of one call as they are"
        )
    return result
