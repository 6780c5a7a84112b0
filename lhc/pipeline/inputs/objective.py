"""Objective of a search: the budget of accuracy, what is optimised, bounds, and layers that move together."""

from dataclasses import replace

from lhc.errors import UsageError
from lhc.measure.budget_test import Budget, parse_drop
from lhc.measure.sensitivity.hilal_curvature import curvatures
from lhc.options.by_command import AsVerified, PartitionOptions, RetrainOptions
from lhc.options.shared import BudgetOptions, DropType, GoalOptions, YieldOptions
from lhc.passes import Goal, SearchOptions, Strategy, check_goal, default_objective, wanted_together
from lhc.pipeline.inputs.model_source import LoadedModel
from lhc.pipeline.pipeline_state import BudgetedNetwork, PreparedNetwork, StateT
from lhc.plan import Outcome
from lhc.samples.task import Task
from lhc.stats import greatest_share, least_draws
from lhc.support.number_formatting import share_text

AskedAnew = RetrainOptions | AsVerified | PartitionOptions
DEFAULT_MAX_DROP = 0.01
YIELD_CHIPS = 3
"""Times the chips that ``--yield`` takes at least, where the user names no number: then a few may fail."""
UNASKED_CHIPS = 1000
"""A share that takes more chips than that at least is measured only where the user names their number."""


def budget_of(options: BudgetOptions, confidence: float, opened: LoadedModel) -> Budget:
    """The budget of a user's options; a zoo model's own drop by default.

    Raises:
        UsageError: a drop that makes no sense.
    """
    drop = options.max_drop
    if drop is None:
        drop = opened.entry.max_drop if opened.entry is not None else DEFAULT_MAX_DROP
    value, percentage = parse_drop(drop)
    return Budget(value, options.drop_type or "absolute", confidence, options.generalize, percentage)


def budget_of_plan(outcome: Outcome, metric: str | None, drop_type: DropType | None, confidence: float) -> Budget:
    """The budget that a placement was judged by.

    Args:
        metric: the one that the user gives, if any.
        drop_type: likewise.

    Raises:
        UsageError: the user wants drops in another metric or of another kind than that budget's.
    """
    for option, mine, its in (("metric", metric, outcome.metric), ("drop-type", drop_type, outcome.drop_type)):
        if mine is not None and mine != its:
            raise UsageError(
                f"--{option} {mine}: the budget of the placement, {outcome.max_drop:g}, is for {its}; give --max-drop"
            )
    percentage = outcome.percent or outcome.drop_type == "relative"
    return Budget(outcome.max_drop, outcome.drop_type, confidence, percentage=percentage, share=outcome.yield_share)


def with_yield(budget: Budget, options: YieldOptions) -> Budget:
    """The budget with the share of chips that the user names, if any."""
    share = options.least_yield
    return budget if share is None else replace(budget, share=share)


def budget_as_placed(options: AskedAnew, confidence: float, opened: LoadedModel, outcome: Outcome | None) -> Budget:
    """The budget that the user names, else the one that a placement was judged by."""
    if outcome is None or options.max_drop is not None:
        return with_yield(budget_of(options, confidence, opened), options)
    found = budget_of_plan(outcome, options.metric, options.drop_type, confidence)
    return with_yield(replace(found, generalize=options.generalize), options)


def chips_for(share: float | None, error: float) -> int:
    """Chips that show a share of all if every one of them holds the budget; 0 where none is wanted."""
    return 0 if share is None else least_draws(share, error)


def ample_chips(share: float | None, error: float) -> int:
    """Chips with which a few may fail."""
    return YIELD_CHIPS * chips_for(share, error)


def chips_of(flag: str, given: int | None, least: int, share: float | None, error: float) -> int:
    """Chips of a test: those that the user names, else ``least``, and so many that a few may fail.

    A share is shown by counting, so that one of 99.9 % takes thousands of chips; that is said before any is measured.

    Raises:
        UsageError: fewer than can show the share of all that is to hold the budget, or very many that nobody named.
    """
    needed = chips_for(share, error)
    if given is None and needed <= UNASKED_CHIPS:
        return max(least, ample_chips(share, error))
    if given is not None and given >= needed:
        return given
    chips = least if given is None else given
    shown = share_text(int(1000 * greatest_share(chips, error)) / 1000)
    possible = f"{chips} chips show {shown} of all at most"
    if given is None:
        raise UsageError(
            f"--yield {share:g} takes {needed:,} chips, if every one of them holds the budget, and more if a few do"
            f" not: they are measured where you ask for them. Give {flag} {needed} or more, or a lower --yield:"
            f" {possible}"
        )
    raise UsageError(
        f"{flag} {given}: --yield {share:g} takes {needed:,} chips, if every one of them holds the budget; {possible}."
        " Allow more, or a lower --yield"
    )


def goal_of(options: GoalOptions, strategy: type[Strategy]) -> Goal:
    """The goal that the user names, as far as it is known before the network is read.

    Raises:
        UsageError: the strategy cannot go for it.
    """
    goal = Goal(options.objective or "macs", options.max_tiles, options.max_latency, options.max_energy)
    check_goal(strategy, goal)
    return goal


def with_goal(state: StateT, options: GoalOptions, strategy: type[Strategy]) -> StateT:
    """The state with its goal: the objective is the user's, else the default for network, machine and strategy."""
    goal = goal_of(options, strategy)
    if options.objective is None:
        goal = replace(goal, objective=default_objective(strategy, state.graph, state.plan.hardware))
    return replace(state, goal=goal, group=tuple(options.group))


def search_options(state: PreparedNetwork, curved: Task | None = None) -> SearchOptions:
    """Options of a strategy's search.

    Args:
        curved: samples for the curvatures that the strategy requires.

    Raises:
        UsageError: a group that matches no layer, or curvatures without class labels.
        ConfigError: the goal needs costs, and the hardware describes none.
    """
    together = wanted_together(state.graph, state.plan, state.group)
    drop = state.budget.max_drop if isinstance(state, BudgetedNetwork) else None
    options = SearchOptions(state.goal, together, drop, state.options.seed, copies=state.copies)
    if curved is None or not state.plan.eligible:
        return options
    return replace(options, curvatures=curvatures(state.evaluator(curved), state.plan.eligible))
