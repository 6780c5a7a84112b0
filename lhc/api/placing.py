"""Which layers become analog."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from lhc.api.start import DEFAULT_MAX_DROP, budget_of, goal_of, ranked, search_options
from lhc.errors import OutOfTimeError, UsageError
from lhc.exploration import Infeasibility
from lhc.measure import (
    HERE,
    Execution,
    PlacementJudge,
    Progress,
    RankingMethod,
    check_method,
    explain_infeasibility,
    place,
    silent,
    split_task,
    steadied,
)
from lhc.measure.cautions import warn_of_doubtful_labels, warn_of_few_samples, warn_of_other_samples
from lhc.measure.data import DataSource
from lhc.measure.judge import Budget, Drop
from lhc.measure.placing import Found, verifying_chips
from lhc.measure.verify import Verified
from lhc.opening import ModelSource, open_model
from lhc.outcomes import PartitionResult
from lhc.passes import (
    STRATEGIES,
    Goal,
    Objective,
    Pass,
    SearchOptions,
    Select,
    Strategy,
    anything_pays,
    check_goal,
    damage_of,
    kept_limits,
    strategy_of,
)
from lhc.plan import Estimate, Outcome, Plan, Sensitivity
from lhc.preparing import DEFAULT_DRAWS, EVERYTHING, HardwareSource, Request, Work, prepare
from lhc.results import SensitivityTable, Verdict
from lhc.stats import CONFIDENCE, check_confidence

__all__ = ["DEFAULT_MAX_DROP", "budget_of", "outcome_of", "partition"]


def partition(
    model: ModelSource,
    data: DataSource | None = None,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    output: str | None = None,
    max_drop: Drop | None = None,
    drop_type: Literal["absolute", "relative"] = "absolute",
    confidence: float = CONFIDENCE,
    generalize: bool = False,
    hardware: HardwareSource = "lionheart",
    t_inference: float | None = None,
    strategy: str | type[Strategy] = "sensitivity",
    objective: Objective | None = None,
    max_tiles: int | None = None,
    max_latency: float | None = None,
    max_energy: float | None = None,
    group: Sequence[str] = (),
    method: RankingMethod = "auto",
    explain: bool = True,
    samples: int | None = None,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    label_key: str = "labels",
    selection: Select = EVERYTHING,
    passes: Sequence[Pass] = (),
    follow: Plan | None = None,
    progress: Progress = silent,
    execution: Execution = HERE,
) -> PartitionResult:
    """Place every layer, analog where the accuracy that the user can afford to lose allows it.

    Args:
        model: the network.
        data: samples, targets if the metric needs them.
        metric: judges placements; accuracy where there are class labels, else, against the digital network, agreement
            where the output holds probabilities of classes and nmse where nothing shows that.
        higher_is_better: direction of a metric given as ``module:function``.
        output: the output that is scored; the first by default.
        max_drop: greatest mean drop over chips, a number or ``"1%"``; a zoo entry's own, else 0.01.
        drop_type: ``absolute`` in the metric's unit, or ``relative`` to the baseline.
        confidence: two-sided level of the bounds that decide.
        generalize: decide by the interval over chips and samples, not over chips on these samples alone.
        hardware: preset, YAML file or description.
        t_inference: seconds after the first read; the hardware's own by default.
        strategy: how the analog set is found: a name (see ``lhc.passes.strategies``) or a class.
        objective: what the placement is to be best at: ``energy``, ``latency`` (least), ``macs`` (most on tiles). By
            default energy, and macs where the hardware has no costs or the strategy goes by neither energy nor latency.
            For energy and latency no layer is analog that costs more than it saves, unless it is forced.
        max_tiles: most tiles in use, beside the machine's own number.
        max_latency: greatest latency of a sample, in seconds.
        max_energy: greatest energy of a sample, in joules.
        group: what moves together beside layers that share weights: ``block``, ``input``, or patterns of layers.
        method: how sensitivities are found: ``measure``, ``fisher`` (predict from gradients), or ``auto`` (predict,
            check, measure if need be).
        explain: where the budget is not met, measure what stands in the way and what would help.
        samples: use the first so many.
        draws: programmings per placement, at least 2.
        seed: fixes devices and noise.
        label_key: key of the targets in the data.
        selection: which layers are looked at and which are fixed.
        passes: run after that, before anything is measured.
        follow: a plan, perhaps edited, whose placement is verified and written instead of searching one.
        progress: called as work proceeds.
        execution: processes, memory, time, and where results are kept; results do not depend on it.
    """
    kind = strategy_of(strategy)
    check_method(method)
    opened = open_model(model, data, label_key)
    budget = budget_of(max_drop, drop_type, check_confidence(confidence), generalize, opened)
    goal = Goal(objective or "macs", max_tiles, max_latency, max_energy)
    check_goal(kind, goal)
    if follow is not None:
        if selection != EVERYTHING:
            raise UsageError(
                "a plan says where every layer goes: --include, --exclude and --force-… cannot go with --plan"
            )
        hardware = follow.hardware
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
            selection=selection,
            progress=progress,
            follow=follow,
            running=running,
            passes=tuple(passes),
        )
        work = prepare(request, t_inference)
        return _placed(work, kind, budget, goal_of(work, goal, objective, kind), group, method, explain)


def _placed(
    work: Work,
    kind: type[Strategy],
    budget: Budget,
    goal: Goal,
    group: Sequence[str],
    method: RankingMethod,
    explain: bool,
) -> PartitionResult:
    """Rank, search, verify; each on samples and chips of its own."""
    follow = work.request.follow
    notes: tuple[str, ...] = ()
    table: SensitivityTable | None = None
    infeasible: Infeasibility | None = None
    splits = split_task(work.task)
    select, verify = work.bench(splits.select), work.bench(splits.verify, limited=False)
    budget.check(verify)
    warn_of_doubtful_labels(verify)
    warn_of_few_samples(verify, budget)
    if follow is not None:
        work = replace(work, plan=work.plan.with_sensitivities(_sensitivities(follow)))
    elif kind.needs_sensitivity and anything_pays(work.graph, work.plan, search_options(work, goal, group)):
        try:
            work, table = ranked(work, splits.rank, verify, method)
        except OutOfTimeError as error:
            kind, notes = STRATEGIES["all-digital"], (str(error),)
    curved = splits.rank if kind.name == "hilal" and follow is None else None
    options = search_options(work, goal, group, budget.max_drop, curved)
    judge = PlacementJudge(steadied(select, work.bench(splits.rank)), budget, "searching:")
    found = place(work.graph, work.plan, kind, judge, verify, follow is not None, options)
    unexplained = _unexplained(work, found) if explain else ()
    if unexplained:
        chips = verifying_chips(verify.draws, follow is not None)
        try:
            infeasible = explain_infeasibility(
                work.graph, work.plan, unexplained, options, judge, work.bench(splits.verify), chips
            )
        except OutOfTimeError:
            notes += ("--timeout: what stands in the way of the budget was not measured; run again to go on",)
    warn_of_other_samples(found.verdict, budget)
    # Whoever edits a plan may have seen how it did on these samples.
    held_out = splits.held_out and follow is None
    outcome = outcome_of(found.verdict, budget, work, held_out, "plan" if follow is not None else kind.name)
    outcome = outcome.model_copy(update=_provenance(work, found, options))
    final = found.plan.model_copy(update={"outcome": outcome})
    return PartitionResult(final, work.graph, work.model, (*work.notes, *notes, *found.notes), table, infeasible)


def _unexplained(work: Work, found: Found) -> tuple[Verified, ...]:
    """What is to be explained, with all else that was verified: the placement that fails, or fell through to nothing.

    Nothing where the search itself ended with nothing analog: then no placement was verified.
    """
    kept = Verified(found.plan.analog, found.verdict)
    if not found.verdict.accepted and work.plan.layers:
        return (kept, *found.failed)
    if found.failed and found.plan.analog == work.plan.analog:
        return (*found.failed, kept)
    return ()


def _sensitivities(plan: Plan) -> dict[str, Sensitivity]:
    return {layer.name: layer.sensitivity for layer in plan.layers if layer.sensitivity is not None}


def outcome_of(verdict: Verdict, budget: Budget, work: Work, held_out: bool, strategy: str) -> Outcome:
    """What a plan says about the verification of its placement."""
    found = verdict.evaluation
    within = sum(drop <= budget.max_drop for drop in found.drops)
    return Outcome(
        metric=found.metric,
        higher_is_better=work.task.metric.higher_is_better,
        output=work.request.output or work.graph.outputs[0],
        metric_note=work.metric_note,
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


def _provenance(work: Work, kept: Found, options: SearchOptions) -> dict[str, object]:
    """What an outcome says about the search."""
    return {
        "objective": options.goal.objective,
        "limits": options.goal.limits,
        "limits_kept": kept_limits(work.graph, kept.plan, options.goal),
        "groups": tuple(tuple(sorted(group)) for group in options.together),
        "evaluations": kept.evaluations,
        "estimate": _estimate(work, kept),
    }


def _estimate(work: Work, kept: Found) -> Estimate | None:
    """What the sensitivities say of the placement."""
    figure = next((s for layer in kept.plan.layers if (s := layer.sensitivity) is not None), None)
    if figure is None or kept.calibration is None:
        return None
    damage = damage_of(work.graph, kept.plan, kept.plan.analog)
    return Estimate(
        metric=figure.metric,
        damage=damage,
        predicted_drop=kept.calibration.factor * damage,
        factor=kept.calibration.factor,
        spread=kept.calibration.spread,
        placements=kept.calibration.placements,
    )
