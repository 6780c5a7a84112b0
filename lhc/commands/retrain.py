"""Train the weights of a placed model under the noise of its tiles, and keep them if they are better."""

from dataclasses import replace

from lhc.errors import UsageError
from lhc.measure import Running
from lhc.options.command_line import made_by
from lhc.options.commands import RetrainOptions
from lhc.options.declare import part
from lhc.options.signature import keywords
from lhc.options.training import TrainingOptions
from lhc.samples.apart import check_apart, split_off
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.study.check_calibration import with_useful_calibration
from lhc.study.earlier_tests import as_tested, failed_test
from lhc.study.goal import budget_as_placed, budget_of_plan
from lhc.study.outcome import PartitionResult
from lhc.study.prepare import as_judged, read_placed, stored_plan
from lhc.study.source import Opened, opened_of
from lhc.study.train import VALIDATION_SAMPLES, trained_for
from lhc.study.trained_placement import better, judged, placed, result_of, samples_note, with_remedies

__all__ = ["retrain"]

TRAINING_PARTS, PARTS = 4, 5
"""Of one set of samples, four fifths train and one judges."""


@keywords(RetrainOptions)
def retrain(options: RetrainOptions) -> PartitionResult:
    """Train the weights of a placed model under the noise of its analog layers; keep them if they are better.

    Budget, metric and output are those of the annotations by default.

    Returns:
        The better of the two models, by the upper bound of its drop, and its plan. Where the weights as they are were
        tested by this budget before and did not pass, only trained ones can be within it.

    Raises:
        UsageError: no layer is analog, or the same samples are to train and to judge.
    """
    opened = opened_of(options)
    stored = stored_plan(options, opened)
    outcome = None if stored is None else stored.outcome
    budget = budget_as_placed(options, options.confidence, opened, outcome)
    training, judging = _samples(as_judged(options, outcome), opened)
    times = None if options.t_inference is None else [options.t_inference]
    with Running(options) as running:
        study, analog, _ = read_placed(options, running, times, opened=opened, task=judging, least_draws=2)
        if options.max_drop is None and outcome is not None:
            budget_of_plan(outcome, study.task.metric.name, None, options.confidence)
        if not analog:
            raise UsageError(
                f"{opened.model.label}: no layer is analog, so there is no noise to train under; 'lhc partition' places"
                " layers, and with --retrain trains as well"
            )
        study = replace(study, plan=placed(study.plan, analog, stored))
        settings = part(options, TrainingOptions)
        validation, verification = split_off(study.task, 1, 3)
        study = replace(study, calibrating=validation)
        if stored is None or options.hardware is not None:
            study = with_useful_calibration(study, analog)
        elif outcome is not None:
            study = replace(study, harmful=outcome.harmful_calibration)
        earlier = failed_test(stored, study, budget)
        before = judged(study, analog, verification, budget)
        if earlier is not None and as_tested(study, analog, stored):
            before = replace(before, status="undecided")
        trained, record = trained_for(study, training, settings, options.checkpoint, analog, validation)
        after = judged(trained, analog, verification, budget)
        kept = better((study, before, None), (trained, after, record))
        if options.explain:
            kept = with_remedies(kept, analog, validation, verification, budget)
    sizes = len(training), min(len(validation), VALIDATION_SAMPLES), len(verification)
    result = result_of(kept, before, after, budget, stored, earlier)
    notes = (samples_note(sizes, outcome), *result.notes)
    command = made_by("retrain", replace(options, model=opened.model.label), running.cut_short)
    return replace(result, plan=result.plan.model_copy(update={"command": command}), notes=notes)


def _samples(options: RetrainOptions, opened: Opened) -> tuple[Task, Task]:
    """What trains, and what judges; ``--samples`` bounds each set that is given."""
    judge = None if options.metric is None else get_metric(options.metric, options.higher_is_better)
    if options.verify_data is None:
        return split_off(opened.chosen(options, judge), TRAINING_PARTS, PARTS)
    training = opened.chosen(options)
    judging = opened.task(options.verify_data, judge, options.samples, options)
    check_apart(training, judging)
    return training, judging
