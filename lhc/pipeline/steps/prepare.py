"""Reading: model, samples and hardware read and checked, layers qualified, selected and gated."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, Running
from lhc.measure.preflight_checks import tile_errors
from lhc.onnx_io import read_plan
from lhc.options.by_command import Measuring, OutputsOptions, PartitionOptions, PlacedMeasuring
from lhc.options.declaration.value_parsing import Engine
from lhc.options.shared import GivenPlacement
from lhc.passes import ChooseCopies, LeaveUnjudged, ParityGate, Pass, Qualify, initial_plan, judged_layers
from lhc.pipeline.inputs.hardware_choice import check_machine, machine_of, warn_of_defaults, warn_of_left_out
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.pipeline.inputs.sample_axis_detection import with_output_axes
from lhc.pipeline.inputs.scored_output import probabilities_of_answers
from lhc.pipeline.measurement_warnings import beyond_memory, on_engine
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.pipeline.steps.range_calibration import calibrated
from lhc.plan import OF_ANOTHER_NETWORK, Outcome, Plan
from lhc.runtime import parity_tolerance
from lhc.runtime.onnxruntime.batched_calls import parity_samples
from lhc.runtime.onnxruntime.sessions import tensor_infos
from lhc.samples.class_probabilities import check_class_axis, class_axis, classes_last
from lhc.samples.metrics import METRICS, UNCHOSEN, Array, Metric, metric_without_targets, shows_classes
from lhc.samples.sample_axis import CALL, moved_axis
from lhc.samples.targets import (
    are_answers,
    check_classes,
    check_labels,
    check_values,
    repeat_each_other,
    with_positions,
)
from lhc.samples.task import Indices, Task
from lhc.support.number_formatting import counted
from lhc.support.version import VERSION

log = logging.getLogger("lhc")

PlacedT = TypeVar("PlacedT", bound=PlacedMeasuring)
ReadT = TypeVar("ReadT", bound=Measuring)

CHECKING = "checking tiles without noise against the network (the first run compiles the emulation)"
_EXAMPLES = 8


@dataclass(frozen=True)
class Decide:
    """A pass as a step: it decides about the plan of a state."""

    decides: Pass

    @property
    def name(self) -> str:
        """Name of the pass."""
        return self.decides.name

    @property
    def requires(self) -> frozenset[str]:
        """Facts that the pass requires, and a plan."""
        return self.decides.requires | {"graph", "plan"}

    @property
    def ensures(self) -> frozenset[str]:
        """Facts that the pass ensures."""
        return self.decides.ensures

    def apply(self, state: StateT) -> StateT:
        """The state with the pass's decisions and notes."""
        found = self.decides.run(state.graph, state.plan)
        if found.plan == state.plan and not found.notes:
            return state
        return replace(state, plan=found.plan, notes=(*state.notes, *found.notes))


@dataclass(frozen=True)
class KeepPlaced:
    """Keep copies of weights and ranges of inputs as a placement on the same machine has them.

    Attributes:
        placed: the placement.
    """

    placed: Plan
    name: ClassVar[str] = "keep-placed"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The state with these copies and ranges; layers that the placement does not know have one copy."""
        state = _with_copies(state, self.placed, True)
        ranges = {name: found for name, found in self.placed.ranges.items() if name in state.measurable}
        return replace(state, plan=state.plan.with_ranges(ranges))


@dataclass(frozen=True)
class CheckJudged:
    """Leave layers digital that no judged output depends on, and say so."""

    name: ClassVar[str] = "check-judged"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The state without the layers that nothing judges."""
        outputs = state.judged_outputs
        after = Decide(LeaveUnjudged(outputs)).apply(state)
        which = " and ".join(map(repr, outputs))
        does = f"output {which} does" if len(outputs) == 1 else f"outputs {which} do"
        left = [row.name for row in after.plan.layers if row.reason == "not-judged"]
        if left:
            many = counted(state.layers_in(left), "layer stays", "layers stay")
            state.opened.warn(f"{many} digital, since {does} not depend on {'it' if len(left) == 1 else 'them'}")
        fixed = after.plan.analog - judged_layers(state.graph, outputs)
        if fixed:
            many = counted(state.layers_in(fixed), "layer is", "layers are")
            state.opened.warn(f"{many} analog as you say, and nothing judges what that loses: {does} not depend on it")
        return after


@dataclass(frozen=True)
class CheckParity:
    """Keep layers digital that noise-free tiles do not reproduce, measured on a few samples."""

    name: ClassVar[str] = "check-parity"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"parity"})

    def apply(self, state: StateT) -> StateT:
        """The state without the layers whose errors are too large."""
        if not state.measurable:
            return state
        state.options.progress(CHECKING, 0, 1)
        count = parity_samples(state.graph)
        errors = tile_errors(state.evaluator(state.task.head(count)), state.measurable, count)
        types = {name: weight.dtype for name in errors if (weight := state.graph[name].weight) is not None}
        for dtype in dict.fromkeys(types.values()):
            own = {name: error for name, error in errors.items() if types[name] == dtype}
            state = Decide(ParityGate(own, parity_tolerance(dtype))).apply(state)
        return state


def read(
    options: Measuring,
    running: Running,
    t_inference: float | None,
    *,
    opened: LoadedModel | None = None,
    task: Task | None = None,
    ranks: bool = False,
    least_draws: int = 2,
    machine: Hardware | None = None,
) -> PreparedNetwork:
    """Read and check everything: what every pipeline begins with.

    Args:
        t_inference: seconds after the first read; the hardware's own by default.
        task: the samples that judge, with their metric, where they were read before.
        ranks: layers are ranked, so that no metric has to be chosen that judges placements.
        least_draws: programmings that figures take.

    Raises:
        UsageError: a value that has no meaning for this model.
    """
    machine = machine_of(options) if machine is None else machine
    t_s = machine.t_inference_s if t_inference is None else t_inference
    machine.check_time(t_s)
    if options.draws < least_draws:
        why = ": one chip shows no spread" if least_draws > 1 and options.draws == 1 else ""
        raise UsageError(f"--draws must be at least {least_draws}, got {options.draws}{why}")
    opened = loaded_model(options) if opened is None else opened
    task = opened.judging(options, UNCHOSEN if ranks else None) if task is None else task
    opened = opened.seen(task)
    if options.class_axis is None and task.class_axis is not None:
        options = replace(options, class_axis=task.class_axis)
    graph = opened.graph(None, task)
    if options.further and not isinstance(options, PartitionOptions):
        raise UsageError("several --output are for 'lhc partition'; this command looks at one")
    if options.scored is not None and options.scored not in graph.outputs:
        raise UsageError(f"--output {options.scored!r}: the model's outputs are {', '.join(graph.outputs)}")
    if options.scored is None and not isinstance(options, OutputsOptions):
        output = probabilities_of_answers(opened.model, task, opened.warn)
        options = options if output is None else replace(options, output=(output,))
    _tell_unjudged(options, opened, graph)
    scored = options.scored or graph.outputs[0]
    every = isinstance(options, OutputsOptions) or bool(options.further)
    looked_at = list(dict.fromkeys([scored, *graph.outputs])) if every else [scored]
    task = with_output_axes(opened.model, task, looked_at, options.sample_axes, opened.warn)
    if caution := beyond_memory(opened.model, graph, machine, len(task), options.bytes):
        opened.warn(caution)
    check_machine(machine, graph)
    warn_of_left_out(machine)
    engine, reason = _chosen_engine(options, opened, graph, machine)
    options = replace(options, engine=engine)
    warn_of_defaults(machine)
    plan = initial_plan(graph, machine, opened.model.source, VERSION)
    begun = PreparedNetwork(options, running, opened, graph, plan, task, float(t_s), engine_reason=reason)
    state = _with_class_axis(begun)
    if not ranks:
        _check_score(state)
    if ranks or task.targets is not None or task.metric.chosen:
        return state
    return _with_metric(state)


def _check_score(state: PreparedNetwork) -> None:
    """Refuse, before anything is measured, what a function or an error number by number cannot score.

    Says so where a function compares numbers of other shapes. Whole numbers may be classes, which have other shapes.
    """
    metric = state.task.metric
    targets = None if metric.needs_targets is False else state.task.targets
    own = metric.name not in METRICS
    if not own and (targets is None or metric.name not in ("mse", "psnr")):
        return
    evaluator = _looking(state)
    output = evaluator.example_output
    shape = (len(state.task), *output.shape[1:])
    if own:
        _ = evaluator.scores_sets
        if targets is not None and targets.dtype.kind == "f" and repeat_each_other(shape, targets.shape):
            state.opened.warn(
                f"{metric.name} is given outputs of shape {shape} and labels of shape {targets.shape}: NumPy repeats"
                " one over the other where they are compared; is that meant?"
            )
    elif targets is not None:
        check_values(metric.name, shape, targets.shape)


def _tell_unjudged(options: Measuring, opened: LoadedModel, graph: LayerGraph) -> None:
    """Say once that one output judges and the others do not, where nobody chose it."""
    others = graph.outputs[1:]
    if options.scored is None and others:
        which = repr(others[0]) if len(others) == 1 else f"{len(others)} others, e.g. {others[0]!r},"
        verb = "is" if len(others) == 1 else "are"
        opened.warn(f"judged by its first output {graph.outputs[0]!r}; {which} {verb} not looked at (--output NAME)")


def _chosen_engine(
    options: Measuring, opened: LoadedModel, graph: LayerGraph, machine: Hardware
) -> tuple[Engine, str | None]:
    """The engine that computes, and why that one where it is not the ordinary one, which is told.

    Raises:
        UsageError: the one that is asked for cannot stand for the machine.
    """
    names = [layer.name for layer in graph.candidates]
    if options.engine == "auto" and not names:
        return "fast", None  # nothing is emulated, and nothing that emulates need be installed
    from lhc.runtime.engines.registry import choose_engine

    choice = choose_engine(options.engine, machine, names)
    if choice.why is not None:
        from lhc.runtime.torch_settings import gpu_name

        opened.warn(on_engine(choice.name, choice.why, gpu_name()))
    return choice.name, choice.why


def _with_class_axis(state: StateT) -> StateT:
    """The state with the axis of the classes, where the user, the targets or the values say which it is.

    Raises:
        DataError: the labels are no classes of the output; nothing is measured before that is known.
    """
    asked, axes, metric, targets = (
        state.options.class_axis,
        _declared_axes(state),
        state.task.metric,
        state.task.targets,
    )
    needed = bool(metric.classes and metric.needs_targets)
    may_have_axes = targets is not None and (needed or targets.ndim > 1)
    if metric.classes is False or (asked is None and axes == 2 and not may_have_axes):  # nowhere else to be
        return state
    evaluator = _looking(state)
    output = evaluator.example_output
    if targets is not None and metric.classes:
        state = replace(state, task=state.task.with_targets(with_positions(targets, output)))
    targets = state.task.targets
    # Records (the paragraph and the answers of a question) are the metric's own, and no numbers of classes.
    labels = targets if needed and targets is not None and targets.dtype.names is None else None
    if labels is not None and are_answers(output, labels):
        return state
    if metric.classes and metric.chosen and output.ndim < 2 and not are_answers(output, targets):
        check_classes(metric.name, output)
    found = replace(state, task=state.task.with_class_axis(_class_axis(state, output, evaluator.output_name)))
    if labels is not None:
        last = classes_last(output, found.task.class_axis)
        check_classes(metric.name, last)
        check_labels(metric.name, last.shape, labels)
    return found


def _looking(state: PreparedNetwork) -> PlacementEvaluator:
    """To look at a few answers, before it is known what calibrates."""
    return state.without_output_correction.evaluator(state.task.head(_EXAMPLES))


def _class_axis(state: PreparedNetwork, output: Array, name: str) -> int | None:
    """The axis of the classes of an example of the output; None where nothing says which it is."""
    asked, metric, targets = state.options.class_axis, state.task.metric, state.task.targets
    samples = state.task.layout.of_output(name)
    if asked is not None and samples != 0:
        axes = output.ndim - (samples == CALL)  # that the network gives it
        counted = asked + axes if asked < 0 else asked
        return check_class_axis(moved_axis(counted, samples) if counted >= 0 else asked, output.shape, name)
    if asked is not None:
        return check_class_axis(asked, output.shape, name)
    axis = class_axis(output, targets) if output.ndim > 2 else None
    unshown = axis is None and output.ndim > 3 and targets is None and not are_answers(output)
    if unshown and metric.classes and metric.chosen:
        raise UsageError(
            f"{metric.name}: output {name!r} has shape {output.shape}, and nothing shows which axis holds the classes;"
            f" say --class-axis 1 (channels first) or {output.ndim - 1} (last)"
        )
    if axis in (None, output.ndim - 1):
        return axis
    if metric.classes or shows_classes(classes_last(output, axis), targets):
        why = "values are probabilities along it" if targets is None else "the labels have the other axes"
        given = "with that axis last" if metric.classes else "as they are"
        own = "" if metric.name in METRICS else f"; {metric.name} is given outputs {given}"
        state.opened.warn(f"classes are read from axis {axis} of {name!r}, {output.shape}: {why} (--class-axis){own}")
    return axis


def of_another_output(state: StateT, name: str, metric: Metric | None) -> StateT:
    """The state of another output, judged against the digital network.

    Args:
        metric: by default what its values show.
    """
    options = replace(state.options, output=(name,), class_axis=None)
    judge = metric or replace(METRICS["agreement"], chosen=False)
    task = replace(state.task, targets=None, metric=judge, class_axis=None, finite=True)
    found = _with_class_axis(replace(state, options=options, task=task))
    return found if metric is not None else _with_metric(found)


def _declared_axes(state: PreparedNetwork) -> int | None:
    """Axes of the scored output as the model declares them."""
    name = state.options.scored or state.graph.outputs[0]
    info = next(info for info in tensor_infos(state.model, outputs=True) if info.name == name)
    return len(info.shape) or None


def _with_metric(state: StateT) -> StateT:
    """The state with the metric that its outputs allow: it has no targets, and nobody chose one."""
    evaluator = _looking(state)
    named = state.options.class_axis is not None
    metric, why = metric_without_targets(evaluator.example_output, evaluator.output_name, named)
    if metric.name == "nmse":
        log.warning(
            "%s: judged by nmse, the squared error as a share of the digital answers' energy (--max-drop 0.01 is a"
            " hundredth of it); for scores of classes choose --metric agreement or kl, else --metric nmse",
            why,
        )
    return replace(state, task=state.task.with_metric(metric), metric_note=f"{metric.name}: {why}")


def read_placed(
    options: PlacedMeasuring,
    running: Running,
    times: Sequence[float] | None,
    *,
    opened: LoadedModel | None = None,
    task: Task | None = None,
    least_draws: int = 1,
    calibrating: Indices | None = None,
) -> tuple[PreparedNetwork, frozenset[str], list[float]]:
    """Read and check everything for running a placement: also its analog layers, and the times.

    Args:
        times: seconds after the first read; the hardware's own by default.
        task: the samples that judge, where they were read before.
        least_draws: programmings that figures take.
        calibrating: places of the samples that calibrate chips and give converters their ranges; None leaves it to
            `PreparedNetwork.splits`.
    """
    opened = loaded_model(options) if opened is None else opened
    stored = stored_plan(options, opened)
    if isinstance(options.placement, Plan) and options.placement.source != opened.model.source:
        opened.warn(OF_ANOTHER_NETWORK)
    opened = opened if stored is None else opened.with_control(stored.control)
    opened = opened if options.names_layers else opened.split_as(stored)
    outcome = None if stored is None else stored.outcome
    options = as_judged(options, outcome)
    machine = machine_of(options, stored)
    at = [machine.t_inference_s] if times is None else [float(t) for t in times]
    for t in at:
        machine.check_time(t)
    state = read(options, running, at[0], opened=opened, task=task, least_draws=least_draws, machine=machine)
    if outcome is not None and options.metric is None:
        _check_metric(state, outcome)
    _tell_unlooked_at(state, outcome)
    if calibrating is not None:
        state = replace(state, calibrating=state.task.take(calibrating))
    keeps_copies = stored is not None and stored.hardware.infers_as(machine)
    return *_placed(state, options, stored, keeps_copies), at


def on_machine(
    state: PreparedNetwork, machine: Hardware, options: PlacedMeasuring
) -> tuple[PreparedNetwork, frozenset[str]]:
    """The state of a placement that was read, on another machine, and its analog layers.

    Copies of its weights stay where the tiles hold them likewise.

    Args:
        state: of `read_placed`.
        options: that it was read with.
    """
    check_machine(machine, state.graph)
    stored = stored_plan(options, state.opened)
    if stored is not None and machine == stored.hardware.with_open_ranges:
        machine = stored.hardware
    engine, reason = _chosen_engine(options, state.opened, state.graph, machine)
    plan = initial_plan(state.graph, machine, state.model.source, VERSION)
    begun = replace(state, options=replace(state.options, engine=engine), plan=plan, engine_reason=reason)
    keeps_copies = stored is not None and machine.takes_copies_of(stored.hardware)
    return _placed(begun, options, stored, keeps_copies)


def _placed(
    state: PreparedNetwork, options: PlacedMeasuring, stored: Plan | None, keeps_copies: bool
) -> tuple[PreparedNetwork, frozenset[str]]:
    """The state with layers qualified, and with copies, ranges and arithmetic of the placement; its analog layers."""
    state = Decide(Qualify()).apply(state)
    analog = analog_of(options, stored, state.plan, state.model.label)
    state = _with_copies(state, None if options.names_layers else stored, keeps_copies)
    machine = state.plan.hardware
    if stored is not None and stored.hardware.digital == machine.digital:
        state = replace(state, plan=state.plan.model_copy(update={"digital": stored.digital}))
    if stored is not None and stored.hardware.infers_as(machine) and analog <= set(stored.ranges):
        state = replace(state, plan=state.plan.with_ranges(stored.ranges))
    return calibrated(state, sorted(analog)), analog


def _tell_unlooked_at(state: PreparedNetwork, outcome: Outcome | None) -> None:
    """Warn that a placement holds budgets of several outputs, of which this command looks at one."""
    if outcome is not None and outcome.further:
        names = [str(outcome.output), *(one.output for one in outcome.further)]
        looked_at = state.options.scored or state.graph.outputs[0]
        state.opened.warn(
            f"its placement was judged by the outputs {', '.join(names)}; this command looks at {looked_at!r} alone"
            " (--output names another)"
        )


def _with_copies(state: StateT, stored: Plan | None, kept: bool) -> StateT:
    """The state with the copies of a placement, where these are kept; else with what fits in tiles anyway."""
    if stored is None:
        return Decide(ChooseCopies()).apply(state)
    if not kept:
        return _with_copies_anew(state, stored)
    known = {layer.name: layer.copies for layer in stored.layers if layer.name in state.measurable}
    return replace(state, plan=state.plan.with_copies(state.graph, known))


def _with_copies_anew(state: StateT, stored: Plan) -> StateT:
    """The state with the copies that fit in tiles anyway; says so where the placement has more on further tiles."""
    chosen = Decide(ChooseCopies()).apply(state)
    analog = stored.analog & set(state.measurable)
    before, after = (plan.tiles_of(chosen.graph, analog) for plan in (stored, chosen.plan))
    now = chosen.plan.copies
    if any(copies > now.get(name, 1) for name, copies in stored.copies.items() if name in analog):
        state.opened.warn(
            f"copies of weights are chosen anew, since the machine is not the one of the placement: {before} tiles"
            f" become {after}; copies on further tiles are chosen by 'lhc partition' alone"
        )
    return chosen


def stored_plan(options: GivenPlacement, opened: LoadedModel) -> Plan | None:
    """The plan that the user gives, else that of the annotations."""
    return options.placement if isinstance(options.placement, Plan) else read_plan(opened.model)


def analog_of(options: GivenPlacement, stored: Plan | None, plan: Plan, label: str) -> frozenset[str]:
    """The layers that are to be analog, if all of them can be: those that the user names, else those of a stored plan.

    Args:
        stored: given by the user, or in the annotations.

    Raises:
        UsageError: one cannot, or there is no such layer.
    """
    given = options.placement
    if options.everything:
        return frozenset(plan.eligible)
    if given is None or isinstance(given, Plan):
        analog = stored.analog if stored else frozenset[str]()
    else:
        analog = frozenset([given] if isinstance(given, str) else given)
    layers = {layer.name: layer for layer in plan.layers}
    for name in sorted(analog - set(plan.eligible)):
        if name not in layers:
            raise UsageError(f"{label} has no layer {name!r} that could be analog")
        rewritten = stored is not None and any(layer.name == name and layer.origin for layer in stored.layers)
        hint = (
            "; the rule that rewrote it when it was placed is missing: install its package, or 'lhc --import MODULE …'"
        )
        raise UsageError(f"layer {name!r} cannot be analog: {layers[name].detail}{hint if rewritten else ''}")
    return analog


def as_judged(options: PlacedT, outcome: Outcome | None) -> PlacedT:
    """The options with metric, direction and output of the judgement of a placement, where they name no others.

    A function is not among them: lhc imports nothing because a file names it.

    Args:
        options: what the user asks for; a task of the user's own that comes with a metric names that.
    """
    if outcome is None:
        return options
    options = read_as_judged(options, outcome)
    own = isinstance(options.data, Task) and options.data.metric.chosen
    if options.metric is None and not own and outcome.metric in METRICS:
        return replace(options, metric=outcome.metric)
    if options.metric == outcome.metric and options.higher_is_better is None and outcome.metric not in METRICS:
        return replace(options, higher_is_better=outcome.higher_is_better)
    return options


def read_as_judged(options: ReadT, outcome: Outcome) -> ReadT:
    """The options with output and axes of the judgement of a placement, where they name no others."""
    axis = outcome.class_axis if options.class_axis is None else options.class_axis
    if options.scored not in (None, outcome.output):
        axis = options.class_axis
    samples = options.sample_axes or outcome.sample_axes or None
    output = options.output or (outcome.output and (outcome.output,))
    return replace(options, output=output, class_axis=axis, sample_axis=samples)


def _check_metric(state: PreparedNetwork, outcome: Outcome) -> None:
    """Refuse to judge by another metric than the placement was judged by, when nobody chose one."""
    chosen = state.task.metric.chosen and state.metric_note is None
    if not chosen and state.task.metric.name != outcome.metric:
        raise UsageError(
            f"{state.model.label}: its placement was judged by {outcome.metric!r}, which lhc does not import because a"
            f" file names it; give --metric {outcome.metric}, or another one"
        )
