"""``lhc.estimate``: time of a command, from timing a small piece of its work."""

from collections.abc import Sequence
from dataclasses import replace

from lhc.commands.compare import machines_of
from lhc.commands.partition import begin, preparation, strategy_for
from lhc.commands.sensitivity import preparing
from lhc.errors import UsageError
from lhc.measure import Running
from lhc.measure.budget_test import SEARCH_DRAWS
from lhc.options.by_command import CompareOptions, PartitionOptions, RetrainOptions, RunOptions, SensitivityOptions
from lhc.options.declaration.option_fields import part
from lhc.options.training import TrainingOptions
from lhc.passes import anything_pays, by_worth, groups_of, search_space
from lhc.passes.strategies.lionheart_retraining import RETRAINING_STRATEGIES
from lhc.pipeline.inputs.model_source import opened_of
from lhc.pipeline.inputs.objective import chips_for, search_options
from lhc.pipeline.inputs.placed_network import read_run
from lhc.pipeline.inputs.training_inputs import read_training_inputs
from lhc.pipeline.pipeline_state import BudgetedNetwork, PreparedNetwork, TrainableNetwork
from lhc.pipeline.steps.fewer_copies import MOST_JUDGEMENTS
from lhc.pipeline.steps.read import read
from lhc.pipeline.time_estimate import (
    Effort,
    EffortStep,
    Timed,
    calibration_steps,
    curvature_step,
    evaluation_step,
    healing_steps,
    ranking_steps,
    retraining_steps,
    training_steps,
)
from lhc.pipeline.training.retraining import BEFORE
from lhc.stats import one_sided

__all__ = ["estimate"]


def estimate(options: SensitivityOptions | PartitionOptions | CompareOptions | RetrainOptions | RunOptions) -> Effort:
    """How much work a command has, how much of it is kept from before, and how long the rest will take.

    The figure is for these options on this machine as busy as it is now. How many placements a search judges depends on
    what it finds; the most that the strategy may judge is taken, each as costly as all layers together. Of the tests
    one is counted, with the fewest chips that can accept it: how many placements are tested, and on how many chips,
    depends on what they show. With a training that is one of the weights as they are, which may not be needed, and one
    of the trained ones.

    Raises:
        UsageError: these are no options of such a command.
    """
    if not isinstance(options, SensitivityOptions | PartitionOptions | RetrainOptions | RunOptions):
        raise UsageError("lhc.estimate takes the options of a command as one object: lhc.PartitionOptions(model, …)")
    if isinstance(options, CompareOptions):
        return _comparison(options)
    with Running(options, looks_only=True) as running:
        if isinstance(options, RunOptions):
            state, analog, at = read_run(options, running)
            evaluator, layers = state.evaluator(state.splits.judged), analog
            steps: Sequence[EffortStep] = [evaluation_step(evaluator, [analog], "measuring the placement", at)]
        elif isinstance(options, RetrainOptions):
            start = read_training_inputs(options, running)
            state, layers = start.state, start.analog
            steps = retraining_steps(start, part(options, TrainingOptions))
        elif isinstance(options, SensitivityOptions):
            state = preparing(options).apply(read(options, running, options.t_s, ranks=True))
            layers = frozenset(state.measurable)
            steps = _sensitivity_steps(state, options) if layers else []
        else:
            # Whole layers: what is left of them takes as long, and weighing columns is no small part of a dry run.
            whole = preparation(replace(options, digital_columns="0%"))
            budgeted = whole.apply(begin(options, running, opened_of(options)))
            state, layers = budgeted, frozenset(budgeted.measurable)
            steps = _partition_steps(budgeted, options) if layers else []
        number = state.layers_in(layers)
        return Effort(number, len(state.task), options.draws, tuple(steps), running.workers.count)


def _comparison(options: CompareOptions) -> Effort:
    """Machines one after the other; at ages, all layers that can be analog are taken to be."""
    steps, efforts, opened = list[EffortStep](), list[Effort](), opened_of(options)
    for machine in machines_of(options):
        efforts.append(estimate(part(options, PartitionOptions, model=opened, hardware=machine)))
        found = efforts[-1].steps
        if ages := list(filter(machine.knows, options.ages_s)):
            aged = part(options, RunOptions, model=opened, hardware=machine.calibrated_once, all_analog=True)
            found += tuple(replace(one, what="looking at ages") for one in estimate(replace(aged, times=ages)).steps)
        steps += [replace(one, what=f"{machine.name}: {one.what}") for one in found]
    return replace(efforts[0], layers=max(one.layers for one in efforts), steps=tuple(steps))


def _sensitivity_steps(state: PreparedNetwork, options: SensitivityOptions) -> list[EffortStep]:
    evaluator = state.evaluator(state.splits.judged if options.metric is not None else state.ranking_task())
    ranking = ranking_steps(evaluator, state.measurable, options.method, options.half_width)
    return [*calibration_steps(state), *ranking]


def _partition_steps(state: BudgetedNetwork, options: PartitionOptions) -> list[EffortStep]:
    timed: dict[frozenset[str], Timed] = {}
    if isinstance(state, TrainableNetwork):
        placing = _retraining_steps(state, options, timed)
    else:
        placing = _placing_steps(state, options, timed)
    healed = healing_steps(state.evaluator(state.splits.verify), timed)
    calibration = [] if state.follow is not None else calibration_steps(state, timed)
    return [*calibration, *placing, *healed]


def _placing_steps(
    state: BudgetedNetwork, asked: PartitionOptions, timed: dict[frozenset[str], Timed], share: float = 1.0
) -> list[EffortStep]:
    """Ranking, searching, verifying, with this share of the chance of error for the tests.

    Layers that do not pay are ranked, where any does, and not judged.
    """
    kind, options = strategy_for(asked), search_options(state)
    space = search_space(state.graph, state.plan, options)
    ordered = "sensitivities" in kind.requires
    useful = by_worth(space) if ordered and not options.goal.limits.keys() - {"tiles"} else space.groups
    splits = state.splits
    verify, ranking = state.evaluator(splits.verify), state.evaluator(splits.rank)
    select = replace(ranking, draws=min(ranking.draws, SEARCH_DRAWS))
    everything = state.plan.analog.union(*useful)
    budget = state.budget
    least = max(verify.draws, chips_for(budget.share, share * one_sided(budget.confidence)))
    judged = evaluation_step(replace(verify, draws=least), [everything], "verifying", timed=timed)
    if state.follow is not None:
        return [judged]
    steps: list[EffortStep] = []
    if (ordered or state.spends_tiles) and anything_pays(state.graph, state.plan, options):
        metric = state.ranking_metric(splits.rank, state.task.metric)
        evaluator = state.evaluator(splits.rank.with_metric(metric))
        steps += ranking_steps(evaluator, state.measurable, asked.method, judged=timed)
    if "curvatures" in kind.requires and useful:
        steps.append(curvature_step(state.evaluator(splits.rank), state.plan.eligible))
    most = kind.judgements(len(useful))
    if state.spends_tiles and state.goal.objective != "macs":
        most += MOST_JUDGEMENTS
    if most:
        # Of other placements than this one may nothing be kept.
        fresh = replace(select, running=select.running.uncached())
        one = evaluation_step(fresh, [everything], f"searching, at most {most} placements", timed=timed)
        steps.append(replace(one, units=most * one.units, seconds=most * one.seconds))
    return [*steps, judged]


def _retraining_steps(
    state: TrainableNetwork, asked: PartitionOptions, timed: dict[frozenset[str], Timed]
) -> list[EffortStep]:
    """The same before the training, the training, and the same after it; a walk is only verified then."""
    plain = _placing_steps(state, asked, timed, BEFORE)
    options = search_options(state)
    if not anything_pays(state.graph, state.plan, options):
        return plain
    groups = len(groups_of(state.graph, state.plan, options.together))
    trained = training_steps(state, str(asked.strategy), part(asked, TrainingOptions), asked.rounds, groups)
    # Nothing is kept of weights that are not trained yet.
    fresh = replace(state, running=state.running.uncached())
    yields = state.budget.share is not None
    again = _placing_steps(fresh, asked, timed, 1 - BEFORE) if yields or any(step.kept for step in plain) else plain
    after = again[-1:] if asked.strategy in RETRAINING_STRATEGIES else again
    return [
        *(replace(step, what=f"before training: {step.what}") for step in plain),
        *trained,
        *(replace(step, what=f"after training: {step.what}") for step in after),
    ]
