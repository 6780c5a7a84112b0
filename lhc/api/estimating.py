"""How long a command will take, found by timing a small piece of its work."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from lhc.errors import UsageError
from lhc.measure import HERE, Execution, RankingMethod, check_method, ranking_metric, split_task
from lhc.measure.data import DataSource
from lhc.measure.estimating import Estimate, Step, evaluation_step, ranking_steps
from lhc.opening import ModelSource
from lhc.passes import STRATEGIES, Select
from lhc.plan import Plan
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, Work, prepare, prepare_run

__all__ = ["estimate"]

REPAIRS = 8
"""Placements that a search may try after its bisection."""


def estimate(
    command: Literal["sensitivity", "partition", "run"],
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    hardware: HardwareSource | None = None,
    t_inference: float | None = None,
    times: Sequence[float] | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    strategy: str = "sensitivity",
    method: RankingMethod = "auto",
    half_width: float | None = None,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    follow: Plan | None = None,
    execution: Execution = HERE,
) -> Estimate:
    """How much work a command has, how much of it the log of results holds, and how long the rest will take.

    The figure is for these options on this machine as busy as it is now. How many placements a search judges depends on
    what it finds; the most that a bisection and its repair need is taken, each as costly as all layers together.

    Args:
        command: whose work; other arguments are those of `sensitivity`, `partition` and `evaluate`.
        model: the network.
        data: samples, targets if the metric needs them.
        metric: of the command.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read.
        times: of ``run``.
        placement: of ``run``.
        strategy: of ``partition``.
        method: how sensitivities are found.
        half_width: of ``sensitivity``.
        samples: use the first so many.
        draws: programmings per placement.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at.
        follow: of ``partition``: a plan that is verified instead of searching one.
        execution: processes, memory, and where results are kept.
    """
    check_method(method)
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    with execution.start() as running:
        request = Request(
            model,
            data,
            metric="kl" if command == "sensitivity" and metric is None else metric,
            higher_is_better=higher_is_better,
            output=output,
            hardware=hardware if follow is None else follow.hardware,
            samples=samples,
            draws=draws,
            seed=seed,
            label_key=label_key,
            selection=selection,
            follow=follow,
            running=running,
        )
        steps: list[Step] = []
        if command == "run":
            work, analog, at = prepare_run(request, placement, times)
            steps.append(evaluation_step(work.bench(work.task), [analog], "measuring the placement", at))
            layers = len(analog)
        else:
            work = prepare(request, t_inference)
            layers = len(work.measurable)
            if work.measurable and command == "sensitivity":
                bench = work.bench(work.task if metric is not None else work.ranking_task())
                steps += ranking_steps(bench, work.graph, work.measurable, method, half_width)
            elif work.measurable:
                steps += _partition_steps(work, strategy, method)
        return Estimate(layers, len(work.task), draws, tuple(steps), running.workers.count)


def _partition_steps(work: Work, strategy: str, method: RankingMethod) -> list[Step]:
    splits = split_task(work.task)
    select, verify = work.bench(splits.select), work.bench(splits.verify)
    everything = frozenset(work.measurable)
    judged = evaluation_step(verify, [everything], "verifying")
    if work.request.follow is not None:
        return [judged]
    steps: list[Step] = []
    if STRATEGIES[strategy].needs_sensitivity:
        metric = ranking_metric(verify.example_output)
        bench = work.bench(splits.rank.with_metric(metric))
        steps += ranking_steps(bench, work.graph, work.measurable, method)
    placements = _placements(strategy, len(work.graph.tied(work.measurable)))
    if placements:
        one = evaluation_step(select, [everything], f"searching, at most {placements} placements")
        steps.append(replace(one, units=placements * one.units, kept=0, seconds=placements * one.seconds))
    return [*steps, judged]


def _placements(strategy: str, groups: int) -> int:
    """Most placements that a search asks about."""
    if strategy in ("all-analog", "all-digital", "first-last"):
        return 0
    return groups if strategy == "lionheart" else math.ceil(math.log2(groups + 1)) + 1 + REPAIRS
