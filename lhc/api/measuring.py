"""How much damage single layers do, and what a placement is worth."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from lhc.errors import UsageError
from lhc.measure import HERE, Execution, Progress, RankingMethod, check_method, sensitivities, silent
from lhc.measure.cautions import warn_of_doubtful_labels
from lhc.measure.data import DataSource
from lhc.measure.scoring import counts_samples
from lhc.opening import ModelSource
from lhc.passes import Select
from lhc.plan import Plan
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, prepare, prepare_run
from lhc.results import Evaluation, SensitivityTable
from lhc.stats import CONFIDENCE, check_confidence
from lhc.tables import time_text

__all__ = ["analog_outputs", "evaluate", "sensitivity"]

log = logging.getLogger("lhc")


def sensitivity(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    half_width: float | None = None,
    method: RankingMethod = "auto",
    confidence: float = CONFIDENCE,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    progress: Progress = silent,
    execution: Execution = HERE,
) -> SensitivityTable:
    """Damage of every eligible layer when it alone is analog, on all samples given.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: in whose unit damage is measured; ``kl`` where the output is shown to hold classes, else ``nmse``.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; the first by default.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        samples: use the first so many.
        draws: programmings per layer, at least 2.
        half_width: stop a layer before that once its interval is within this share of its mean.
        method: ``measure``, ``fisher`` (predict from gradients), or ``auto`` (predict, check, measure if need be).
        confidence: two-sided level of the intervals.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    check_confidence(confidence)
    check_method(method)
    if half_width is not None and not half_width > 0:
        raise UsageError(f"--half-width must be above 0, got {half_width}")
    with execution.start() as running:
        request = Request(
            model,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=output,
            hardware=hardware,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=selection,
            ranks=True,
            progress=progress,
            running=running,
        )
        work = prepare(request, t_inference)
        task = work.task if metric is not None else work.ranking_task()
        table = sensitivities(work.bench(task), work.graph, work.measurable, method, confidence, half_width)
    return replace(table, titles=work.plan.titles)


def evaluate(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    label_key: str = "labels",
    progress: Progress = silent,
    execution: Execution = HERE,
) -> list[Evaluation]:
    """Value of a placement at one or more times after programming, on all samples given.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: that of the annotations by default, else as in `lhc.partition`.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; that of the annotations by default, else the first.
        hardware: that of the annotations by default, else ``lionheart``.
        placement: the model's annotations by default (all digital where there are none).
        times: seconds after the first read; the hardware's own by default.
        samples: use the first so many.
        draws: programmings.
        confidence: two-sided level of the intervals.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    check_confidence(confidence)
    with execution.start() as running:
        request = Request(
            model,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=output,
            hardware=hardware,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=EVERYTHING,
            progress=progress,
            running=running,
        )
        work, analog, at = prepare_run(request, placement, times)
        bench = work.bench(work.task)
        warn_of_doubtful_labels(bench)
        return [bench.evaluate(analog, what=f"after {time_text(t)}", t_s=t, confidence=confidence) for t in at]


def analog_outputs(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    samples: int | None = None,
    draws: int = 1,
    seed: int = 0,
    label_key: str = "labels",
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """All outputs of the mapped network.

    Returns:
        Output name -> ``(samples, ...)``, or ``(draws, samples, ...)`` with more than one draw; with more than one
        time the names are ``NAME@T``, T in seconds. Scalars and outputs that are no tensors are left out, with a
        warning. Arguments are those of `evaluate`.
    """
    request = Request(
        model,
        data,
        metric="nmse",  # scores nothing here, and takes any output and targets
        hardware=hardware,
        samples=samples,
        draws=draws,
        seed=seed,
        label_key=label_key,
        progress=progress,
    )
    work, analog, at = prepare_run(request, placement, times)
    bench = work.bench(work.task)
    result: dict[str, np.ndarray] = {}
    for t in at:
        blocks: list[list[list[np.ndarray]]] = [[] for _ in range(draws)]
        sizes: list[int] = []
        for draw, where, outputs in bench.outputs(analog, range(draws), f"after {time_text(t)}", t):
            blocks[draw].append(outputs)
            sizes += [where.stop - where.start] if draw == 0 else []
        for index, name in enumerate(work.graph.outputs):
            parts = [[outputs[index] for outputs in blocks[draw]] for draw in range(draws)]
            if not all(counts_samples(part, size) for chip in parts for part, size in zip(chip, sizes, strict=True)):
                log.warning("output %r is left out: its first axis does not count samples", name)
                continue
            stacked = np.stack([np.concatenate(chip) for chip in parts])
            result[name if len(at) == 1 else f"{name}@{t:g}"] = stacked[0] if draws == 1 else stacked
    return result
