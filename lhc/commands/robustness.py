"""``lhc.robustness``: a placement over time, over chips and over scaled noise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lhc.errors import UsageError
from lhc.measure import Budget, Running
from lhc.measure.evaluator import PlacementEvaluator
from lhc.options.by_command import AsVerified, PlacedMeasuring, RegionOptions, RobustnessOptions
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.inputs.objective import budget_as_placed, budget_of_plan, chips_of
from lhc.pipeline.inputs.run_inputs import told_how
from lhc.pipeline.measurement_warnings import warn_of_doubtful_labels, warn_of_nothing_analog
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.explain.robustness import TIMES_S, differences, measure_robustness
from lhc.pipeline.steps.prepare import read_placed, stored_plan
from lhc.plan import Outcome
from lhc.report.tables.command_results import RobustnessResult
from lhc.results import Evaluation
from lhc.stats import CONFIDENCE, one_sided
from lhc.support.number_formatting import time_text

CHIPS = 50
"""For the spread over chips, at least."""


@keywords(RobustnessOptions)
def robustness(options: RobustnessOptions) -> RobustnessResult:
    """Robustness of a placement: over time, over many chips, and over noise scaled until it fails.

    Samples, chips and level are those of the verification, where data and machine are those that the placement was
    verified with: at the machine's own noise the answer is then the same. Else it is said what differs.
    """
    with measured_again(options) as placed:
        machine = placed.state.plan.hardware
        for t in options.times_s or ():
            machine.check_time(t)
        times = list(filter(machine.knows, TIMES_S)) if options.times_s is None else options.times_s
        found = measure_robustness(placed.evaluator, placed.analog, placed.budget, times, placed.chips, placed.first)

        def told(one: Evaluation) -> Evaluation:
            return told_how(one, placed.calibrated, placed.state)

        found = replace(
            found,
            times=tuple(replace(at, evaluation=told(at.evaluation)) for at in found.times),
            chips=told(found.chips),
            scales=tuple(replace(at, evaluation=told(at.evaluation)) for at in found.scales),
            one_chip=machine.faults.one_chip,
        )
    verified = placed.verified
    if verified is not None:
        found = replace(found, differs=tuple(differences(found, verified, placed.same, placed.state.engine)))
    return RobustnessResult(**vars(found))


def at_ages(options: RobustnessOptions, ages: Sequence[float]) -> tuple[Evaluation, ...]:
    """The placement at some times, in seconds after the first read, on samples and chips as `robustness` takes them."""
    with measured_again(options) as placed:
        evaluator, level = placed.evaluator, placed.budget.confidence
        chips = range(placed.first, placed.first + evaluator.draws)
        found = (
            evaluator.evaluate(placed.analog, placed.budget.relative, f"after {time_text(t)}", t, level, chips)
            for t in sorted(ages)
        )
        return tuple(told_how(one, placed.calibrated, placed.state) for one in found)


@dataclass(frozen=True)
class PlacementAgain:
    """A placement, ready to be measured once more.

    Attributes:
        verified: how it did when it was verified, where data and machine are the same.
        same: samples are those of the verification.
        chips: for the spread over chips; of a feasible region, for every machine.
        asked: the options that it was read with: chips, seed and level are those of the verification by default.
    """

    state: PreparedNetwork
    evaluator: PlacementEvaluator
    analog: frozenset[str]
    budget: Budget
    verified: Outcome | None
    same: bool
    chips: int
    asked: PlacedMeasuring

    @property
    def first(self) -> int:
        """Number of the first chip."""
        return 0 if self.verified is None else self.verified.first_draw or 0

    @property
    def calibrated(self) -> int:
        """Number of samples that every chip is calibrated on."""
        return self.state.calibrated_on if self.analog else 0


@contextmanager
def measured_again(options: AsVerified) -> Iterator[PlacementAgain]:
    """A placement, ready to be measured on samples and chips of its verification where it has one."""
    opened = loaded_model(options)
    stored = stored_plan(options, opened)
    outcome = None if stored is None else stored.outcome
    verified = None if options.hardware is not None or options.names_layers else outcome
    asked = _as_verified(options, verified)
    generalize = options.generalize or (verified is not None and verified.generalized)
    budget = budget_as_placed(replace(options, generalize=generalize), asked.confidence, opened, outcome)
    flag, given, least = ("--draws", options.draws, asked.draws)
    if isinstance(options, RobustnessOptions):
        flag, given, least = "--chips", options.chips, CHIPS
    chips = chips_of(flag, given, least, budget.share, one_sided(budget.confidence))
    with Running(options) as running:
        state, analog, at = read_placed(asked, running, None, opened=opened)
        t_s = options.t_s if isinstance(options, RegionOptions) else None
        if t_s is None:
            t_s = outcome.t_s if outcome is not None and options.hardware is None else at[0]
        state.plan.hardware.check_time(t_s)
        state = replace(state, t_s=t_s)
        if outcome is not None and options.max_drop is None:
            budget_of_plan(outcome, state.task.metric.name, options.drop_type, asked.confidence)
        same_samples = verified is not None and verified.data == state.task.digest
        evaluator = state.evaluator(state.splits.verify if same_samples else state.splits.judged)
        budget.check(evaluator)
        warn_of_doubtful_labels(evaluator)
        warn_of_nothing_analog(opened, analog, stored)
        yield PlacementAgain(state, evaluator, analog, budget, verified, same_samples, chips, asked)


def _as_verified(options: AsVerified, verified: Outcome | None) -> PlacedMeasuring:
    """The options with chips, seed and level of a verification, where they name no others."""
    level = CONFIDENCE if verified is None else verified.confidence
    chosen = replace(
        options,
        confidence=level if options.confidence is None else options.confidence,
        draws=(10 if verified is None else verified.draws) if options.draws is None else options.draws,
        seed=(0 if verified is None else verified.seed) if options.seed is None else options.seed,
    )
    asked = part(chosen, PlacedMeasuring)
    chips = options.chips if isinstance(options, RobustnessOptions) else None
    if (chips is not None and chips < 2) or asked.draws < 2:
        raise UsageError("--chips and --draws must be at least 2: one chip shows no spread")
    return asked
