"""The trade-off of accuracy against an objective: the front by estimate, its points verified.

Points of the front are estimated from sensitivities (`lhc.passes.search_front`); those that are spread evenly over its
damage are measured on held-out samples and on chips that nothing was chosen by. Any of them may be picked by its result
afterwards, so the chance of error is divided over all points (Bonferroni): their bounds hold together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.costs import cost_of
from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure.bench import Bench
from lhc.passes import Copies, SearchOptions, front, search_space
from lhc.plan import Plan
from lhc.results import Calibration, Evaluation, Front, FrontObjective, FrontPoint
from lhc.stats import CONFIDENCE, one_sided, split_level, two_sided
from lhc.study.cautions import warn_of_doubtful_labels
from lhc.study.goal import search_options
from lhc.study.state import Study

__all__ = ["MOST_POINTS", "Candidate", "MeasureFront", "front_of", "measure_candidates", "measure_front"]

MOST_POINTS = 100
"""Of the front by estimate."""


@dataclass(frozen=True)
class MeasureFront:
    """Verify points of the estimated front.

    Attributes:
        points: how many.
        confidence: two-sided level of all intervals together.
    """

    points: int
    confidence: float
    name: ClassVar[str] = "front"
    requires: ClassVar[frozenset[str]] = frozenset({"sensitivities"})
    ensures: ClassVar[frozenset[str]] = frozenset({"front"})

    def apply(self, study: Study) -> Study:
        """The study with its front."""
        splits = study.splits
        verify = study.bench(splits.verify)
        warn_of_doubtful_labels(verify)
        options = search_options(study)
        found = measure_front(
            study.graph, study.plan, options, verify, splits.held_out, self.points, confidence=self.confidence
        )
        return replace(study, front=found)


def measure_front(
    graph: LayerGraph,
    plan: Plan,
    options: SearchOptions,
    verify: Bench,
    held_out: bool,
    points: int = 12,
    relative: bool = False,
    confidence: float = CONFIDENCE,
) -> Front:
    """The front by estimate, so many of its points verified.

    Args:
        plan: qualified, with sensitivities.
        options: objective, limits, groups.
        verify: samples of the verification, and draws.
        held_out: whether these took no part in the ranking.
        points: to verify; the ends of the front are among them.
        relative: drops as a share of the baseline.
        confidence: two-sided level at which all intervals hold together.
    """
    estimated = front(search_space(graph, plan, options), MOST_POINTS)
    copies = options.copies
    candidates = [Candidate(p.placement, p.damage, copies.of(p.placement)) for p in estimated.points]
    measured = measure_candidates(candidates, verify, points, relative, confidence)
    return front_of(graph, plan, options, candidates, measured, estimated.complete, held_out)


@dataclass(frozen=True)
class Candidate:
    """A point of the front by estimate.

    Attributes:
        placement: the analog layers.
        damage: estimated.
        copies: layer -> copies of its weights, where these are more than one.
    """

    placement: frozenset[str]
    damage: float
    copies: Mapping[str, int]


def measure_candidates(
    candidates: Sequence[Candidate], verify: Bench, points: int, relative: bool, confidence: float
) -> dict[int, Evaluation]:
    """Evaluations of so many candidates spread evenly over all, the ends among them, by their place.

    Args:
        candidates: all points of the front by estimate.
        verify: samples of the verification, and draws.
        relative: drops as a share of the baseline.
        confidence: two-sided level at which all intervals hold together.
    """
    chosen = _spread(len(candidates), points)
    level = two_sided(split_level(one_sided(confidence), max(len(chosen), 1))[0])
    chips = range(verify.draws, 2 * verify.draws)
    found: dict[int, Evaluation] = {}
    for number, place in enumerate(chosen):
        one = candidates[place]
        same = verify.copies.of(one.placement) == one.copies
        bench = verify if same else replace(verify, copies=Copies(one.copies))
        try:
            what = f"point {number + 1}/{len(chosen)} of the front"
            found[place] = bench.evaluate(one.placement, relative, what, confidence=level, chips=chips)
        except OutOfTimeError:
            if not found:
                raise
            break
    return found


def front_of(
    graph: LayerGraph,
    plan: Plan,
    options: SearchOptions,
    candidates: Sequence[Candidate],
    measured: Mapping[int, Evaluation],
    complete: bool,
    held_out: bool,
    objective: FrontObjective | None = None,
) -> Front:
    """The front with what was measured of it; ``objective``: where it is not that of the search."""
    calibration = Calibration.of(
        [candidates[place].damage for place in measured], [found.drop for found in measured.values()]
    )
    figure = next((s for layer in plan.layers if (s := layer.sensitivity) is not None), None)
    return Front(
        objective=objective or options.goal.objective,
        limits={str(measure): bound for measure, bound in options.goal.limits.items()},
        metric="" if figure is None else figure.metric,
        points=tuple(_point(graph, plan, c, calibration, measured.get(n)) for n, c in enumerate(candidates)),
        complete=complete,
        calibration=calibration,
        held_out=held_out,
    )


def _spread(size: int, count: int) -> Sequence[int]:
    """Places spread evenly over so many, the ends among them."""
    steps = max(count - 1, 1)
    return range(size) if size <= count else [round(i * (size - 1) / steps) for i in range(count)]


def _point(
    graph: LayerGraph, plan: Plan, one: Candidate, calibration: Calibration | None, found: Evaluation | None
) -> FrontPoint:
    copies = {**plan.copies, **one.copies}
    cost = None if plan.hardware.costs is None else cost_of(graph, one.placement, plan.hardware, copies, plan.sums)
    macs = sum(layer.macs for layer in plan.layers if layer.name in one.placement)
    return FrontPoint(
        analog=tuple(layer.name for layer in plan.layers if layer.name in one.placement),
        analog_mac_fraction=macs / plan.macs if plan.macs else 0.0,
        tiles=plan.with_copies(graph, one.copies).tiles_of(graph, one.placement),
        latency_s=None if cost is None else cost.latency_s,
        energy_j=None if cost is None else cost.energy_j,
        damage=one.damage,
        predicted_drop=None if calibration is None else calibration.factor * one.damage,
        evaluation=found,
        copies=one.copies,
    )
