"""Does a joint placement hold the user's budget? Decided by bounds of the mean drop.

Accepted if the upper bound is within the budget, rejected if the lower bound is beyond it, undecided in between;
undecided counts as rejected. A measurement may be looked at several times as its draws come in; the chance of error
is divided over the looks, so the whole is as stated. docs/statistics.md has the reasoning.
"""

from dataclasses import dataclass, field
from typing import Literal

from lhc.errors import UsageError
from lhc.measure.measurement import Evaluator, Measurement, evaluation
from lhc.results import Evaluation, Verdict
from lhc.stats import CONFIDENCE, look_schedule, one_sided, split_level, two_sided

__all__ = ["Budget", "PlacementJudge", "judge_once"]


@dataclass(frozen=True)
class Budget:
    """The drop that the user allows, and how sure to be of it.

    Attributes:
        max_drop: greatest mean drop, in the metric's unit or as a share of the baseline.
        drop_type: which of both.
        confidence: two-sided; each bound errs with half of the rest.
        generalize: decide by the interval over chips and samples instead of chips alone.
    """

    max_drop: float = 0.01
    drop_type: Literal["absolute", "relative"] = "absolute"
    confidence: float = CONFIDENCE
    generalize: bool = False

    @property
    def relative(self) -> bool:
        """Whether drops are relative to the baseline."""
        return self.drop_type == "relative"

    def interval(self, found: Evaluation) -> tuple[float, float] | None:
        """The interval that decides."""
        return found.sample_interval if self.generalize else found.drop_interval

    def status(self, found: Evaluation) -> Literal["accepted", "rejected", "undecided"]:
        """What an evaluation says about the budget; without an interval, nothing."""
        interval = self.interval(found)
        if interval is None:
            return "undecided"
        if interval[1] <= self.max_drop:
            return "accepted"
        return "rejected" if interval[0] > self.max_drop else "undecided"

    def check(self, evaluator: Evaluator) -> None:
        """Refuse a budget that has no meaning for these samples.

        Raises:
            UsageError: relative to a baseline of 0, or more than everything.
        """
        if self.max_drop > 1 and (evaluator.metric.percent or self.relative):
            raise UsageError(
                f"--max-drop {self.max_drop:g} is {100 * self.max_drop:g} %; it is a share, so write"
                f" {self.max_drop / 100:g} for {self.max_drop:g} %"
            )
        if self.relative and evaluator.baseline == 0:
            raise UsageError("the baseline is 0, so a relative drop is undefined; use --drop-type absolute")


def judge_once(
    evaluator: Evaluator, placement: frozenset[str], budget: Budget, draws: range, error: float, what: str
) -> Verdict:
    """Judge a placement by one look at these draws.

    Args:
        evaluator: samples.
        placement: the analog layers.
        budget: allowed drop.
        draws: numbers of the programmings.
        error: chance that either bound may err.
        what: for progress.
    """
    found = evaluation(evaluator.measure(placement, draws, what), evaluator, budget.relative, two_sided(error))
    return Verdict(budget.status(found), found, budget.generalize)


@dataclass(frozen=True, eq=False)
class PlacementJudge:
    """Judges placements on the samples of the search, looking after a third, two thirds and all of the draws.

    A placement is measured once, and only as far as its bound needs to decide.
    """

    evaluator: Evaluator
    budget: Budget
    what: str = "judging"
    verdicts: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        if placement not in self.verdicts:
            self.verdicts[placement] = self._judge(placement)
        return self.verdicts[placement]

    def _judge(self, placement: frozenset[str]) -> Verdict:
        what = f"{self.what} {len(placement)} analog layers"
        looks = look_schedule(self.evaluator.draws)
        errors = split_level(one_sided(self.budget.confidence), len(looks))
        measured: Measurement | None = None
        done = 0
        verdict: Verdict | None = None
        for look, error in zip(looks, errors, strict=True):
            more = self.evaluator.measure(placement, range(done, look), what)
            measured = more if measured is None else measured.joined(more)
            done = look
            found = evaluation(measured, self.evaluator, self.budget.relative, two_sided(error))
            verdict = Verdict(self.budget.status(found), found, self.budget.generalize)
            if verdict.status != "undecided":
                break
        assert verdict is not None
        return verdict
