"""Feasible region of a placement: up to which numbers of the machine its budget is held, by measuring.

The boundary is searched on a grid by bisection, along lines of one of two axes. A budget that is held on a machine is
held on every machine that is no worse in any number (monotonicity). So the boundary is a staircase: bisection along a
line finds where it ends, and what was measured on other lines bounds where the search begins. The outermost lines come
first, then those in the middle between two known ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from lhc.errors import NotFiniteError, OutOfTimeError
from lhc.measure.budget_test import Budget
from lhc.results import Evaluation, FeasibleRegion, PointVerdict, RegionLine, RegionPoint, VariedField

Index = tuple[int, int]
"""Places on the first and on the second axis."""
Loss = tuple[float, float]
"""What a machine lacks: less is better, the first number first."""
Measure = Callable[[Index], tuple[PointVerdict, Loss]]


@dataclass
class RegionSearch:
    """Search of the boundary.

    Attributes:
        shape: number of values on either axis; one on the second where there is one axis.
        measure: verdict of a machine, and what it loses.
        found: of what was measured.
        rising: of either axis, whether machines are better at its last value than at its first: the best corner says.
        complete: the boundary is known; else the time was over.
    """

    shape: tuple[int, int]
    measure: Measure
    found: dict[Index, tuple[PointVerdict, Loss]] = field(default_factory=dict)
    rising: tuple[bool, bool] = (True, True)
    complete: bool = False

    def run(self) -> None:
        """Measure until the boundary is known, or the user's time is over.

        Raises:
            OutOfTimeError: it is over before it is known which machines are the best.
        """
        corners = [(i, j) for j in _ends(self.shape[1]) for i in _ends(self.shape[0])]
        verdicts = {self._at(corner) for corner in corners}
        best = min(corners, key=lambda corner: self.found[corner][1])
        self.rising = (best[0] > 0, best[1] > 0)
        try:
            self._between(verdicts)
        except OutOfTimeError:
            return
        self.complete = True

    def _between(self, verdicts: set[PointVerdict]) -> None:
        """Measure between the corners, which have these verdicts."""
        if "shown" not in verdicts or verdicts == {"shown"}:  # the middle tells whether either end is worse than it
            self._at((self.shape[0] // 2, self.shape[1] // 2))
        for line in _outside_in(self.shape[1]):
            self._bisect(line)

    def held(self, line: int) -> tuple[int | None, int | None]:
        """On a line, the place farthest towards worse values that is shown to hold, and the place after it.

        None: no place is shown to; all are.
        """
        count, _ = self._known(line)
        places = self._from_best()
        return places[count - 1] if count else None, places[count] if count < len(places) else None

    @property
    def steady(self) -> bool:
        """Whether no machine that is no worse than another breaks the budget where the other is shown to hold it."""
        broken = [at for at, (verdict, _) in self.found.items() if verdict == "broken"]
        shown = [at for at, (verdict, _) in self.found.items() if verdict == "shown"]
        return not any(self._no_worse(one, other) for one in broken for other in shown)

    def _at(self, at: Index) -> PointVerdict:
        if at not in self.found:
            self.found[at] = self.measure(at)
        return self.found[at][0]

    def _from_best(self) -> list[int]:
        """Places on the first axis, the best first."""
        places = range(self.shape[0])
        return list(reversed(places) if self.rising[0] else places)

    def _known(self, line: int) -> tuple[int, int]:
        """Least and greatest number of places of a line that are shown to hold, as what was measured bounds it."""
        places = self._from_best()
        least, most = 0, len(places)
        for (i, j), (verdict, _) in self.found.items():
            rank = places.index(i)
            if verdict == "shown" and self._no_worse((i, line), (i, j)):
                least = max(least, rank + 1)
            if verdict != "shown" and self._no_worse((i, j), (i, line)):
                most = min(most, rank)
        return min(least, most), most

    def _bisect(self, line: int) -> None:
        places = self._from_best()
        least, most = self._known(line)
        while least < most:
            self._at((places[(least + most) // 2], line))
            least, most = self._known(line)

    def _no_worse(self, one: Index, other: Index) -> bool:
        return all(a >= b if rises else a <= b for rises, a, b in zip(self.rising, one, other, strict=True))


def _ends(count: int) -> tuple[int, ...]:
    return (0, count - 1) if count > 1 else (0,)


def _outside_in(count: int) -> Iterator[int]:
    """Lines, the outermost first, then the middle between known ones."""
    yield from _ends(count)
    waiting = [(0, count - 1)]
    while waiting:
        low, high = waiting.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            yield middle
            waiting += [(low, middle), (middle, high)]


Measured = tuple[Evaluation | None, float]
"""A placement on a machine, None where its values are not finite, and its analog share of MACs."""


def point_verdict(found: Evaluation | None, budget: Budget) -> PointVerdict:
    """Verdict of the budget by one machine's chips."""
    if found is None:
        return "broken"
    status = budget.status(found)
    if status == "accepted" and budget.share is not None:
        status = "accepted" if budget.shows_share(found.drops) else "undecided"
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
