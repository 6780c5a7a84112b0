"""The whole trade-off of a network, and a placement under other conditions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from lhc.api.start import budget_of, budget_of_plan, goal_of, ranked, search_options
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
from lhc.measure.placing import verifying_chips
from lhc.metrics import METRICS
from lhc.onnx_io import read_plan
from lhc.opening import ModelSource, open_model
from lhc.passes import STRATEGIES, Goal, Objective, Select
from lhc.plan import Outcome, Plan
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
    objective: Objective | None = None,
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
        objective: ``energy``, ``latency`` (least) or ``macs`` (most on tiles); by default as in `partition`.
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
    goal = Goal(objective or "macs", max_tiles, max_latency, max_energy)
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
        options = search_options(work, goal_of(work, goal, objective, STRATEGIES["milp"]), group)
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
    confidence: float | None = None,
    hardware: HardwareSource | None = None,
    placement: Plan | Iterable[str] | Literal["all-analog"] | None = None,
    times: Sequence[float] | None = None,
    chips: int = 50,
    samples: int | None = None,
    draws: int | None = None,
    seed: int | None = None,
    label_key: str = "labels",
    progress: Progress = silent,
    execution: Execution = HERE,
) -> Robustness:
    """How a placement does over time, over many chips, and over noise scaled up and down until it fails.

    Samples, chips and level are those of the verification, where data and machine are those that the placement was
    verified with: at the machine's own noise the answer is then the same. Else it is said what differs.

    Args:
        model: the network, with its placement in its annotations.
        data: samples, targets if the metric needs them.
        metric: that of the annotations by default, else as in `partition`.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; that of the annotations by default, else the first.
        max_drop: the budget; that of the annotations by default, else a zoo entry's own, else 0.01.
        drop_type: ``absolute`` or ``relative``; that of the annotations by default.
        confidence: two-sided level of the intervals; that of the verification by default, else 0.9.
        hardware: that of the annotations by default, else ``lionheart``.
        placement: the annotations' by default.
        times: seconds after the first read; from 0 to ten years by default.
        chips: programmings for the spread over chips.
        samples: use the first so many.
        draws: programmings for times and noise, at least 2; as many as verified by default, else 10.
        seed: fixes devices and noise; that of the verification by default, else 0.
        label_key: key of the targets in the data.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    opened = open_model(model, data, label_key)
    stored = placement if isinstance(placement, Plan) else read_plan(opened.model)
    outcome = None if stored is None else stored.outcome
    as_placed = hardware is None and (placement is None or isinstance(placement, Plan))
    verified = outcome if as_placed else None
    level = CONFIDENCE if verified is None else verified.confidence
    level = check_confidence(level if confidence is None else confidence)
    draws = (DEFAULT_DRAWS if verified is None else verified.draws) if draws is None else draws
    seed = (0 if verified is None else verified.seed) if seed is None else seed
    if chips < 2 or draws < 2:
        raise UsageError("--chips and --draws must be at least 2: one chip says nothing of others")
    generalize = verified is not None and verified.generalized
    if outcome is not None and max_drop is None:
        budget = budget_of_plan(outcome, metric, drop_type, level, generalize)
    else:
        kind = drop_type or ("absolute" if outcome is None else outcome.drop_type)
        budget = budget_of(max_drop, kind, level, generalize, opened)
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
        same_samples = verified is not None and verified.data == work.task.digest
        bench = replace(work.bench(split_task(work.task).verify if same_samples else work.task), t_s=t_s)
        if outcome is not None and max_drop is None:
            budget_of_plan(outcome, work.task.metric.name, drop_type, level)
        budget.check(bench)
        warn_of_doubtful_labels(bench)
        first = 0 if verified is None else verifying_chips(verified.draws, verified.strategy == "plan").start
        found = measure_robustness(bench, work.graph, analog, budget, asked, chips, first)
        return found if verified is None else replace(found, differs=tuple(_differences(found, verified, same_samples)))


def _differences(found: Robustness, verified: Outcome, same_data: bool) -> Iterator[str]:
    """In what a measurement differs from the verification of the same placement, by what both came to."""
    here = next(one.evaluation for one in found.scales if one.scale == 1)
    if here.metric != verified.metric:
        yield f"{here.metric} instead of {verified.metric}"
    elif not same_data or (here.samples, here.baseline) != (verified.samples, verified.baseline):
        yield f"other samples ({here.samples} instead of {verified.samples})"
    elif found.drop_type == verified.drop_type and here.drop != verified.drop:
        yield f"other chips ({here.draws} of seed {here.seed})"
    if here.confidence != verified.confidence:
        yield f"a level of {100 * here.confidence:.3g} % instead of {100 * verified.confidence:.3g} %"


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
