"""The trade-off of accuracy against an objective: the front by estimate, its points verified.

Points of the front are estimated from sensitivities (`lhc.passes.search.front`); those that are spread evenly over its
damage are measured on held-out samples and on chips that nothing was chosen by. Any of them may be picked by its result
afterwards, so the chance of error is divided over all points (Bonferroni): their bounds hold together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.costs import cost_of
from lhc.errors import OutOfTimeError, UsageError
from lhc.graph import LayerGraph
from lhc.measure.evaluator import PlacementEvaluator
from lhc.passes import Copies, damage_of, fills_tiles, front, search_space
from lhc.passes.strategies.base import most_tiles
from lhc.pipeline.inputs.objective import search_options
from lhc.pipeline.measurement_warnings import warn_of_doubtful_labels
from lhc.pipeline.pipeline_state import NetworkWithFront, PreparedNetwork, StateT
from lhc.plan import Plan
from lhc.results import Calibration, Evaluation, Front, FrontObjective, FrontPoint
from lhc.stats import one_sided, two_sided

MOST_POINTS = 100
"""Of the front by estimate."""


@dataclass(frozen=True)
class MeasureFront:
    """Verify points of the estimated front.

    Attributes:
        confidence: two-sided level of all intervals together.
    """

    points: int
    confidence: float
    name: ClassVar[str] = "front"
    requires: ClassVar[frozenset[str]] = frozenset({"sensitivities"})
    ensures: ClassVar[frozenset[str]] = frozenset({"front"})

    def apply(self, state: PreparedNetwork) -> NetworkWithFront:
        """The state with its front."""
        estimated = front(search_space(state.graph, state.plan, search_options(state)), MOST_POINTS)
        copies = state.copies
        candidates = [Candidate(p.placement, p.damage, copies.of(p.placement)) for p in estimated.points]
        return _with_front(state, candidates, self.points, self.confidence, estimated.complete)


@dataclass(frozen=True)
class Candidate:
    """A point of the front by estimate.

    Attributes:
        copies: layer -> copies of its weights, where these are more than one.
    """

    placement: frozenset[str]
    damage: float
    copies: Mapping[str, int]


def _with_front(
    state: PreparedNetwork,
    candidates: Sequence[Candidate],
    points: int,
    confidence: float,
    complete: bool,
    objective: FrontObjective | None = None,
) -> NetworkWithFront:
    """The state with its front by estimate, so many of its points verified.

    Args:
        candidates: all points by estimate.
        points: to verify, spread evenly over all; the ends of the front are among them.
        confidence: two-sided level at which all intervals hold together.
        complete: whether these are all points that there are.
        objective: where it is not that of the search.
    """
    graph, plan, goal = state.graph, state.plan, state.goal
    verify = state.evaluator(state.splits.verify)
    warn_of_doubtful_labels(verify)
    measured = _measured(candidates, verify, points, confidence)
    calibration = Calibration.of(
        [candidates[place].damage for place in measured], [found.drop for found in measured.values()]
    )
    figure = next((s for layer in plan.layers if (s := layer.sensitivity) is not None), None)
    found = Front(
        objective=objective or goal.objective,
        limits={str(measure): bound for measure, bound in goal.limits.items()},
        metric="" if figure is None else figure.metric,
        points=tuple(_point(graph, plan, c, calibration, measured.get(n)) for n, c in enumerate(candidates)),
        complete=complete,
        calibration=calibration,
        held_out=state.splits.held_out,
    )
    return state.advanced(NetworkWithFront, front=found)


def _measured(
    candidates: Sequence[Candidate], verify: PlacementEvaluator, points: int, confidence: float
) -> dict[int, Evaluation]:
    """Evaluations of some candidates, by their place."""
    chosen = _spread(len(candidates), points)
    level = two_sided(one_sided(confidence) / max(len(chosen), 1))
    chips = range(verify.draws, 2 * verify.draws)
    found: dict[int, Evaluation] = {}
    for number, place in enumerate(chosen):
        one = candidates[place]
        same = verify.copies.of(one.placement) == one.copies
        evaluator = verify if same else replace(verify, copies=Copies(one.copies))
        try:
            what = f"point {number + 1}/{len(chosen)} of the front"
            found[place] = evaluator.evaluate(one.placement, what=what, confidence=level, chips=chips)
        except OutOfTimeError:
            if not found:
                raise
            break
    return found


def _spread(size: int, count: int) -> Sequence[int]:
    """Places spread evenly over so many, the ends among them."""
    steps = max(count - 1, 1)
    return range(size) if size <= count else [round(i * (size - 1) / steps) for i in range(count)]


def _point(
    graph: LayerGraph, plan: Plan, one: Candidate, calibration: Calibration | None, found: Evaluation | None
) -> FrontPoint:
    copies = {**plan.copies, **one.copies}
    cost = (
        None
        if plan.hardware.costs is None
        else cost_of(graph, one.placement, plan.hardware, copies, plan.sums, plan.digital)
    )
    return FrontPoint(
        analog=tuple(layer.name for layer in plan.layers if layer.name in one.placement),
        analog_mac_fraction=plan.mac_fraction_of(one.placement),
        tiles=plan.with_copies(graph, one.copies).tiles_of(graph, one.placement),
        latency_s=None if cost is None else cost.latency_s,
        energy_j=None if cost is None else cost.energy_j,
        damage=one.damage,
        predicted_drop=None if calibration is None else calibration.factor * one.damage,
        evaluation=found,
        copies=one.copies,
    )


MOST_TIMES = 4
"""Tiles up to which copies are looked at where nothing bounds them, as a multiple of those that are needed."""


@dataclass(frozen=True)
class MeasureTiles(MeasureFront):
    """Verify all layers analog on more and more tiles.

    The first point has the copies that need no further tile. What every further tile is used for, and what that is
    predicted to bring, is `lhc.passes.decide.copies_in_spare_tiles`.
    """

    name: ClassVar[str] = "tiles-front"

    def apply(self, state: PreparedNetwork) -> NetworkWithFront:
        """The state with its front.

        Raises:
            UsageError: the machine has too few tiles for all layers, or no copies.
        """
        state, bound = _bounded(state)
        candidates = _candidates(state, bound)
        every_count = bound - state.plan.tiles_of(state.graph, frozenset(state.measurable)) < MOST_POINTS
        return _with_front(state, candidates, self.points, self.confidence, every_count, "tiles")


def _bounded(state: StateT) -> tuple[StateT, int]:
    """The state with a bound of tiles, and the bound."""
    plan = state.plan
    needed = plan.tiles_of(state.graph, frozenset(state.measurable))
    most = most_tiles(plan, state.goal.max_tiles)
    bound = MOST_TIMES * needed if most is None else most
    if needed > bound:
        raise UsageError(f"--objective tiles has all layers analog, which takes {needed} tiles; there are {bound}")
    state = replace(state, goal=replace(state.goal, max_tiles=bound))
    if not (state.fills and fills_tiles(plan, state.goal)):
        raise UsageError(
            "--objective tiles is about copies: it takes --copies auto, hardware with compensation.copies, and no bound"
            " of latency or energy"
        )
    return state, bound


def _candidates(state: PreparedNetwork, bound: int) -> list[Candidate]:
    """Copies for growing numbers of tiles, those with the least damage first."""
    everything = frozenset(state.measurable)
    needed = state.plan.tiles_of(state.graph, everything)
    found: dict[tuple[tuple[str, int], ...], Candidate] = {}
    for tiles in np.unique(np.linspace(needed, bound, MOST_POINTS).round().astype(int)).tolist():
        copies = replace(state.copies, tiles=tiles).of(everything)
        damage = damage_of(state.graph, state.plan, everything, copies)
        found.setdefault(tuple(copies.items()), Candidate(everything, damage, copies))
    return sorted(found.values(), key=lambda one: one.damage)
