"""The feasible region: machines, by one or two of their numbers, on which a placement holds its budget.

What is between measured machines follows from one rule: a machine that is better in every varied number does no worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lhc.plan.field_types import Amount, Level, Name, Share
from lhc.results.evaluation import Evaluation

PointVerdict = Literal["shown", "not shown", "broken"]
"""Of the budget: shown to hold, shown not to hold, or neither."""


@dataclass(frozen=True)
class VariedField:
    """A number of the machine that is varied.

    Attributes:
        path: of the field, as ``adc.bits``.
        values: that are looked at, ascending.
        own: of the machine itself; None where that has no number there.
        more_is_better: whether drops fall as it grows, by what was measured.
    """

    path: Name
    values: tuple[float, ...]
    own: float | None = None
    more_is_better: bool = True


@dataclass(frozen=True)
class RegionPoint:
    """A machine that was measured.

    Attributes:
        values: of the varied fields, in their order.
        evaluation: of the placement; None: the network gives NaN or infinite values, which breaks every budget.
        analog_mac_fraction: of the placement, which is another one where it was searched anew.
    """

    values: tuple[float, ...]
    verdict: PointVerdict
    evaluation: Evaluation | None
    analog_mac_fraction: Share


@dataclass(frozen=True)
class RegionLine:
    """How far the first field may go, at one value of the second.

    Attributes:
        at: value of the second field; None with one field.
        held: value farthest towards worse machines that is shown to hold the budget; None: none is.
        next: the value beyond it, which is not; None: all values hold it.
    """

    at: float | None
    held: float | None
    next: float | None


@dataclass(frozen=True)
class FeasibleRegion:
    """Machines on which a placement is shown to hold its budget.

    Attributes:
        max_drop: the budget.
        drop_type: absolute, or relative to the baseline.
        fields: one or two; the boundary is searched along the first.
        points: all machines that were measured, by the values of the last field, then of the first.
        lines: the boundary, one line for each value of the second field.
        generalized: the interval over chips and samples decides, as it did of the placement.
        yield_share: share of all chips that has to hold the budget one by one too; None: the mean alone.
        steady: no measured machine is worse than another by its numbers and better by its verdict; else nothing is
            concluded about machines in between.
        complete: the boundary was found before the user's time was over.
        searched_anew: the placement was searched for every machine, and has to have the share of MACs of the given one.
    """

    max_drop: Amount
    drop_type: Literal["absolute", "relative"]
    fields: tuple[VariedField, ...]
    points: tuple[RegionPoint, ...]
    lines: tuple[RegionLine, ...]
    generalized: bool = False
    yield_share: Level | None = None
    steady: bool = True
    complete: bool = True
    searched_anew: bool = False

    @property
    def example(self) -> Evaluation:
        """An evaluation, whose metric, samples and chips are those of all."""
        return next(point.evaluation for point in self.points if point.evaluation is not None)

    @property
    def grid(self) -> int:
        """Number of machines that measuring every combination of values would take."""
        return len(self.fields[0].values) * (len(self.fields[1].values) if len(self.fields) > 1 else 1)

    def verdict(self, *values: float) -> PointVerdict:
        """Verdict of a machine with these numbers, in the order of the fields.

        It is shown to hold the budget where a machine that is no better is, and none that is no worse is not; broken
        where a machine that is no worse breaks it.
        """
        exact = next((point.verdict for point in self.points if point.values == values), None)
        if exact is not None or not self.steady:
            return exact or "not shown"
        no_worse = [point.verdict for point in self.points if self._no_worse(point.values, values)]
        if "broken" in no_worse:
            return "broken"
        held = any(point.verdict == "shown" and self._no_worse(values, point.values) for point in self.points)
        return "shown" if held and "not shown" not in no_worse else "not shown"

    def _no_worse(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether one machine is at least as good as another in every varied number."""
        return all(
            a >= b if field.more_is_better else a <= b for field, a, b in zip(self.fields, one, other, strict=True)
        )


def check_region(found: FeasibleRegion) -> None:
    """Refuse a region that cannot be drawn.

    Raises:
        ValueError: with the name of the field.
    """
    if not 1 <= len(found.fields) <= 2 or not all(field.values for field in found.fields):
        raise ValueError("region.fields: one or two fields with their values are varied")
    if all(point.evaluation is None for point in found.points):
        raise ValueError("region.points: holds no machine that was measured")
    for i, point in enumerate(found.points):
        known = len(point.values) == len(found.fields)
        if not known or not all(v in f.values for v, f in zip(point.values, found.fields, strict=True)):
            raise ValueError(f"region.points.{i}.values: are not of the varied fields")
