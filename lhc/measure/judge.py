"""Does a joint placement hold the user's budget? Decided by the bound of the mean drop over chips.

Accepted if the upper bound of the drop is within the budget, rejected if the lower bound is beyond it, undecided
in between; undecided counts as rejected. Every placement is judged once, on a fixed number of draws.
"""

from dataclasses import dataclass, field
from typing import Literal

from lhc.measure.bench import Bench
from lhc.results import Evaluation, Verdict

__all__ = ["Budget", "PlacementJudge"]


@dataclass(frozen=True)
class Budget:
    """The drop that the user allows.

    Attributes:
        max_drop: greatest mean drop, in the metric's unit or as a share of the baseline.
        drop_type: which of both.
    """

    max_drop: float = 0.01
    drop_type: Literal["absolute", "relative"] = "absolute"

    @property
    def relative(self) -> bool:
        """Whether drops are relative to the baseline."""
        return self.drop_type == "relative"

    def status(self, evaluation: Evaluation) -> Literal["accepted", "rejected", "undecided"]:
        """What an evaluation says about the budget; without an interval, nothing."""
        if evaluation.drop_interval is None:
            return "undecided"
        low, high = evaluation.drop_interval
        if high <= self.max_drop:
            return "accepted"
        return "rejected" if low > self.max_drop else "undecided"


@dataclass(frozen=True, eq=False)
class PlacementJudge:
    """Judges placements on one split; a placement is measured once."""

    bench: Bench
    budget: Budget
    what: str = "judging"
    verdicts: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        if placement not in self.verdicts:
            what = f"{self.what} {len(placement)} analog layers"
            evaluation = self.bench.evaluate(placement, self.budget.relative, what)
            self.verdicts[placement] = Verdict(self.budget.status(evaluation), evaluation)
        return self.verdicts[placement]
