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
from lhc.passes import Copies, front, search_space
from lhc.plan import Plan
from lhc.results import Calibration, Evaluation, Front, FrontObjective, FrontPoint
from lhc.stats import one_sided, split_level, two_sided
from lhc.study.cautions import warn_of_doubtful_labels
from lhc.study.goal import search_options
from lhc.study.state import Study

__all__ = ["MOST_POINTS", "Candidate", "MeasureFront", "with_front"]

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

    def apply(self, study: Study) -> Study:
        """The study with its front."""
        estimated = front(search_space(study.graph, study.plan, search_options(study)), MOST_POINTS)
        copies = study.copies
        candidates = [Candidate(p.placement, p.damage, copies.of(p.placement)) for p in estimated.points]
        return with_front(study, candidates, self.points, self.confidence, estimated.complete)


@dataclass(frozen=True)
class Candidate:
    """A point of the front by estimate.

    Attributes:
        copies: layer -> copies of its weights, where these are more than one.
    """

    placement: frozenset[str]
    damage: float
    copies: Mapping[str, int]


def with_front(
    study: Study,
    candidates: Sequence[Candidate],
    points: int,
    confidence: float,
    complete: bool,
    objective: FrontObjective | None = None,
) -> Study:
    """The study with its front by estimate, so many of its points verified.

    Args:
        candidates: all points by estimate.
        points: to verify, spread evenly over all; the ends of the front are among them.
        confidence: two-sided level at which all intervals hold together.
        complete: whether these are all points that there are.
        objective: where it is not that of the search.
    """
    graph, plan, goal = study.graph, study.plan, study.goal
    verify = study.bench(study.splits.verify)
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
        held_out=study.splits.held_out,
    )
    return replace(study, front=found)


def _measured(candidates: Sequence[Candidate], verify: Bench, points: int, confidence: float) -> dict[int, Evaluation]:
    """Evaluations of some candidates, by their place."""
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
            found[place] = bench.evaluate(one.placement, what=what, confidence=level, chips=chips)
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
