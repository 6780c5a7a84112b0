"""``lhc.estimate``: time of a command, step by step, from one timed unit of each kind of work."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lhc.commands.compare import machines_of
from lhc.commands.partition import begin, preparation, strategy_for
from lhc.commands.sensitivity import preparing
from lhc.errors import UsageError
from lhc.measure import Running
from lhc.measure.budget_test import SEARCH_DRAWS
from lhc.measure.sensitivity.hilal_curvature import BATCH, curvatures
from lhc.options.by_command import CompareOptions, PartitionOptions, RetrainOptions, RunOptions, SensitivityOptions
from lhc.options.declaration.option_fields import part
from lhc.options.training import TrainingOptions
from lhc.passes import anything_pays, by_worth, groups_of, search_space
from lhc.passes.decide.copies import Copies
from lhc.passes.strategies.lionheart_retraining import (
    RETRAINING_STRATEGIES,
    LionHeartOriginal,
    rounds_of,
    walk_settings,
)
from lhc.pipeline.command_duration import (
    FEW,
    Effort,
    EffortStep,
    UnitTime,
    evaluation_step,
    few_of,
    prediction_step,
    ranking_steps,
    repeated,
    seconds_of,
)
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.inputs.objective import chips_for, search_options
from lhc.pipeline.inputs.run_inputs import read_run
from lhc.pipeline.inputs.training_inputs import TrainingInputs, read_training_inputs
from lhc.pipeline.pipeline_state import BudgetedNetwork, PreparedNetwork, TrainableNetwork
from lhc.pipeline.rewrites.choose_adapters import adapted
from lhc.pipeline.steps.heal.fewest_copies import MOST_JUDGEMENTS
from lhc.pipeline.steps.heal.harmful_calibration import CHECKING, CHIPS, compared_evaluators
from lhc.pipeline.steps.heal.healing_gain import HEALING_DRAWS
from lhc.pipeline.steps.prepare import read
from lhc.pipeline.training.retraining import training_setup_of, validation_evaluator
from lhc.pipeline.training.testing_order import FIRST
from lhc.pipeline.training.trained_placement import VERIFIES_AFTER, VERIFIES_BEFORE, judging_chips
from lhc.samples.task import Task
from lhc.stats import one_sided

if TYPE_CHECKING:  # it loads PyTorch
    from lhc.train.training_setup import TrainingSetup

Timed = dict[frozenset[str], UnitTime]


def estimate(options: SensitivityOptions | PartitionOptions | CompareOptions | RetrainOptions | RunOptions) -> Effort:
    """Estimate of a command's work: units in all, units kept from before, and the time that the rest will take.

    The figure is for these options on this machine as busy as it is now, without reading, checks and reports. How many
    placements a search judges depends on what it finds; the most that the strategy may judge is taken, each as costly
    as all layers together. Of the tests one is counted, with the fewest chips that can accept it: how many placements
    are tested, and on how many chips, depends on what they show. With a training that is one of the weights as they
    are, which may not be needed, and one of the trained ones. What would help where a budget is not met is not counted.

    Raises:
        UsageError: these are no options of such a command.
    """
    if not isinstance(options, SensitivityOptions | PartitionOptions | RetrainOptions | RunOptions):
        raise UsageError("lhc.estimate takes the options of a command as one object: lhc.PartitionOptions(model, …)")
    if isinstance(options, CompareOptions):
        return _comparison(options)
    with Running(options, looks_only=True) as running:
        if isinstance(options, RunOptions):
            state, layers, at = read_run(options, running)
            evaluator = state.evaluator(state.splits.judged)
            steps = [evaluation_step(evaluator, [layers], "measuring the placement", at)]
        elif isinstance(options, RetrainOptions):
            start = read_training_inputs(options, running)
            state, layers = start.state, start.analog
            steps = _retraining(start, part(options, TrainingOptions))
        elif isinstance(options, PartitionOptions):
            # Whole layers: what is left of them takes as long, and weighing columns is no small part of a dry run.
            whole = preparation(replace(options, digital_columns="0%"))
            budgeted = whole.apply(begin(options, running, loaded_model(options)))
            state, layers = budgeted, frozenset(budgeted.measurable)
            steps = _partition(budgeted, options) if layers else []
        else:
            state = preparing(options).apply(read(options, running, options.t_s, ranks=True))
            layers = frozenset(state.measurable)
            task = state.splits.judged if options.metric is not None else state.ranking_task()
            ranking = ranking_steps(state.evaluator(task), state.measurable, options.method, options.half_width)
            steps = [*_calibration(state, {}), *ranking] if layers else []
        return Effort(state.layers_in(layers), len(state.task), options.draws, tuple(steps), running.workers.count)


def _comparison(options: CompareOptions) -> Effort:
    """Machines one after the other; at ages, all layers that can be analog are taken to be."""
    steps, efforts, opened = list[EffortStep](), list[Effort](), loaded_model(options)
    for machine in machines_of(options):
        efforts.append(estimate(part(options, PartitionOptions, model=opened, hardware=machine)))
        found = efforts[-1].steps
        if ages := list(filter(machine.knows, options.ages_s)):
            aged = part(options, RunOptions, model=opened, hardware=machine.calibrated_once, all_analog=True)
            found += tuple(replace(one, what="looking at ages") for one in estimate(replace(aged, times=ages)).steps)
        steps += [replace(one, what=f"{machine.name}: {one.what}") for one in found]
    return replace(efforts[0], layers=max(one.layers for one in efforts), steps=tuple(steps))


def _partition(state: BudgetedNetwork, asked: PartitionOptions) -> list[EffortStep]:
    timed: Timed = {}
    if isinstance(state, TrainableNetwork):
        placing = _placing_and_training(state, asked, timed)
    else:
        placing = _placing(state, asked, timed)
    largest = max(timed, key=len)
    evaluator = state.evaluator(state.splits.verify)
    kinds = bool(evaluator.copies.of(largest)) + evaluator.context.calibrates
    bare = replace(evaluator, draws=HEALING_DRAWS, copies=Copies(), calibration=None)
    healing = evaluation_step(bare, [largest], "what healing brings", timed=timed)
    calibration = _calibration(state, timed) if state.follow is None else []
    return [*calibration, *placing, *repeated(healing, 2**kinds - 1 if largest else 0)]


def _calibration(state: PreparedNetwork, timed: Timed) -> list[EffortStep]:
    """Whether calibration serves the machine: a few chips with it and without it."""
    evaluators = compared_evaluators(state)
    if not evaluators:
        return []
    one = replace(evaluators[0], draws=CHIPS)
    step = evaluation_step(one, [frozenset(state.measurable)], CHECKING, timed=timed)
    return repeated(step, len(evaluators))


def _placing(state: BudgetedNetwork, asked: PartitionOptions, timed: Timed, share: float = 1.0) -> list[EffortStep]:
    """Ranking, searching, verifying, with this share of the chance of error for the tests.

    Layers that do not pay are ranked, where any does, and not judged.
    """
    kind, options, splits, budget = strategy_for(asked), search_options(state), state.splits, state.budget
    space, ordered = search_space(state.graph, state.plan, options), "sensitivities" in kind.requires
    useful = by_worth(space) if ordered and not options.goal.limits.keys() - {"tiles"} else space.groups
    verify, ranking = state.evaluator(splits.verify), state.evaluator(splits.rank)
    everything = state.plan.analog.union(*useful)
    least = max(verify.draws, chips_for(budget.share, share * one_sided(budget.confidence)))
    judged = evaluation_step(replace(verify, draws=least), [everything], "verifying", timed=timed)
    if state.follow is not None:
        return [judged]
    steps: list[EffortStep] = []
    if (ordered or state.spends_tiles) and anything_pays(state.graph, state.plan, options):
        metric = state.ranking_metric(splits.rank, state.task.metric)
        steps += ranking_steps(state.evaluator(splits.rank.with_metric(metric)), state.measurable, asked.method)
    if "curvatures" in kind.requires and useful:
        few = few_of(ranking)
        each = seconds_of(lambda: curvatures(few, state.plan.eligible)) / min(FEW, ranking.samples)
        seconds = each * min(BATCH, ranking.samples)
        steps.append(EffortStep("curvatures of the loss", 1, 0, seconds, shared=False))
    most = kind.judgements(len(useful))
    if state.spends_tiles and state.goal.objective != "macs":
        most += MOST_JUDGEMENTS
    # Of other placements than this one may nothing be kept.
    select = replace(ranking, draws=min(ranking.draws, SEARCH_DRAWS), running=ranking.running.uncached())
    searching = evaluation_step(select, [everything], f"searching, at most {most} placements", timed=timed)
    return [*steps, *repeated(searching, most), judged]


def _placing_and_training(state: TrainableNetwork, asked: PartitionOptions, timed: Timed) -> list[EffortStep]:
    """The same before the training, the training, and the same after it; a walk is only verified then."""
    plain, options = _placing(state, asked, timed, FIRST), search_options(state)
    if not anything_pays(state.graph, state.plan, options):
        return plain
    groups = len(groups_of(state.graph, state.plan, options.together))
    trained = _walk_or_training(state, asked, groups)
    # Nothing is kept of weights that are not trained yet.
    fresh = replace(state, running=state.running.uncached())
    again = plain
    if state.budget.share is not None or any(step.kept for step in plain):
        again = _placing(fresh, asked, timed, 1 - FIRST)
    after = again[-1:] if asked.strategy in RETRAINING_STRATEGIES else again
    return [
        *(replace(step, what=f"before training: {step.what}") for step in plain),
        *trained,
        *(replace(step, what=f"after training: {step.what}") for step in after),
    ]


def _walk_or_training(state: TrainableNetwork, asked: PartitionOptions, groups: int) -> list[EffortStep]:
    """Steps of a training, with all layers analog that may be, and of the judgements on the way.

    A training that ends before its last step, by patience or because candidates are accepted, takes less; the published
    walk, whose rounds have no bound, may take more.

    Args:
        groups: how many layers, or groups of them, move one after the other.
    """
    strategy, settings = str(asked.strategy), part(asked, TrainingOptions)
    everything, select = frozenset(state.measurable), state.splits.rank
    walks = strategy in RETRAINING_STRATEGIES
    settings = walk_settings(strategy, settings) if walks else settings
    training = _training(training_setup_of(state, state.training, settings), everything)
    if not walks:
        return [training, _validating(state, select, settings, everything)]
    published, most = strategy == LionHeartOriginal.name, rounds_of(strategy, settings.patience or 1, asked.rounds)
    bound = "at least" if published and asked.rounds is None else "at most"
    walking = replace(training, what=f"training, {bound} {most} rounds a candidate")
    judged = groups * (most if published else most + 1)
    judging = evaluation_step(state.evaluator(select), [everything] * judged, "judging candidates")
    return [*repeated(walking, groups * most), judging]


def _training(plan: "TrainingSetup", analog: frozenset[str]) -> EffortStep:
    """The steps of a training; a long one keeps the digital network's answers and takes a little less."""
    plan = plan if plan.settings.time is None else plan.timed(analog)
    trainer = plan.trainer(horizon=1)
    trainer.begin(analog)
    return EffortStep("training", plan.steps, 0, plan.steps * seconds_of(lambda: trainer.train_step(1.0)), shared=False)


def _validating(
    state: PreparedNetwork, watching: Task, settings: TrainingOptions, analog: frozenset[str]
) -> EffortStep:
    validations = [analog] * (settings.validations + 1)
    return evaluation_step(validation_evaluator(state, watching), validations, "validating")


def _retraining(start: TrainingInputs, settings: TrainingOptions) -> list[EffortStep]:
    """Steps of judging a placed network, training it, and judging it again.

    Where adapters may have a share of the weights, a step is timed with one beside every layer.
    """
    state, analog, timed = start.state, start.analog, Timed()

    def judging(of: PreparedNetwork, what: str) -> EffortStep:
        evaluator = of.evaluator(start.verification, limited=False)
        chips = judging_chips(evaluator.draws, start.budget)
        judge = replace(evaluator, draws=len(chips))
        return evaluation_step(judge, [analog], what, timed=timed, first=chips.start)

    steps = [judging(state, VERIFIES_BEFORE)]
    if settings.adapter_share is not None:
        choosing = prediction_step(state.gradient_evaluator(start.training), sorted(analog))
        steps.append(replace(choosing, what="choosing layers for adapters"))
    ranked = replace(settings, adapters=settings.adapter_rank)
    plan = training_setup_of(adapted(state, analog, ranked, start.training), start.training, ranked)
    steps += [_training(plan, analog), _validating(state, start.validation, settings, analog)]
    # Nothing is kept of weights that are not trained yet.
    return [*steps, judging(replace(state, running=state.running.uncached()), VERIFIES_AFTER)]
