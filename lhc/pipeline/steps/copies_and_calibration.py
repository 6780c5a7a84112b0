"""Copies of weights and calibration of chips: left out where they do harm, no more than needed, and what they gain.

*Harmful calibration.* A column's correction comes from all positions of the calibration samples. Where many of them
answer nothing and no mask tells so, they decide the correction of all others. So what calibrated chips answer is
compared with what the same chips answer uncalibrated, before anything rests on it.

*Harmful copies.* With k copies in a column the sum is k times as great. Where it is beyond the ADC's bound, bound
management halves the inputs, which costs reads, and bits of the DAC, which all copies share. So what layers answer with
all copies that are read again is compared with what they answer with fewer, and what they cost with what they cost on
digital cores.

*Fewest copies.* Where energy or latency is wanted, no more copies are taken than accuracy asks for: they cost some of
both. A search judges every placement with all tiles filled that there are. What it ends with is judged again on fewer,
first on those that it takes anyway, then by bisection over eight steps; the fewest with which its mean drop stays
within three quarters of the budget are kept, so that a test has room.

*Gain.* The placement that is kept is judged without copies and calibration, and with each.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.costs import spent
from lhc.costs.plan_costs import plan_cost
from lhc.errors import OutOfTimeError
from lhc.measure import PlacementEvaluator
from lhc.measure.evaluation_context import calibration_block
from lhc.measure.preflight_checks import CheckCopied
from lhc.options.shared import CopiesOptions
from lhc.passes import ProfitableCopies
from lhc.passes.decide.copies import Copies
from lhc.passes.decide.copies_that_pay import halved
from lhc.pipeline.pipeline_state import PreparedNetwork, RecordedNetwork, SearchedNetwork, StateT
from lhc.pipeline.steps.prepare import Decide
from lhc.pipeline.steps.range_calibration import SUM_SAMPLES, RankingBlocks
from lhc.pipeline.steps.search import judge_of_search
from lhc.plan import HarmfulCalibration, Healing
from lhc.samples.metrics import get_metric
from lhc.support.number_formatting import counted, ratio

CHIPS = 2
"""Chips that are compared, the first of the search; for the calibration with every layer analog that may be."""
CALIBRATION_CHANCE = 1.1
"""Ratio of two errors that chance makes with so few chips; harm is several times as much."""
REMEDY = (
    "This is one decision for the whole network. Layers that are kept digital (--force-digital, --exclude) have no part"
    " in it: 'lhc partition' with some of them takes it anew. A plan that is followed (--plan) keeps its own"
)
CHECKING = "checking the calibration"
LEAST_SAMPLES = 32
"""Calibration samples; half of fewer say little of either."""


@dataclass(frozen=True)
class CheckCalibration:
    """Leave the calibration of chips out where it makes their answers worse."""

    name: ClassVar[str] = "check-calibration"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"calibration"})

    def apply(self, state: StateT) -> StateT:
        """The network with a machine that corrects outputs only if that serves it."""
        return with_useful_calibration(state, frozenset(state.measurable))


def with_useful_calibration(state: StateT, analog: frozenset[str]) -> StateT:
    """The state without calibration if the answers of calibrated chips are clearly worse.

    Half of the calibration samples calibrate, the other half compares: normalised squared error against the network as
    given, mean over `CHIPS` chips. With fewer than `LEAST_SAMPLES` of them nothing is compared.
    """
    evaluators = compared_evaluators(state) if analog else ()
    if not evaluators:
        return state
    for one in evaluators:
        one.expect([(analog, range(CHIPS))])
    try:
        with_it, without = (float(one.measure(analog, range(CHIPS), CHECKING).drops.mean()) for one in evaluators)
    except OutOfTimeError:
        return state  # what comes next keeps what there is
    if with_it <= CALIBRATION_CHANCE * without:
        return state
    harmful = HarmfulCalibration(calibrated=with_it, uncalibrated=without, chips=CHIPS, samples=evaluators[0].samples)
    state.opened.warn(f"{harmful.text}. {REMEDY}")
    return replace(state.uncalibrated, harmful=harmful)


def compared_evaluators(state: PreparedNetwork) -> tuple[PlacementEvaluator, ...]:
    """Evaluators of calibrated chips, and of the same chips uncalibrated; empty where nothing is compared."""
    samples = state.calibrating if state.calibrating is not None else state.splits.calibrate
    if state.calibration is None or samples is None:
        return ()
    known = samples.head(state.calibration.samples)
    if len(known) < LEAST_SAMPLES:
        return ()
    half = len(known) // 2
    judge = known.take(np.arange(half, len(known))).with_metric(get_metric("nmse"))
    # Against a network in int8, which errs itself, an error could be below 0.
    evaluator = replace(state.evaluator(judge), calibration=calibration_block(known.head(half)), against="as given")
    return evaluator, replace(evaluator, calibration=None)


COPIES_CHANCE = 1.5
"""Ratio of two errors that few chips and samples make; harm is several times as much."""
LISTED = 4


@dataclass(frozen=True)
class CheckCopies(CopiesOptions):
    """Give layers fewer copies where all that their tiles have room for make them worse, or dearer than digital.

    Copies that the user asks for stay, and harm is told.
    """

    name: ClassVar[str] = "check-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: StateT) -> StateT:
        """The network whose layers have no copies that do harm."""
        state = self._accurate(state)
        return Decide(ProfitableCopies(state.goal.objective)).apply(state) if self.copies == "auto" else state

    def _accurate(self, state: StateT) -> StateT:
        """With no number of copies that makes products clearly worse than half, a quarter, … of them, or one do."""
        sums, titles = state.plan.sums, state.plan.titles
        copies = {name: k for name, k in state.plan.copies.items() if k * max(sums.get(name, (0.0,))) > 1}
        errors = _errors(state, copies)
        best = {name: min(found, key=found.__getitem__) for name, found in errors.items()}
        harm = [name for name, k in copies.items() if errors[name][k] > COPIES_CHANCE * errors[name][best[name]] > 0]
        if not harm:
            return state
        told = ", ".join(
            f"{titles[name]} {ratio(errors[name][copies[name]] / errors[name][best[name]])} times with {copies[name]}"
            f" against {best[name]}"
            for name in harm[:LISTED]
        )
        told = (
            f"copies of weights do harm to {counted(len(harm), 'layer')}: sums beyond the ADC's bound are read again"
            " with coarser inputs. Squared errors of products:"
            f" {told}{', …' if len(harm) > LISTED else ''} ({CHIPS} chips)"
        )
        if self.copies != "auto":
            state.opened.warn(f"--copies {self.copies}: {told}; leave the option out, and such layers get fewer")
            return state
        return _with(state, {name: best[name] for name in harm}).noted(f"{told}; they get the fewer")


def _errors(state: PreparedNetwork, copies: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """Errors of products with so many copies, half of them, …, and one: layer -> copies -> error."""
    found: dict[str, dict[int, float]] = {name: {} for name in copies}
    if not copies:
        return found
    evaluator = RankingBlocks(state, SUM_SAMPLES).evaluator
    for step in range(max(len(halved(count)) for count in copies.values())):
        some = {name: halved(k)[step] for name, k in copies.items() if step < len(halved(k))}
        errors = evaluator.checked(CheckCopied(tuple(some.items()), state.t_s, CHIPS), SUM_SAMPLES)
        for name, error in zip(some, errors.tolist(), strict=True):
            found[name][some[name]] = error
    return found


def _with(state: StateT, copies: Mapping[str, int]) -> StateT:
    """Layers on the same tiles have the fewest that one of them is to have."""
    fewest = state.graph.least_of_tied(copies, state.measurable)
    return replace(state, plan=state.plan.with_copies(state.graph, fewest))


BISECTION_STEPS = 8
ROOM_IN_BUDGET = 0.75
MOST_JUDGEMENTS = 4
"""One without further copies, and of a bisection over the steps."""


@dataclass(frozen=True)
class FewerCopies:
    """Fill no more tiles with copies than the placement needs to be accepted."""

    name: ClassVar[str] = "fewer-copies"
    requires: ClassVar[frozenset[str]] = frozenset({"placement", "budget"})
    ensures: ClassVar[frozenset[str]] = frozenset()

    def apply(self, state: SearchedNetwork) -> SearchedNetwork:
        """The state with a bound of tiles for copies; unchanged where copies cost nothing that is wanted."""
        plan, placement = state.plan, state.searched.result.plan.analog
        verdict = state.searched.judge.verdicts.get(placement)
        if state.goal.objective == "macs" or state.copies.tiles is None or verdict is None or not verdict.accepted:
            return state
        least = plan.tiles_of(state.graph, placement)
        most = plan.with_copies(state.graph, state.copies.of(placement)).tiles_of(state.graph, placement)

        def holds(tiles: int) -> bool:
            try:
                judged = judge_of_search(replace(state, filled=tiles)).within(placement)
            except OutOfTimeError:
                return False
            return judged.evaluation.drop <= ROOM_IN_BUDGET * state.budget.max_drop

        filled = fewest_tiles(least, most, holds)
        found = replace(state, filled=filled)
        return found if filled == least else found.noted(_note(found, filled - least))


def _note(state: SearchedNetwork, tiles: int) -> str:
    """Note on the cost of extra copies, which the search did not weigh against fewer layers."""
    plan = state.searched.result.plan
    filled = plan.with_copies(state.graph, state.copies.of(plan.analog))
    costs = [plan_cost(one, state.graph) for one in (plan, filled)]
    without, with_ = (spent(cost, state.goal.objective) for cost in costs if cost is not None)
    return (
        f"further copies of weights fill {counted(tiles, 'tile')} and add {100 * (with_ / without - 1):.1f} % to the"
        f" {state.goal.objective} of this placement; fewer layers without them may take less: --copies off"
    )


def fewest_tiles(least: int, most: int, holds: Callable[[int], bool]) -> int:
    """The fewest tiles of eight steps that hold, if more tiles hold where fewer do; the most where no fewer do.

    Args:
        holds: whether a number of tiles does.
    """
    steps = np.unique(np.linspace(least, most, BISECTION_STEPS + 1).round().astype(int)).tolist()
    if len(steps) == 1 or holds(steps[0]):
        return int(steps[0])
    bad, good = 0, len(steps) - 1
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if holds(steps[middle]) else (middle, good)
    return int(steps[good])


log = logging.getLogger("lhc")

HEALING_DRAWS = 3
"""Chips that are compared: differences between the variants are paired, chip by chip and sample by sample."""


@dataclass(frozen=True)
class CompareHealing:
    """Judge the placement without healing too, on the first chips and all samples of the verification."""

    name: ClassVar[str] = "healing"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset({"healing"})

    def apply(self, state: RecordedNetwork) -> RecordedNetwork:
        """The state whose outcome says so; unchanged where there is no healing, or the time is over."""
        placement = state.plan.analog
        if not placement:
            return state
        evaluator = replace(state, further=()).judging_evaluator(state.splits.verify)  # of the first output
        try:
            healing = _compared_healing(evaluator, placement, state.found.chips[:HEALING_DRAWS], state.budget.relative)
        except OutOfTimeError:
            return state.noted("--timeout: what copies and calibration brought was not measured")
        return state.with_outcome(healing=healing)


def _compared_healing(
    evaluator: PlacementEvaluator, placement: frozenset[str], chips: range, relative: bool = False
) -> Healing | None:
    """Mean drops of a placement without healing, with copies, with calibration, and with both.

    Args:
        evaluator: samples and healing.
        relative: drops relative to the magnitude of the baseline.

    Returns:
        None where there is no healing, or where the network gives no finite values without it.

    Raises:
        OutOfTimeError: the time that the user gave is over.
    """
    copies = bool(evaluator.copies.of(placement))
    if not (copies or evaluator.context.calibrates):
        return None

    def drop(variant: PlacementEvaluator) -> float:
        scale = 1 / abs(evaluator.baseline) if relative else 1.0
        return scale * float(variant.measure(placement, chips, "what healing brings").drops.mean())

    calibration = evaluator.calibration if evaluator.context.calibrates else None
    variants = {"neither": replace(evaluator, copies=Copies(), calibration=None)}
    if copies:
        variants["copies"] = replace(evaluator, calibration=None)
    if calibration is not None:
        variants["calibration"] = replace(evaluator, copies=Copies())
    if copies and calibration is not None:
        variants["both"] = evaluator
    for variant in variants.values():
        variant.expect([(placement, chips)])
    drops = {name: drop(variant) for name, variant in variants.items()}
    if not all(map(math.isfinite, drops.values())):
        log.warning("what healing brings is not reported: without it the network gives NaN or infinite values")
        return None
    return Healing(
        draws=len(chips),
        samples=evaluator.samples,
        **drops,
        calibration_samples=0 if calibration is None else calibration.samples,
        reads=0 if calibration is None else evaluator.hardware.compensation.reads,
    )
