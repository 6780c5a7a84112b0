"""What placing and the front begin with: rankings, and what a strategy is told."""

from collections.abc import Sequence
from dataclasses import replace

from lhc.errors import OutOfTimeError, UsageError
from lhc.measure import Bench, Budget, RankingMethod, ranking_metric, sensitivities
from lhc.measure.curvature import curvatures
from lhc.measure.judge import Drop, parse_drop
from lhc.opening import Opened
from lhc.passes import Goal, Objective, SearchOptions, Strategy, default_objective, wanted_together
from lhc.plan import Outcome
from lhc.preparing import Work
from lhc.results import SensitivityTable
from lhc.task import Task

__all__ = ["DEFAULT_MAX_DROP", "budget_of", "budget_of_plan", "goal_of", "ranked", "search_options"]

DEFAULT_MAX_DROP = 0.01


def budget_of(max_drop: Drop | None, drop_type: str, confidence: float, generalize: bool, opened: Opened) -> Budget:
    """The budget of a user's options; a zoo model's own drop by default.

    Raises:
        UsageError: a drop that makes no sense.
    """
    if max_drop is None:
        max_drop = opened.entry.max_drop if opened.entry is not None else DEFAULT_MAX_DROP
    value, percentage = parse_drop(max_drop)
    if drop_type not in ("absolute", "relative"):
        raise UsageError(f"unknown drop type {drop_type!r}; choose absolute or relative")
    return Budget(value, drop_type, confidence, generalize, percentage)  # type: ignore[arg-type]


def budget_of_plan(
    outcome: Outcome, metric: str | None, drop_type: str | None, confidence: float, generalize: bool = False
) -> Budget:
    """The budget that a placement was judged by.

    Args:
        outcome: how it was judged.
        metric: the one that the user gives, if any.
        drop_type: likewise.
        confidence: two-sided level of the intervals.
        generalize: decide by the interval over chips and samples.

    Raises:
        UsageError: the user wants drops in another metric or of another kind than that budget's.
    """
    for option, mine, its in (("metric", metric, outcome.metric), ("drop-type", drop_type, outcome.drop_type)):
        if mine is not None and mine != its:
            raise UsageError(
                f"--{option} {mine}: the budget of the placement, {outcome.max_drop:g}, is for {its}; give --max-drop"
            )
    percentage = outcome.percent or outcome.drop_type == "relative"
    return Budget(outcome.max_drop, outcome.drop_type, confidence, generalize, percentage)


def ranked(work: Work, samples: Task, verify: Bench, method: RankingMethod) -> tuple[Work, SensitivityTable]:
    """The work with the sensitivities of all layers that may be analog in its plan, and these as a table.

    Args:
        work: what is placed.
        samples: those that rank.
        verify: judges later; its output tells in which metric layers are ranked.
        method: how sensitivities are found.

    Raises:
        OutOfTimeError: the time was over before that.
    """
    bench = work.bench(samples.with_metric(ranking_metric(work.task.metric, verify.example_output, samples.targets)))
    table = sensitivities(bench, work.graph, work.measurable, method)
    if len(table.layers) < len(work.measurable):
        done = f"{len(table.layers)} of {len(work.measurable)}"
        raise OutOfTimeError(f"--timeout: {done} layers were ranked, so none is analog; run again to go on")
    return replace(work, plan=work.plan.with_sensitivities(table.layers)), table


def goal_of(work: Work, wanted: Goal, objective: Objective | None, strategy: type[Strategy]) -> Goal:
    """A goal with the objective that the user names, else with the default for this network, machine and strategy."""
    if objective is not None:
        return wanted
    return replace(wanted, objective=default_objective(strategy, work.graph, work.plan.hardware))


def search_options(
    work: Work, goal: Goal, group: Sequence[str], max_drop: float | None = None, curved: Task | None = None
) -> SearchOptions:
    """What a strategy is told.

    Args:
        work: what is placed.
        goal: objective and bounds.
        group: the user's wishes of what moves together.
        max_drop: the budget.
        curved: samples for the curvatures that HILAL wants.

    Raises:
        UsageError: a group that matches no layer, or curvatures without class labels.
        ConfigError: the goal needs costs, and the hardware describes none.
    """
    options = SearchOptions(goal, wanted_together(work.graph, work.plan, group), max_drop, work.request.seed)
    if curved is None or not work.plan.eligible:
        return options
    return replace(options, curvatures=curvatures(work.bench(curved), work.plan.eligible))
