"""Does a joint placement hold the user's budget? Decided by bounds of the mean drop.

Accepted if the upper bound is within the budget, rejected if the lower bound is beyond it, undecided in between;
undecided counts as rejected. A measurement may be looked at several times as its draws come in; the chance of error
is divided over the looks, so the whole is as stated. docs/statistics.md has the reasoning.
"""

from dataclasses import dataclass, field
from typing import Literal

from lhc.errors import UsageError
from lhc.measure.measurement import Evaluator, evaluation, looked_at
from lhc.results import Evaluation, Verdict
from lhc.samples.metrics import METRICS
from lhc.stats import CONFIDENCE, look_schedule, one_sided, split_level, two_sided

__all__ = ["Budget", "Drop", "PlacementJudge", "judge_once", "parse_drop"]

Drop = float | str
"""A budget as users write it: a number, or a percentage such as ``"1%"``."""


def parse_drop(drop: Drop) -> tuple[float, bool]:
    """A budget as a number, and whether it was written as a percentage.

    >>> parse_drop(0.01), parse_drop("0.01"), parse_drop("1%"), parse_drop("2.5 %")
    ((0.01, False), (0.01, False), (0.01, True), (0.025, True))

    Raises:
        UsageError: it is neither, negative, or not finite.
    """
    text = str(drop).strip()
    number, percentage = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number)
    except ValueError as error:
        raise UsageError(f"--max-drop {text!r} is no number; give one point as 1% or 0.01") from error
    if not 0 <= value < float("inf"):
        raise UsageError(f"--max-drop must be at least 0 and finite, got {text}")
    return (value / 100 if percentage else value), percentage


@dataclass(frozen=True)
class Budget:
    """The drop that the user allows, and how sure to be of it.

    Attributes:
        max_drop: greatest mean drop, in the metric's unit or as a share of the baseline.
        drop_type: which of both.
        confidence: two-sided; each bound errs with half of the rest.
        generalize: decide by the interval over chips and samples instead of chips alone.
        percentage: the user wrote it as a percentage, so 1 is meant as 100 %.
    """

    max_drop: float = 0.01
    drop_type: Literal["absolute", "relative"] = "absolute"
    confidence: float = CONFIDENCE
    generalize: bool = False
    percentage: bool = False

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
            UsageError: relative to a baseline of 0, or as `check_unit` says.
        """
        self.check_unit(evaluator.metric.name, evaluator.metric.percent)
        if self.relative and evaluator.baseline == 0:
            raise UsageError("the baseline is 0, so a relative drop is undefined; use --drop-type absolute")

    def check_unit(self, metric: str, percent: bool) -> None:
        """Refuse a number that can be read in two ways, and a percentage of what is no share.

        Args:
            metric: name of the metric that drops are in.
            percent: its scores are shares.

        Raises:
            UsageError: 1 or more, and not as a percentage, where drops are shares; a percentage where they are not;
                a share of more than all.
        """
        drop, shown = self.max_drop, f"{100 * self.max_drop:g}"
        if self.percentage and not (percent or self.relative):
            known = METRICS.get(metric)
            vanishes = known is not None and known.needs_targets is False and not known.higher_is_better
            relative = "" if vanishes else f", or --drop-type relative for {shown} % of the digital value"
            raise UsageError(
                f"--max-drop {shown}%: {metric} is no share, so a percentage says nothing; give the drop in its own"
                f" unit, e.g. {drop:g}{relative}"
            )
        if not self.percentage and drop >= 1 and (percent or self.relative):
            one = "one point" if drop == 1 else f"{drop:g} points"
            unit, small = ("% of the digital value", f"{drop:g} % of it") if self.relative else ("points", one)
            raise UsageError(
                f"--max-drop {drop:g} would be {shown} {unit}; for {small} give {drop:g}% or {drop / 100:g}, and if you"
                f" do mean {shown} {unit} give {shown}%"
            )
        if percent and not self.relative and drop > 1:
            raise UsageError(f"--max-drop {shown}%: a share cannot drop by more than 100 points")


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
        for measured, error in zip(looked_at(self.evaluator, placement, looks, what), errors, strict=True):
            found = evaluation(measured, self.evaluator, self.budget.relative, two_sided(error))
            verdict = Verdict(self.budget.status(found), found, self.budget.generalize)
            if verdict.status != "undecided":
                break
        return verdict
