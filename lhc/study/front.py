"""The trade-off of accuracy against an objective: the front by estimate, its points verified.

Points of the front are estimated from sensitivities (`lhc.passes.search_front`); those that are spread evenly over its
damage are measured on held-out samples and on chips that nothing was chosen by. Any of them may be picked by its result
afterwards, so the chance of error is divided over all points (Bonferroni): their bounds hold together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.costs import cost_of
from lhc.errors import OutOfTimeError
from lhc.graph import LayerGraph
from lhc.measure.bench import Bench
from lhc.measure.measurement import evaluation
from lhc.passes import EstimatedFront, Point, SearchOptions, front, search_space
from lhc.plan import Plan
from lhc.results import Calibration, Evaluation, Front, FrontPoint
from lhc.stats import CONFIDENCE, one_sided, split_level, two_sided
from lhc.study.cautions import warn_of_doubtful_labels
from lhc.study.goal import search_options
from lhc.study.state import Study

__all__ = ["MeasureFront", "measure_front"]

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
        graph: the layers.
        plan: qualified, with sensitivities.
        options: objective, limits, groups.
        verify: samples of the verification, and draws.
        held_out: whether these took no part in the ranking.
        points: to verify; the ends of the front are among them.
        relative: drops as a share of the baseline.
        confidence: two-sided level at which all intervals hold together.
    """
    estimated = front(search_space(graph, plan, options), MOST_POINTS)
    chosen = _spread(estimated, points)
    found: dict[frozenset[str], Evaluation] = {}
    level = two_sided(split_level(one_sided(confidence), max(len(chosen), 1))[0])
    chips = range(verify.draws, 2 * verify.draws)
    for number, point in enumerate(chosen):
        try:
            measured = verify.measure(point.placement, chips, f"point {number + 1}/{len(chosen)} of the front")
        except OutOfTimeError:
            if not found:
                raise
            break
        found[point.placement] = evaluation(measured, verify, relative, level)
    measured_points = [point for point in chosen if point.placement in found]
    calibration = Calibration.of(
        [point.damage for point in measured_points], [found[point.placement].drop for point in measured_points]
    )
    figure = next((s for layer in plan.layers if (s := layer.sensitivity) is not None), None)
    return Front(
        objective=options.goal.objective,
        limits={str(measure): bound for measure, bound in options.goal.limits.items()},
        metric="" if figure is None else figure.metric,
        points=tuple(_point(graph, plan, p, calibration, found.get(p.placement)) for p in estimated.points),
        complete=estimated.complete,
        calibration=calibration,
        held_out=held_out,
    )


def _spread(estimated: EstimatedFront, count: int) -> Sequence[Point]:
    """Points spread evenly over the places of the front, its ends among them."""
    points = estimated.points
    if len(points) <= count:
        return points
    steps = max(count - 1, 1)
    return [points[round(i * (len(points) - 1) / steps)] for i in range(count)]


def _point(
    graph: LayerGraph, plan: Plan, point: Point, calibration: Calibration | None, found: Evaluation | None
) -> FrontPoint:
    cost = None if plan.hardware.costs is None else cost_of(graph, point.placement, plan.hardware)
    macs = sum(layer.macs for layer in plan.layers if layer.name in point.placement)
    return FrontPoint(
        analog=tuple(layer.name for layer in plan.layers if layer.name in point.placement),
        analog_mac_fraction=macs / plan.macs if plan.macs else 0.0,
        tiles=plan.tiles_of(graph, point.placement),
        latency_s=None if cost is None else cost.latency_s,
        energy_j=None if cost is None else cost.energy_j,
        damage=point.damage,
        predicted_drop=None if calibration is None else calibration.factor * point.damage,
        evaluation=found,
    )
