"""``lhc.partition``: place every layer, with the weights as they are or trained under the noise of the tiles."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lhc.errors import UsageError
from lhc.measure import Running
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.command_text import made_by
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.options.shared import GoalOptions
from lhc.options.training import TrainingOptions
from lhc.passes import (
    STRATEGIES,
    ChooseCopies,
    FollowPlan,
    Pass,
    Pipeline,
    Qualify,
    Select,
    Step,
    Strategy,
    pass_of,
    strategy_class,
)
from lhc.passes.strategies.lionheart_retraining import RETRAINING_STRATEGIES, LionHeartOriginal, untrained
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.pipeline.inputs.objective import budget_as_placed, chips_of, goal_of, with_goal
from lhc.pipeline.inputs.training_inputs import PARTITION_PARTS, training_and_judging
from lhc.pipeline.pipeline_state import READ, BudgetedNetwork, RecordedNetwork, SearchedNetwork, TrainableNetwork
from lhc.pipeline.plan_record import Record
from lhc.pipeline.rewrites.choose_digital_columns import JoinColumns, SplitColumns
from lhc.pipeline.steps.assign_tiles_by_sensitivity import ArrangeTiles
from lhc.pipeline.steps.choose_precision import ChoosePrecision
from lhc.pipeline.steps.explain.infeasibility import Explain
from lhc.pipeline.steps.heal.fewest_copies import FewerCopies
from lhc.pipeline.steps.heal.harmful_calibration import CheckCalibration
from lhc.pipeline.steps.heal.harmful_copies import CheckCopies
from lhc.pipeline.steps.heal.healing_gain import CompareHealing
from lhc.pipeline.steps.prepare import CheckJudged, CheckParity, Decide, read
from lhc.pipeline.steps.range_calibration import CalibrateRanges
from lhc.pipeline.steps.rank import Rank
from lhc.pipeline.steps.search import CheckBudget, Search
from lhc.pipeline.steps.verify.conformance_step import CheckEmulation
from lhc.pipeline.steps.verify.earlier_budget_tests import failed_test, plan_of_file
from lhc.pipeline.steps.verify.several_outputs import with_further_outputs
from lhc.pipeline.steps.verify.verify import Verify
from lhc.pipeline.training.retraining import Train
from lhc.pipeline.training.testing_order import FIRST
from lhc.plan import Plan
from lhc.stats import one_sided

MOST_DRAWS = 100
"""Chips of a test, where the user names no other number; ``--draws`` where that is more."""


def pipeline(options: PartitionOptions) -> Pipeline[BudgetedNetwork, RecordedNetwork]:
    """The steps of ``lhc partition``.

    Raises:
        UsageError: an unknown strategy or pass, or options that cannot go together.
    """
    kind, prepare = strategy_for(options), preparation(options)
    _most_draws(options)  # too few are refused before a training, not after it
    known = READ
    steps: tuple[Step[Any, Any], ...] = (_searching(options, kind), _testing(options))
    if options.retrain:
        known, settings = READ | {"training samples"}, part(options, TrainingOptions)
        searching, testing = partial(_searching, options), partial(_testing, options)
        train = Train(settings, str(options.strategy), options.rounds, options.checkpoint, prepare, searching, testing)
        steps = (train,)
    # Before a training, which is for the machine that both placements are judged on.
    calibration = () if options.plan is not None else (CheckCalibration(),)
    placed: tuple[Step[Any, Any], ...] = (prepare, *calibration, *steps, CompareHealing(), JoinColumns())
    return Pipeline("partition", placed, known).checked()


def preparation(options: PartitionOptions) -> Pipeline[BudgetedNetwork, BudgetedNetwork]:
    """Steps before anything is ranked or searched."""
    follow = _followed(options)
    placing: Pass = part(options, Select) if follow is None else FollowPlan(follow)
    own = (Decide(pass_of(one)) for one in options.passes)
    decided = Decide(Qualify()), Decide(placing), CheckJudged()
    measured = CheckParity(), CalibrateRanges()
    if follow is not None:  # copies, tiles and columns are the plan's
        return Pipeline("prepare", (*decided, *own, *measured), READ)
    copies, split = Decide(part(options, ChooseCopies)), SplitColumns(options.columns_share, options.columns_by)
    chosen = part(options, CheckCopies), ArrangeTiles(), split
    return Pipeline("prepare", (*decided, copies, *own, *measured, *chosen), READ)


def _searching(options: PartitionOptions, kind: type[Strategy]) -> Pipeline[BudgetedNetwork, SearchedNetwork]:
    """Rank and search, on samples and chips that test nothing."""
    precision = ChoosePrecision(options.high_precision)
    return Pipeline("search", (CheckBudget(), precision, Rank(options.method, kind), Search(kind), FewerCopies()))


def _testing(options: PartitionOptions, share: float = 1.0) -> Pipeline[SearchedNetwork, RecordedNetwork]:
    """Test what was found, on samples and chips of its own; ``share``: part of the chance of error for it."""
    explain: tuple[Step[Any, Any], ...] = (Explain(),) if options.explain else ()
    return Pipeline("test", (Verify(_most_draws(options), share), *explain, Record(), CheckEmulation()))


def _most_draws(options: PartitionOptions) -> int:
    """Most chips of a test."""
    error = one_sided(options.confidence) * (FIRST if options.retrain else 1)
    most = max(MOST_DRAWS, options.draws)
    return chips_of("--max-draws", options.max_draws, most, options.least_yield, error)


@keywords(PartitionOptions)
def partition(options: PartitionOptions) -> PartitionResult:
    """Place every layer, analog where the accuracy that the user can afford to lose allows it.

    With ``retrain`` the network is trained once with all layers analog that can be and that pay, unless they would do
    more damage than training can be hoped to mend; then without those that do most damage for what they bring. The
    strategy searches a placement for the trained weights as it does for the given ones. The strategies ``lionheart``
    and ``lionheart-original`` train for every layer that they try (`lhc.passes.strategies.lionheart_retraining`). Both
    results are tested in the order of their promise, with one chance of error (`lhc.pipeline.training.testing_order`).
    The better one is returned: the one that holds the budget, then the one that is better by the objective, then the
    one with the smaller drop.

    Raises:
        UsageError: options that make no sense, alone or together, or for this model and these samples.
    """
    return placed_by(options)


def placed_by(options: PartitionOptions, opened: LoadedModel | None = None) -> PartitionResult:
    """`partition`, of a model that may have been opened before."""
    if opened is None:
        opened = loaded_model(options)
    asked = options
    options = replace(options, plan=_followed(options))  # the file is read once
    steps = pipeline(options)
    with Running(options) as running:
        state = steps.apply(begin(options, running, opened))
    command = made_by("partition", replace(asked, model=opened.model.label), running.cut_short)
    plan = state.plan.model_copy(update={"command": command})
    notes = state.notes
    if running.cut_short and not any("--timeout" in note for note in notes):
        notes = (*notes, "--timeout left some placements untried; run again to go on")
    return PartitionResult(plan, state.graph, state.model, notes, state.ranking, state.infeasibility)


def begin(options: PartitionOptions, running: Running, opened: LoadedModel) -> BudgetedNetwork:
    """State at the start of the pipeline: network, samples and machine read, budget and goal known."""
    training = judging = None
    if options.retrain:
        training, judging = training_and_judging(opened, options, options.train_data, PARTITION_PARTS)
    follow, stored = _followed(options), plan_of_file(opened.model)
    budget = budget_as_placed(options, options.confidence, opened, None if follow is None else follow.outcome)
    opened = opened.split_as(follow)
    machine = machine_of(options, follow)
    state = read(options, running, options.t_s, opened=opened, task=judging, machine=machine)
    budget.check_unit(state.task.metric.name, state.task.metric.percent)
    fills = follow is None and options.copies == "auto"
    failed = (failed_test(plan, state, budget) for plan in (follow, stored))
    earlier = next((one for one in failed if one is not None), None)
    known: dict[str, Any] = {"budget": budget, "follow": follow, "fills": fills, "earlier": earlier}
    if follow is not None and follow.outcome is not None and follow.hardware.infers_as(machine):
        known["harmful"] = follow.outcome.harmful_calibration
    if training is None:
        budgeted = state.advanced(BudgetedNetwork, **known)
    else:
        budgeted = state.advanced(TrainableNetwork, training=training, **known)
    budgeted = with_further_outputs(budgeted)
    searched = options.columns_share is None and options.objective is None
    return with_goal(budgeted, replace(options, objective="macs") if searched else options, strategy_for(options))


def strategy_for(options: PartitionOptions) -> type[Strategy]:
    """The strategy that searches; beside a training, the one without it."""
    named: Any = options.strategy
    if options.retrain:
        _check_retraining(options)
        named = untrained(str(named))
    kind = strategy_class(named)
    goal_of(options, kind)
    return kind


def _followed(options: PartitionOptions) -> Plan | None:
    """The plan that is verified instead of searching one."""
    plan = options.plan
    return plan if plan is None or isinstance(plan, Plan) else Plan.load(Path(str(plan)))


def _check_retraining(options: PartitionOptions) -> None:
    """Refuse strategies that cannot go with ``--retrain``."""
    if not isinstance(options.strategy, str):
        raise UsageError("--retrain takes a strategy by its name")
    if options.strategy not in (*STRATEGIES, *RETRAINING_STRATEGIES):
        raise UsageError(f"unknown strategy {options.strategy!r}; with --retrain also {LionHeartOriginal.name}")
    goal = part(options, GoalOptions)
    elsewhere = replace(goal, objective=None) != GoalOptions() or goal.objective not in (None, "macs")
    if options.strategy in RETRAINING_STRATEGIES and elsewhere:
        raise UsageError(
            f"strategy {options.strategy!r} with --retrain walks by MACs within the machine's tiles: --objective,"
            " --max-tiles, --max-latency, --max-energy and --group cannot go with it"
        )
