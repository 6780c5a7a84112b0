"""A network with its placement: as given, as annotated, or searched."""

import logging
from dataclasses import dataclass, replace

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.measure.evaluation_context import Block, calibration_block
from lhc.onnx_io import read_graph, read_plan, refuse_compiled
from lhc.onnx_model import OnnxModel
from lhc.options.by_command import PlacedMeasuring, PlacingFirst
from lhc.options.declaration.option_fields import flags_given, options, options_of, part
from lhc.options.shared import BudgetOptions, Data, GoalOptions, SomeSamples
from lhc.passes import ChooseCopies, qualified_plan
from lhc.pipeline.inputs.hardware_choice import check_machine, machine_of, warn_of_defaults, warn_of_left_out
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.pipeline.steps.prepare import analog_of, read_placed
from lhc.plan import Decision, Plan
from lhc.runtime.digital_precision.products import warn_of_the_files_format
from lhc.runtime.onnxruntime.batched_calls import calibration_count
from lhc.samples.metrics import UNCHOSEN
from lhc.samples.splits import calibrating_task

log = logging.getLogger("lhc")


@dataclass(frozen=True, eq=False)
class NetworkPlacement:
    """A network with its placement.

    Attributes:
        plan: the placement, on which hardware.
        calibration: samples that chips are calibrated on; None where the machine corrects nothing, or none are there.
        drawn_from: which samples of the data these are some of.
    """

    model: OnnxModel
    graph: LayerGraph
    plan: Plan
    calibration: Block | None = None
    drawn_from: range = range(0)


def calibration_samples(opened: LoadedModel, options: Data, plan: Plan) -> tuple[Block | None, range]:
    """Samples that chips of a placement are calibrated on, where nothing is judged, and which they are drawn from.

    Says so if there are none.
    """
    if not (plan.analog and plan.hardware.corrects_outputs):
        return None, range(0)
    if options.data is None and opened.entry is None:
        log.warning(
            "%s: hardware %s corrects the outputs of every chip on samples, and none are given (--data). These chips"
            " are not calibrated, and do worse than those that the placement was verified on",
            opened.model.label,
            plan.hardware.name,
        )
        return None, range(0)
    task = opened.chosen(options)
    count = calibration_count(opened.graph(None, task), plan.hardware.compensation)
    kept = calibrating_task(task, count)
    drawn_from = range(options.skip, options.skip + len(task))
    return None if kept is None else calibration_block(kept), drawn_from


def given_placement(options: PlacingFirst) -> NetworkPlacement | LoadedModel:
    """The placement that is given or annotated; the opened network where there is none, and one has to be searched.

    Raises:
        UsageError: options of a search or another machine where the placement is given, shapes that nothing needs, or
            options of samples where there are none.
    """
    opened = loaded_model(options)
    refuse_compiled(opened.model)
    annotated = None if options.everything or options.placement is not None else read_plan(opened.model)
    plan = options.placement if isinstance(options.placement, Plan) else annotated
    _check(options, plan)
    _check_samples(options, opened)
    if plan is not None:
        return _planned(opened.split_as(plan), plan, options)
    return _named(opened, options) if options.names_layers else opened


def _check(options: PlacingFirst, plan: Plan | None) -> None:
    given = options.names_layers or plan is not None
    of_search = flags_given(part(options, _OfSearch), {one.name for one in options_of(_OfSearch)} - _OF_SAMPLES)
    if of_search and given:
        raise UsageError(
            f"{', '.join(of_search)}: is for the search of a placement, and here the placement is given; leave it out"
        )
    if options.shapes and plan is not None:
        raise UsageError(
            "--shape: not needed where the placement is that of a plan or of the model's annotations, which name every"
            " layer; leave it out"
        )
    if options.shapes and not given:
        raise UsageError(
            "--shape goes with --all-analog or another given placement; for a search, the samples tell the shapes"
        )


def _check_samples(options: PlacingFirst, opened: LoadedModel) -> None:
    """Refuse what says which samples are meant where there are none."""
    of_data = flags_given(options, _OF_SAMPLES)
    if of_data and options.data is None and opened.entry is None:
        raise UsageError(
            f"{', '.join(of_data)}: without samples it means nothing; give these with --data FILE.npz, or leave it out"
        )


@options
class _OfSearch(GoalOptions, BudgetOptions, Data):
    """Options that a search takes."""


_OF_SAMPLES = frozenset(one.name for one in options_of(SomeSamples))
"""They say which samples calibrate a given placement, too."""


def _planned(opened: LoadedModel, plan: Plan, options: PlacingFirst) -> NetworkPlacement:
    given = plan.hardware if options.hardware is None else Hardware.load(options.hardware)
    if given not in (plan.hardware, plan.hardware.as_described):
        raise UsageError(
            f"{opened.model.label}: placed for hardware {plan.hardware.name!r}; for another one partition it again"
        )
    asked, judged = options.digital_precision, plan.hardware.digital.precision
    if asked not in (None, judged):
        raise UsageError(
            f"--digital-precision {asked}: {opened.model.label} was placed with digital products in {judged}; leave it"
            f" out, or place the model again with 'lhc partition --digital-precision {asked}'"
        )
    if plan.source != opened.model.source:
        log.warning(
            "%s has changed since lhc placed it, or its weights have; place the network again with 'lhc partition'",
            opened.model.label,
        )
    opened = opened.with_control(plan.control)
    graph = read_graph(opened.model, sizes=False)
    return NetworkPlacement(opened.model, graph, plan, *calibration_samples(opened, options, plan))


def _named(opened: LoadedModel, options: PlacingFirst) -> NetworkPlacement:
    """The layers that the user names, or all."""
    machine = machine_of(options)
    formatted = options.data is not None and machine.digital.precision != "as-file"
    if machine.needs_calibration or machine.calibrates_adcs or formatted:
        # The metric scores nothing here, and takes any output and targets.
        asked = replace(part(options, PlacedMeasuring), metric="nmse", hardware=machine, draws=1)
        with Running(asked) as running:
            state, analog, _ = read_placed(asked, running, None, opened=opened)
        opened, graph, plan = state.opened, state.graph, state.plan
    else:
        task = None if options.data is None else opened.task(options.data, UNCHOSEN, 1, options)
        opened = opened if task is None else opened.seen(task)
        graph = opened.graph(options.shapes or None, task)
        check_machine(machine, graph)
        warn_of_left_out(machine)
        warn_of_defaults(machine)
        plan = ChooseCopies().run(graph, qualified_plan(graph, machine, opened.model.source)).plan
        analog = analog_of(options, None, plan, opened.model.label)
        warn_of_the_files_format(opened.model.label, machine, graph, analog, "give samples with --data")
    decisions: dict[str, Decision] = {
        name: ("analog" if name in analog else "digital", "forced", "fixed by the user") for name in plan.eligible
    }
    placed = plan.decide(decisions)
    return NetworkPlacement(opened.model, graph, placed, *calibration_samples(opened, options, placed))
