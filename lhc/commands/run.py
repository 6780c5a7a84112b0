"""``lhc.run``: the score of a placement, and the answers of the mapped network."""

from dataclasses import replace

import numpy as np

from lhc.measure import Running
from lhc.options.by_command import OutputsOptions, RunOptions
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.inputs.run_inputs import (
    against,
    own_outcome,
    read_run,
    skipped_digest,
    told_how,
    usefully_calibrated,
)
from lhc.pipeline.measurement_warnings import warn_of_doubtful_labels, warn_of_other_digital
from lhc.pipeline.steps.emulated_outputs import emulated_outputs
from lhc.pipeline.steps.prepare import stored_plan
from lhc.pipeline.steps.verify.conformance_step import placement_conformance
from lhc.report.tables.command_results import Evaluations
from lhc.support.number_formatting import time_text


@keywords(RunOptions)
def run(options: RunOptions) -> Evaluations:
    """Value of a placement at one or more times after programming, on all samples given.

    The placement is that of the annotations by default, all digital where there are none.
    """
    opened = loaded_model(options)
    options = replace(options, model=opened)
    with Running(options) as running:
        state, analog, at = read_run(options, running)
        state = usefully_calibrated(options, state, analog)
        if options.against is not None:
            state = replace(state, original=against(options.against, state))
        evaluator = state.evaluator(state.splits.judged)
        warn_of_doubtful_labels(evaluator)
        level = options.confidence
        found = [evaluator.evaluate(analog, what=f"after {time_text(t)}", t_s=t, confidence=level) for t in at]
        stored = stored_plan(options, state.opened)
        outcome = None if stored is None else stored.outcome
        data = None if outcome is None else state.task.digest
        skipped = None if outcome is None else skipped_digest(state.task)
        other = None if state.original is None else state.original.model.source
        if outcome is not None and (outcome.retrained is None) == (other is None):
            warn_of_other_digital(evaluator, outcome)
        checked = placement_conformance(evaluator, analog) if analog and state.engine == "fast" else None
    calibrated = state.calibrated_on if analog else 0
    told = (told_how(one, calibrated, state) for one in found)
    found = [replace(one, data=data, skipped=skipped, against=other) for one in told]
    return Evaluations(found, own_outcome(options, stored, opened.model.source), checked)


evaluate = run
"""Its name in Python before it had that of the command."""


@keywords(OutputsOptions)
def analog_outputs(options: OutputsOptions) -> dict[str, np.ndarray]:
    """All outputs of the mapped network.

    Returns:
        Output name -> ``(samples, ...)``, or ``(draws, samples, ...)`` with more than one draw; with more than one
        time the names are ``NAME@T``, T in seconds. Scalars and outputs that are no tensors are left out, with a
        warning.

    Raises:
        DataError: no output is left.
    """
    # nmse scores nothing here, and takes any output and targets.
    with Running(options) as running:
        state, analog, at = read_run(replace(options, metric="nmse", higher_is_better=None), running)
        return emulated_outputs(usefully_calibrated(options, state, analog), analog, at)
