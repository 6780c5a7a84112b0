"""Feasible region of a placement: up to which numbers of the machine its budget is held, by measuring."""

from collections.abc import Callable, Sequence
from itertools import product

from lhc.errors import NotFiniteError
from lhc.measure.budget_test import Budget
from lhc.pipeline.steps.region_search import Index, Loss, RegionSearch
from lhc.results import Evaluation, FeasibleRegion, PointVerdict, RegionLine, RegionPoint, VariedField
from lhc.stats import failures_allowed, one_sided

__all__ = ["Measured", "find_region", "point_verdict"]

Measured = tuple[Evaluation | None, float]
"""A placement on a machine, None where its values are not finite, and its analog share of MACs."""


def point_verdict(found: Evaluation | None, budget: Budget) -> PointVerdict:
    """Verdict of the budget by one machine's chips."""
    if found is None:
        return "broken"
    status = budget.status(found)
    if status == "accepted" and budget.share is not None:
        (allowed,) = failures_allowed((found.draws,), budget.share, one_sided(budget.confidence))
        status = "accepted" if budget.failing(found.drops) <= allowed else "undecided"
    verdicts: dict[str, PointVerdict] = {"accepted": "shown", "rejected": "broken", "undecided": "not shown"}
    return verdicts[status]


def find_region(
    fields: Sequence[VariedField],
    measure: Callable[[tuple[float, ...]], Measured],
    budget: Budget,
    least_share: float | None = None,
) -> FeasibleRegion:
    """Find where the budget is just held.

    Args:
        measure: the placement on the machine with these values.
        least_share: where the placement is searched for every machine, the share of MACs that it has to have.

    Raises:
        NotFiniteError: no machine gives finite values.
        OutOfTimeError: the time is over before the ends of the ranges were measured.
    """
    axes = [field.values for field in fields]
    measured: dict[Index, RegionPoint] = {}

    def values_at(at: Index) -> tuple[float, ...]:
        return tuple(axis[place] for axis, place in zip(axes, at, strict=False))

    def judged(at: Index) -> tuple[PointVerdict, Loss]:
        evaluation, share = measure(values_at(at))
        verdict = point_verdict(evaluation, budget)
        if least_share is not None and (verdict == "broken" or share < least_share - 1e-9):
            verdict = "not shown"  # a search that finds none does not show that there is none
        measured[at] = RegionPoint(values_at(at), verdict, evaluation, share)
        drop = float("inf") if evaluation is None else evaluation.drop
        return verdict, (max(0.0, (least_share or 0.0) - share), drop)

    search = RegionSearch((len(axes[0]), len(axes[1]) if len(axes) > 1 else 1), judged)
    search.run()
    if all(point.evaluation is None for point in measured.values()):
        raise NotFiniteError("--vary: the network gives NaN or infinite values on every machine that was measured")
    varied = tuple(
        VariedField(field.path, field.values, field.own, rises)
        for field, rises in zip(fields, search.rising, strict=False)
    )
    lines = []
    for line in range(search.shape[1]):
        held, beyond = (None if place is None else axes[0][place] for place in search.held(line))
        lines.append(RegionLine(axes[1][line] if len(axes) > 1 else None, held, beyond))
    order = ((i, j) for j, i in product(range(search.shape[1]), range(search.shape[0])))
    return FeasibleRegion(
        budget.max_drop,
        budget.drop_type,
        varied,
        tuple(measured[at] for at in order if at in measured),
        tuple(lines),
        budget.generalize,
        budget.share,
        search.steady,
        search.complete,
        least_share is not None,
    )
