"""Which layers become analog."""

from dataclasses import replace
from typing import Literal

from lhc.errors import OutOfTimeError, UsageError
from lhc.measure import (
    HERE,
    Budget,
    Execution,
    Progress,
    RankingMethod,
    check_method,
    place,
    ranking_metric,
    sensitivities,
    silent,
    split_task,
)
from lhc.measure.cautions import warn_of_chance, warn_of_few_samples, warn_of_other_samples
from lhc.measure.data import DataSource
from lhc.opening import ModelSource, Opened, open_model
from lhc.outcomes import PartitionResult
from lhc.passes import STRATEGIES, Select
from lhc.plan import Outcome, Plan, Sensitivity
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, Work, prepare
from lhc.results import SensitivityTable, Verdict
from lhc.stats import CONFIDENCE, check_confidence
from lhc.task import Task

__all__ = ["DEFAULT_MAX_DROP", "budget_of", "outcome_of", "partition"]

DEFAULT_MAX_DROP = 0.01


def partition(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    max_drop: float | None = None,
    drop_type: Literal["absolute", "relative"] = "absolute",
    confidence: float = CONFIDENCE,
    generalize: bool = False,
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    strategy: str = "sensitivity",
    method: RankingMethod = "auto",
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    follow: Plan | None = None,
    progress: Progress = silent,
    execution: Execution = HERE,
) -> PartitionResult:
    """Place every layer, analog where the accuracy that the user can afford to lose allows it.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: judges placements; accuracy where there are class labels, else agreement with the digital network.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; the first by default.
        max_drop: greatest mean drop over chips; a zoo entry's own, else 0.01.
        drop_type: ``absolute`` in the metric's unit, or ``relative`` to the baseline.
        confidence: two-sided level of the bounds that decide.
        generalize: decide by the interval over chips and samples, not over chips on these samples alone.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        strategy: how the analog set is found; see ``lhc.passes.strategies``.
        method: how sensitivities are found: ``measure``, ``fisher`` (predict from gradients), or ``auto`` (predict,
            check, measure if need be).
        samples: use the first so many.
        draws: programmings per placement, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at and which are fixed.
        follow: a plan, perhaps edited, whose placement is verified and written instead of searching one.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    check_method(method)
    opened = open_model(model)
    budget = budget_of(max_drop, drop_type, check_confidence(confidence), generalize, opened)
    if follow is not None:
        if selection != EVERYTHING:
            raise UsageError(
                "a plan says where every layer goes: --include, --exclude and --force-… cannot go with --plan"
            )
        hardware = follow.hardware
    notes: tuple[str, ...] = ()
    ranked: SensitivityTable | None = None
    with execution.start() as running:
        request = Request(
            opened,
            data,
            metric,
            higher_is_better,
            output,
            hardware,
            samples,
            draws,
            seed,
            label_key,
            selection,
            progress,
            follow,
            running,
        )
        work = prepare(request, t_inference)
        splits = split_task(work.task)
        select, verify = work.bench(splits.select), work.bench(splits.verify, limited=False)
        budget.check(verify)
        warn_of_chance(verify)
        warn_of_few_samples(verify, budget)
        if follow is not None:
            work = replace(work, plan=work.plan.with_sensitivities(_sensitivities(follow)))
        elif STRATEGIES[strategy].needs_sensitivity and work.plan.eligible:
            try:
                ranked = _ranked(work, splits.rank.with_metric(ranking_metric(verify.example_output)), method)
                work = replace(work, plan=work.plan.with_sensitivities(ranked.layers))
            except OutOfTimeError as error:
                strategy, notes = "all-digital", (*notes, str(error))
        found = place(work.graph, work.plan, strategy, select, verify, budget, again=follow is not None)
        warn_of_other_samples(found.verdict, budget)
        # Whoever edits a plan may have seen how it did on these samples.
        held_out = splits.held_out and follow is None
    outcome = outcome_of(found.verdict, budget, work, held_out, "plan" if follow is not None else strategy)
    final = found.plan.model_copy(update={"outcome": outcome})
    return PartitionResult(final, work.graph, work.model, (*work.notes, *notes, *found.notes), ranked)


def _ranked(work: Work, samples: Task, method: RankingMethod) -> SensitivityTable:
    """The sensitivities of all layers that may be analog, on the ranking samples.

    Raises:
        OutOfTimeError: the time was over before that.
    """
    table = sensitivities(work.bench(samples), work.graph, work.measurable, method)
    if len(table.layers) < len(work.measurable):
        done = f"{len(table.layers)} of {len(work.measurable)}"
        raise OutOfTimeError(f"--timeout: {done} layers were ranked, so none is analog; run again to go on")
    return table


def _sensitivities(plan: Plan) -> dict[str, Sensitivity]:
    return {layer.name: layer.sensitivity for layer in plan.layers if layer.sensitivity is not None}


def budget_of(max_drop: float | None, drop_type: str, confidence: float, generalize: bool, opened: Opened) -> Budget:
    """The budget of a user's options; a zoo model's own drop by default.

    Raises:
        UsageError: a drop that makes no sense.
    """
    if max_drop is None:
        max_drop = opened.entry.max_drop if opened.entry is not None else DEFAULT_MAX_DROP
    if not 0 <= max_drop < float("inf"):
        raise UsageError(f"--max-drop must be at least 0 and finite, got {max_drop}")
    if drop_type not in ("absolute", "relative"):
        raise UsageError(f"unknown drop type {drop_type!r}; choose absolute or relative")
    return Budget(max_drop, drop_type, confidence, generalize)  # type: ignore[arg-type]


def outcome_of(verdict: Verdict, budget: Budget, work: Work, held_out: bool, strategy: str) -> Outcome:
    """What a plan says about the verification of its placement."""
    found = verdict.evaluation
    within = sum(drop <= budget.max_drop for drop in found.drops)
    return Outcome(
        metric=found.metric,
        percent=found.percent,
        baseline=found.baseline,
        value=found.mean,
        drop=found.drop,
        interval=budget.interval(found),
        chip_interval=found.drop_interval,
        sample_interval=found.sample_interval,
        generalized=budget.generalize,
        confidence=found.confidence,
        chips_within=within / found.draws,
        max_drop=budget.max_drop,
        drop_type=budget.drop_type,
        within_budget=verdict.accepted,
        held_out=held_out,
        samples=found.samples,
        draws=found.draws,
        seed=work.request.seed,
        t_s=work.t_s,
        strategy=strategy,
        data=work.task.digest,
    )
