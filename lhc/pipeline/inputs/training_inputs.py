"""Inputs of ``lhc retrain``: a placed network, and the samples that train, validate and judge."""

from dataclasses import dataclass, replace

from lhc.errors import DataError, UsageError
from lhc.measure import Budget, Running
from lhc.options.by_command import RetrainOptions
from lhc.options.shared import Data
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.pipeline.inputs.objective import budget_as_placed, budget_of_plan
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.prepare import as_judged, read_placed, stored_plan
from lhc.pipeline.training.trained_placement import placed
from lhc.plan import Plan
from lhc.samples.metrics import UNCHOSEN
from lhc.samples.task import DataSource, Task
from lhc.samples.train_test_separation import LEAST_OF_PARTS, check_separation, places_apart, split_off
from lhc.support.number_formatting import counted

PARTITION_PARTS, RETRAIN_PARTS = (3, 5), (4, 5)
"""Of one set of samples three fifths train for ``lhc partition --retrain``, where the others rank and verify; four
fifths for ``lhc retrain``, where one judges."""
JUDGING_PARTS = 3
"""One of them watches the training."""


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """A placed network, and the samples that its training takes.

    Attributes:
        state: with the placement; the samples that watch calibrate chips, and give converters their ranges.
        stored: the placement as it was read; None where the file carries none, or another network's.
        validation: watches the training.
        verification: judges, before and after.
    """

    state: PreparedNetwork
    analog: frozenset[str]
    stored: Plan | None
    budget: Budget
    training: Task
    validation: Task
    verification: Task


def read_training_inputs(options: RetrainOptions, running: Running) -> TrainingInputs:
    """The network with its annotations, and the samples.

    Raises:
        UsageError: no layer is analog, or the same samples are to train and to judge.
        DataError: there are too few samples.
    """
    opened = loaded_model(options)
    options = _with_present_names(options, opened)
    stored = stored_plan(options, opened)
    outcome = None if stored is None else stored.outcome
    budget = budget_as_placed(options, options.confidence, opened, outcome)
    training, judging = training_and_judging(opened, as_judged(options, outcome), options.train_data, RETRAIN_PARTS)
    times = None if options.t_s is None else [options.t_s]
    _check_enough(judging)
    watch, judge = places_apart(judging, 1, JUDGING_PARTS)
    state, analog, _ = read_placed(
        options, running, times, opened=opened, task=judging, least_draws=2, calibrating=watch
    )
    if options.max_drop is None and outcome is not None:
        budget_of_plan(outcome, state.task.metric.name, None, options.confidence)
    if not analog:
        raise UsageError(
            f"{opened.model.label}: no layer is analog, so there is no noise to train under; 'lhc partition' places"
            " layers, and with --retrain trains as well"
        )
    state = replace(state, plan=placed(state.plan, analog, stored))
    validation, verification = state.task.take(watch), state.task.take(judge)
    return TrainingInputs(state, analog, stored, budget, training, validation, verification)


def _check_enough(judging: Task) -> None:
    """Refuse samples that are too few to watch a training and to judge it."""
    least = LEAST_OF_PARTS * JUDGING_PARTS
    alone = RETRAIN_PARTS[1] * least
    if len(judging) < least:
        raise DataError(
            f"{counted(len(judging), 'sample')} cannot watch a training (a third) and judge it (the others); give at"
            f" least {least} as --data beside --train-data, or {alone} as --data alone, a fifth of which"
            " watches and judges"
        )


def training_and_judging(
    opened: LoadedModel, options: Data, train_data: DataSource | None, of_parts: tuple[int, int]
) -> tuple[Task, Task]:
    """Samples that train, and samples that judge.

    Args:
        options: samples and metric that judge; ``--samples`` bounds them.
        train_data: that train; None: some of those that judge.
        of_parts: so many parts of how many train where there is one set of samples.
    """
    judging = opened.judging(options)
    if train_data is None:
        return split_off(judging, *of_parts)
    training = opened.task(train_data, UNCHOSEN, None, options)
    check_separation(training, judging)
    return training, judging


def _with_present_names(options: RetrainOptions, opened: LoadedModel) -> RetrainOptions:
    """The options without old names, of which a user is told."""
    if options.verify_data is None:
        return options
    opened.warn(
        "--verify-data is an old name: write the samples that train as --train-data and those that judge as --data, as"
        " 'lhc partition' has them"
    )
    training = opened.task(options.data, UNCHOSEN, None, options)
    return replace(options, train_data=training, data=options.verify_data, verify_data=None)
