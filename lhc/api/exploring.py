"""The whole trade-off of a network, and a placement under other conditions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from lhc.api.start import Objective, budget_of, budget_of_plan, ranked, search_options
from lhc.errors import UsageError
from lhc.exploration import Attribution, Front, Robustness
from lhc.measure import (
    HERE,
    TIMES_S,
    Execution,
    Progress,
    RankingMethod,
    check_method,
    measure_attribution,
    measure_robustness,
    silent,
    split_task,
)
from lhc.measure.cautions import warn_of_doubtful_labels
from lhc.measure.data import DataSource
from lhc.measure.front import measure_front
from lhc.measure.judge import Drop
from lhc.metrics import METRICS
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.passes import Goal, Select
from lhc.plan import Plan
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, prepare, prepare_run
from lhc.stats import CONFIDENCE, check_confidence

__all__ = ["attribute", "pareto", "robustness"]


def pareto(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    objective: Objective = "macs",
    max_tiles: int | None = None,
    max_latency: float | None = None,
    max_energy: float | None = None,
    group: Sequence[str] = (),
    points: int = 12,
    confidence: float = CONFIDENCE,
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    method: RankingMethod = "auto",
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    progress: Progress = silent,
    execution: Execution = HERE,
) -> Front:
    """The front of accuracy against an objective; its intervals hold together.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: of the verification; as in `partition`.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; the first by default.
        objective: ``macs`` (most on tiles), ``latency`` or ``energy`` (least).
        max_tiles: most tiles in use.
        max_latency: greatest latency of a sample, in seconds.
        max_energy: greatest energy of a sample, in joules.
        group: what moves together, as in `partition`.
        points: to verify.
        confidence: two-sided level of all intervals together.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        method: how sensitivities are found, as in `partition`.
        samples: use the first so many.
        draws: programmings per placement, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at and which are fixed.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    check_confidence(confidence)
    check_method(method)
    if points < 2:
        raise UsageError(f"--points must be at least 2, got {points}")
    goal = Goal(objective, max_tiles, max_latency, max_energy)
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
            progress=progress,
            running=running,
        )
        work = prepare(request, t_inference)
        splits = split_task(work.task)
        verify = work.bench(splits.verify)
        warn_of_doubtful_labels(verify)
        if work.plan.eligible:
            work, _ = ranked(work, splits.rank, verify, method)
        options = search_options(work, goal, group)
        return measure_front(work.graph, work.plan, options, verify, splits.held_out, points, confidence=confidence)


def robustness(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    max_drop: Drop | None = None,
    drop_type: Literal["absolute", "relative"] | None = None,
    confidence: float = CONFIDENCE,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    chips: int = 50,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    progress: Progress = silent,
    execution: Execution = HERE,
) -> Robustness:
    """How a placement does over time, over many chips, and over noise scaled up and down until it fails.

    Args:
        model: the network, with its placement in its annotations.
        data: samples, targets if the metric needs them.
        metric: that of the annotations by default, else as in `partition`.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; that of the annotations by default, else the first.
        max_drop: the budget; that of the annotations by default, else a zoo entry's own, else 0.01.
        drop_type: ``absolute`` or ``relative``; that of the annotations by default.
        confidence: two-sided level of the intervals.
        hardware: that of the annotations by default, else ``lionheart``.
        placement: the annotations' by default.
        times: seconds after the first read; from 0 to ten years by default.
        chips: programmings for the spread over chips.
        samples: use the first so many.
        draws: programmings for times and noise, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    check_confidence(confidence)
    if chips < 2 or draws < 2:
        raise UsageError("--chips and --draws must be at least 2: one chip says nothing of others")
    opened = open_model(model, data, label_key)
    stored = placement if isinstance(placement, Plan) else read_plan(opened.model)
    outcome = None if stored is None else stored.outcome
    if outcome is not None and max_drop is None:
        budget = budget_of_plan(outcome, metric, drop_type, confidence)
    else:
        kind = drop_type or ("absolute" if outcome is None else outcome.drop_type)
        budget = budget_of(max_drop, kind, confidence, False, opened)
    with execution.start() as running:
        request = Request(
            opened,
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
        work, analog, at = prepare_run(request, placement, None)
        t_s = outcome.t_s if outcome is not None and hardware is None else at[0]
        machine = work.plan.hardware
        known = [t for t in TIMES_S if machine.devices is None or machine.devices.time_problem(t) is None]
        asked = list(times) if times is not None else known
        for t in asked:
            machine.check_time(t)
        bench = replace(work.bench(work.task), t_s=t_s)
        if outcome is not None and max_drop is None:
            budget_of_plan(outcome, work.task.metric.name, drop_type, confidence)
        budget.check(bench)
        warn_of_doubtful_labels(bench)
        return measure_robustness(bench, work.graph, analog, budget, asked, chips)


def attribute(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    hardware: HardwareSource | None = None,
    t_inference: float | None = None,
    confidence: float = CONFIDENCE,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    progress: Progress = silent,
    execution: Execution = HERE,
) -> Attribution:
    """Where the damage of every eligible layer comes from; arguments are those of `sensitivity`.

    Hardware, time and output are those of the annotations by default, where the model has any; layers are measured in
    what they are ranked by under the annotations' metric.
    """
    check_confidence(confidence)
    opened = open_model(model, data, label_key)
    plan = read_plan(opened.model)
    outcome = None if plan is None else plan.outcome
    stored = plan if hardware is None else None
    if hardware is None:
        hardware = "lionheart" if stored is None else stored.hardware
    if t_inference is None and stored is not None and stored.outcome is not None:
        t_inference = stored.outcome.t_s
    with execution.start() as running:
        request = Request(
            opened,
            data,
            metric=metric,
            higher_is_better=higher_is_better,
            output=output or (None if outcome is None else outcome.output),
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
        judged_by = None if outcome is None else METRICS.get(outcome.metric)
        task = work.task if metric is not None else work.ranking_task(judged_by)
        found = measure_attribution(work.bench(task), work.graph, work.measurable, confidence)
    return replace(found, titles=work.plan.titles)
