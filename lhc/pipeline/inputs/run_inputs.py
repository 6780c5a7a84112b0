"""Inputs of ``lhc run``: a placed network, samples that judge and calibrate, and the reference of drops."""

from dataclasses import replace

from lhc.errors import UsageError
from lhc.measure import Running
from lhc.onnx_model import ModelSource
from lhc.options.by_command import OutputsOptions, RunOptions
from lhc.passes import qualified_plan
from lhc.pipeline.inputs.model_source import LoadedModel, open_model
from lhc.pipeline.inputs.samples import has_labels
from lhc.pipeline.measurement_warnings import warn_of_nothing_analog
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.pipeline.steps.heal.harmful_calibration import with_useful_calibration
from lhc.pipeline.steps.prepare import read_placed, stored_plan
from lhc.plan import Outcome, Plan
from lhc.results import Evaluation
from lhc.runtime.onnxruntime.sessions import tensor_infos
from lhc.samples.class_order import mixed_by_class
from lhc.samples.metrics import METRICS, UNCHOSEN
from lhc.samples.task import Task
from lhc.samples.train_test_separation import check_calibration_separation


def read_run(
    options: RunOptions | OutputsOptions, running: Running
) -> tuple[PreparedNetwork, frozenset[str], list[float]]:
    """The network with the samples that judge and those that calibrate, its analog layers, and the times."""
    state, analog, at = read_placed(options, running, options.times_s)
    warn_of_nothing_analog(state.opened, analog, stored_plan(options, state.opened))
    if options.calibrate is None:
        return state if analog else state.without_output_correction, analog, at
    if not state.calibrates:
        machine = state.plan.hardware.name
        raise UsageError(f"--calibrate: hardware {machine!r} corrects no outputs (compensation.outputs); leave it out")
    samples = mixed_by_class(state.opened.task(options.calibrate, UNCHOSEN, None, options))
    check_calibration_separation(samples.head(state.calibration_samples), state.task)
    return replace(state, calibrating=samples) if analog else state.without_output_correction, analog, at


def usefully_calibrated(options: RunOptions | OutputsOptions, state: StateT, analog: frozenset[str]) -> StateT:
    """The state without calibration where that does harm, unless the user or a plan of this machine asks for it."""
    if options.calibrate is not None or (options.hardware is None and stored_plan(options, state.opened) is not None):
        return state
    return with_useful_calibration(state, analog)


def knows_metric(options: RunOptions, opened: LoadedModel) -> bool:
    """Whether answers can be judged without a look at them: by labels, by a metric that is named, or by a stored one.

    A stored metric counts where it needs no labels; a function does not, as lhc imports none because a file names it.
    """
    if options.metric is not None:
        return True
    if own_metric(options, opened) is not None:
        return False
    if opened.entry is not None if options.data is None else has_labels(options.data, options.label_key):
        return True
    stored = stored_plan(options, opened)
    judged = None if stored is None or stored.outcome is None else METRICS.get(stored.outcome.metric)
    return judged is not None and judged.needs_targets is False


def own_metric(options: RunOptions, opened: LoadedModel) -> str | None:
    """A function that the placement was judged by, where no metric is named: its figures would be of another one."""
    stored = stored_plan(options, opened)
    judged = None if stored is None or stored.outcome is None else stored.outcome.metric
    return None if options.metric is not None or judged in METRICS else judged


def against(source: ModelSource, state: StateT) -> StateT | None:
    """The network that drops are against, all of it digital; None where it is the state's own, as without it.

    Raises:
        UsageError: it takes other inputs, or gives other answers.
    """
    opened = open_model(source)
    if opened.model.source == state.model.source:
        return None
    opened.caution(measured=True)
    label, placed = opened.model.label, state.model.label
    names, own = (sorted(info.name for info in tensor_infos(model)) for model in (opened.model, state.model))
    if names != own:
        raise UsageError(f"--against {label}: it takes {', '.join(names)}, and {placed} {', '.join(own)}")
    try:
        graph = opened.graph(None, state.task)
    except UsageError as error:  # names the option for shapes, which nobody gave
        taken = "; ".join(f"{info.name}: {', '.join(map(str, info.shape))}" for info in tensor_infos(opened.model))
        raise UsageError(f"--against {label}: it does not take these samples; it takes {taken}") from error
    machine = state.plan.hardware.with_drift_compensation_alone()
    other = replace(state, opened=opened, graph=graph, plan=qualified_plan(graph, machine, opened.model.source))
    shape, wanted = (one.evaluator(state.task).example_output.shape[1:] for one in (other, state))
    if shape != wanted:
        raise UsageError(f"--against {label}: it answers with {shape} values a sample, and {placed} with {wanted}")
    return other


def own_outcome(options: RunOptions, stored: Plan | None, source: str) -> Outcome | None:
    """Outcome of the placement that is run, from when it was placed.

    None where other layers, another machine or another output are run, or the network has changed.

    Args:
        stored: the placement that the user gave, or the file carries.
        source: SHA-256 of the network.
    """
    if stored is None or stored.source != source or options.hardware is not None or options.names_layers:
        return None
    return stored.outcome if is_judged_output(stored, options.scored) else None


def is_judged_output(plan: Plan | None, output: str | None) -> bool:
    """Whether an output is the one that a placement was judged by; None is. Plans of earlier versions name none."""
    outcome = None if plan is None else plan.outcome
    return output is None or outcome is None or outcome.output in (None, output)


def told_how(found: Evaluation, calibrated: int, state: PreparedNetwork) -> Evaluation:
    """An evaluation that says on what and when chips were calibrated, and how their products were computed.

    Args:
        calibrated: samples that every chip was calibrated on.
    """
    at = state.plan.hardware.compensation.calibrated_at(found.t_s) if calibrated else None
    told = replace(found, calibrated=calibrated, calibrated_at_s=at)
    return replace(told, engine=state.engine, engine_reason=state.engine_reason)


def skipped_digest(task: Task) -> str | None:
    """SHA-256 of the samples that ``--skip`` left out; None of documents, of which both sides may hold parts."""
    return None if task.skipped is None or task.documents is not None else task.skipped.digest
