"""``lhc.pareto``: the front of accuracy against an objective."""

from dataclasses import replace
from pathlib import Path

from lhc.commands.sensitivity import preparing
from lhc.errors import UsageError
from lhc.measure import Running
from lhc.measure.budget_test import Budget, Drop, parse_drop
from lhc.options.by_command import ParetoOptions
from lhc.options.declaration.option_fields import flags_given, options_of
from lhc.options.declaration.python_signature import keywords
from lhc.passes import STRATEGIES, Pipeline
from lhc.pipeline.inputs.hardware_choice import named_hardware
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.objective import with_goal
from lhc.pipeline.pipeline_state import READ, NetworkWithFront, PreparedNetwork
from lhc.pipeline.steps.front import MeasureFront, MeasureTiles
from lhc.pipeline.steps.heal.harmful_calibration import CheckCalibration
from lhc.pipeline.steps.prepare import read
from lhc.pipeline.steps.rank import RankAll
from lhc.report.store import Answer, answer, read_fronts
from lhc.report.tables.command_results import FrontResult


def pipeline(options: ParetoOptions) -> Pipeline[PreparedNetwork, NetworkWithFront]:
    """The steps of ``lhc pareto``."""
    kind = MeasureTiles if options.objective == "tiles" else MeasureFront
    front = (RankAll(options.method), kind(options.points, options.confidence))
    return Pipeline("pareto", (preparing(options), CheckCalibration(), *front), READ).checked()


@keywords(ParetoOptions)
def pareto(options: ParetoOptions) -> FrontResult:
    """The front of accuracy against an objective; its intervals hold together.

    ``confidence`` is the two-sided level of all intervals together.
    """
    steps = pipeline(options)
    with Running(options) as running:
        goal = replace(options, objective="macs") if options.objective == "tiles" else options
        state = with_goal(read(options, running, options.t_s), goal, STRATEGIES["milp"])
        # Copies cost energy and latency, of which every point is to be the least.
        found = steps.apply(replace(state, fills=options.copies == "auto" and state.goal.objective == "macs"))
    return FrontResult(**vars(found.front))


def answered(options: ParetoOptions, folder: Path, max_drop: Drop) -> tuple[float, Answer]:
    """A budget, and the best placement that was verified within it.

    Raises:
        UsageError: there is no such front, or none of its points holds the budget; or options of a measurement.
    """
    given = flags_given(options, {one.name for one in options_of(ParetoOptions)} - {"model", "objective", "hardware"})
    if given:
        raise UsageError(f"--from measures nothing: {', '.join(given)} cannot go with it")
    value, percentage = parse_drop(max_drop)
    machine = None if options.hardware is None else named_hardware(options)
    fronts = read_fronts(folder, open_model(str(options.model)).model.source)
    found = answer(fronts, value, options.objective, machine)
    front = found.stored.front
    Budget(value, percentage=percentage).check_unit(front.drop_metric, front.percent)
    if found.verified is None and found.estimated is None:
        raise UsageError(f"no point of the front is shown or estimated to hold --max-drop {max_drop}")
    return value, found
