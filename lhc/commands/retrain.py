"""Train the weights of a placed model under the noise of its tiles, and keep them if they are better."""

from dataclasses import replace

from lhc.measure import Running
from lhc.options.by_command import RetrainOptions
from lhc.options.declaration.command_text import made_by
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.options.training import TrainingOptions
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.training_inputs import read_training_inputs
from lhc.pipeline.steps.heal.harmful_calibration import with_useful_calibration
from lhc.pipeline.steps.verify.conformance_step import CheckEmulation
from lhc.pipeline.steps.verify.earlier_budget_tests import as_tested, failed_test, passed_test
from lhc.pipeline.training.retraining import VALIDATION_SAMPLES, check_training, trained_for
from lhc.pipeline.training.trained_placement import Judged, better, judged, result_of, samples_note, with_remedies


@keywords(RetrainOptions)
def retrain(options: RetrainOptions) -> PartitionResult:
    """Train the weights of a placed model under the noise of its analog layers; keep them if they are better.

    Budget, metric and output are those of the annotations by default.

    Returns:
        The better of the two models, by the upper bound of its drop, and its plan. Where the weights as they are were
        tested by this budget before and did not pass, only trained ones can be within it; where they passed, that
        verdict stays unless trained ones pass as well and have the smaller bound.

    Raises:
        UsageError: no layer is analog, or the same samples are to train and to judge.
    """
    settings = part(options, TrainingOptions)
    with Running(options) as running:
        start = read_training_inputs(options, running)
        state, analog, stored, budget = start.state, start.analog, start.stored, start.budget
        validation, verification = start.validation, start.verification
        outcome = None if stored is None else stored.outcome
        check_training(state, start.training, settings, analog, options.checkpoint)
        if stored is None or options.hardware is not None:
            state = with_useful_calibration(state, analog)
        elif outcome is not None:
            state = replace(state, harmful=outcome.harmful_calibration)
        earlier, passed = failed_test(stored, state, budget), passed_test(stored, state, budget, analog)
        before = judged(state, analog, verification, budget)
        if earlier is not None and as_tested(state, analog, stored):
            before = replace(before, status="undecided")
        elif passed is not None:
            before = replace(before, status="accepted")
        trained, record = trained_for(state, start.training, settings, options.checkpoint, analog, validation)
        after = judged(trained, analog, verification, budget)
        kept = better(Judged(state, before), Judged(trained, after, record))
        if options.explain:
            kept = with_remedies(kept, analog, validation, verification, budget)
        result = result_of(kept, before, after, budget, stored, earlier or passed)
        plan = CheckEmulation().apply(replace(kept.state, plan=result.plan)).plan
    sizes = len(start.training), min(len(validation), VALIDATION_SAMPLES), len(verification)
    notes = (samples_note(sizes, outcome), *result.notes)
    made = made_by("retrain", replace(options, model=state.model.label), running.cut_short)
    command = plan.command or made  # a verdict that stays is that of the command before
    return replace(result, plan=plan.model_copy(update={"command": command}), notes=notes)
