"""What a placement is worth, and what the mapped network answers."""

from dataclasses import replace

import numpy as np

from lhc.errors import UsageError
from lhc.measure import Running
from lhc.model import ModelSource
from lhc.options.commands import OutputsOptions, RunOptions
from lhc.options.signature import keywords
from lhc.passes import qualified_plan
from lhc.results import Evaluation
from lhc.runtime.ort import tensor_infos
from lhc.samples.apart import check_calibration_apart
from lhc.samples.metrics import UNCHOSEN
from lhc.study.cautions import warn_of_doubtful_labels, warn_of_nothing_analog, warn_of_other_digital
from lhc.study.check_calibration import with_useful_calibration
from lhc.study.mapped_outputs import mapped_outputs
from lhc.study.prepare import read_placed, stored_plan
from lhc.study.source import open_model
from lhc.study.state import Study
from lhc.support.numbers import time_text

__all__ = ["analog_outputs", "evaluate", "read_run"]


@keywords(RunOptions)
def evaluate(options: RunOptions) -> list[Evaluation]:
    """Value of a placement at one or more times after programming, on all samples given.

    The placement is that of the annotations by default, all digital where there are none.
    """
    with Running(options) as running:
        study, analog, at = read_run(options, running)
        study = _usefully_calibrated(options, study, analog)
        if options.against is not None:
            study = replace(study, original=_other(options.against, study))
        bench = study.bench(study.splits.judged)
        warn_of_doubtful_labels(bench)
        level = options.confidence
        found = [bench.evaluate(analog, what=f"after {time_text(t)}", t_s=t, confidence=level) for t in at]
        stored = stored_plan(options, study.opened)
        outcome = None if stored is None else stored.outcome
        data = None if outcome is None else study.task.digest
        skipped = None if outcome is None else _skipped(options, study)
        if outcome is not None and (outcome.retrained is None) == (study.original is None):
            warn_of_other_digital(bench, outcome)
    against = None if study.original is None else study.original.model.source
    calibrated = study.calibrated_on if analog else 0
    return [replace(one, calibrated=calibrated, data=data, skipped=skipped, against=against) for one in found]


def _skipped(options: RunOptions, study: Study) -> str | None:
    """SHA-256 of the samples that ``--skip`` leaves out; None of documents, of which both sides may hold parts."""
    if not options.skip or study.task.documents is not None:
        return None
    return study.opened.chosen(replace(options, skip=0, samples=options.skip), study.task.metric).digest


def _other(source: ModelSource, study: Study) -> Study:
    """The network that drops are against, all of it digital.

    Raises:
        UsageError: it takes other inputs, or gives other answers.
    """
    opened = open_model(source)
    label, placed = opened.model.label, study.model.label
    names, own = (sorted(info.name for info in tensor_infos(model)) for model in (opened.model, study.model))
    if names != own:
        raise UsageError(f"--against {label}: it takes {', '.join(names)}, and {placed} {', '.join(own)}")
    graph = opened.graph(None, study.task)
    machine = study.plan.hardware.with_drift_compensation_alone()
    other = replace(study, opened=opened, graph=graph, plan=qualified_plan(graph, machine, opened.model.source))
    shape, wanted = (one.bench(study.task).example_output.shape[1:] for one in (other, study))
    if shape != wanted:
        raise UsageError(f"--against {label}: it answers with {shape} values a sample, and {placed} with {wanted}")
    return other


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
        study, analog, at = read_run(replace(options, metric="nmse"), running)
        return mapped_outputs(_usefully_calibrated(options, study, analog), analog, at)


def _usefully_calibrated(options: RunOptions | OutputsOptions, study: Study, analog: frozenset[str]) -> Study:
    """The study without calibration where that does harm, unless the user or a plan of this machine asks for it."""
    if options.calibrate is not None or (options.hardware is None and stored_plan(options, study.opened) is not None):
        return study
    return with_useful_calibration(study, analog)


def read_run(options: RunOptions | OutputsOptions, running: Running) -> tuple[Study, frozenset[str], list[float]]:
    """The network with the samples that judge and those that calibrate, its analog layers, and the times."""
    study, analog, at = read_placed(options, running, options.times)
    warn_of_nothing_analog(study.opened, analog, stored_plan(options, study.opened))
    if options.calibrate is None:
        return study if analog else study.uncalibrated, analog, at
    if not study.calibrates:
        machine = study.plan.hardware.name
        raise UsageError(f"--calibrate: hardware {machine!r} corrects no outputs (compensation.outputs); leave it out")
    samples = study.opened.task(options.calibrate, UNCHOSEN, None, options)
    check_calibration_apart(samples.head(study.calibration_samples), study.task)
    return replace(study, calibrating=samples) if analog else study.uncalibrated, analog, at
