"""Does a joint placement hold the user's budget? Decided by bounds of the mean drop.

Accepted if the upper bound is within the budget, rejected if the lower bound is beyond it, undecided in between;
undecided counts as rejected. A test (`sequential_test`) takes chips until it is decided; a search is told by the mean
over a few chips (`PlacementJudge`), which shows nothing and spends nothing. docs/statistics.md has the reasoning.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lhc.errors import OutOfTimeError, UsageError
from lhc.measure.measurement import Evaluator, Measurement, drop_scale, evaluation, sample_interval, worst_where_nan
from lhc.results import Evaluation, Verdict
from lhc.samples.metrics import METRICS
from lhc.stats import (
    CONFIDENCE,
    failures_allowed,
    hopeless,
    look_errors,
    look_schedule,
    one_sided,
    scaled,
    two_sided,
)
from lhc.support.number_bounds import GREATEST, SMALLEST, in_range
from lhc.support.number_formatting import counted, drop_word

__all__ = ["SEARCH_DRAWS", "Budget", "Drop", "PlacementJudge", "parse_drop", "sequential_test"]

SEARCH_DRAWS = 4
"""Most chips by which a search is told how a placement does."""
LARGE_DROP = 0.2
"""Share from which on a budget that is not written as a percentage is more likely meant as one."""

log = logging.getLogger("lhc")

Drop = float | str
"""A budget as users write it: a number, or a percentage such as ``"1%"``."""


def parse_drop(drop: Drop, flag: str = "--max-drop") -> tuple[float, bool]:
    """A budget as a number, and whether it was written as a percentage.

    >>> parse_drop(0.01), parse_drop("0.01"), parse_drop("1%"), parse_drop("2.5 %")
    ((0.01, False), (0.01, False), (0.01, True), (0.025, True))

    Raises:
        UsageError: it is neither, negative, or not finite; ``flag`` says of which option.
    """
    text = str(drop).strip()
    number, percentage = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number)
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} is no number; give one point as 1% or 0.01") from error
    if not 0 <= value < float("inf"):
        raise UsageError(f"{flag} must be at least 0 and finite, got {text}")
    if not in_range(value):
        raise UsageError(f"{flag} {text}: a number is 0 or of a magnitude of {SMALLEST:g} to {GREATEST:g}")
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
        share: of all chips, that is to hold the budget one by one, besides their mean; None: the mean alone.
    """

    max_drop: float = 0.01
    drop_type: Literal["absolute", "relative"] = "absolute"
    confidence: float = CONFIDENCE
    generalize: bool = False
    percentage: bool = False
    share: float | None = None

    @property
    def relative(self) -> bool:
        """Whether drops are relative to the baseline."""
        return self.drop_type == "relative"

    def interval(self, found: Evaluation) -> tuple[float, float] | None:
        """The interval that decides."""
        return found.deciding(self.generalize)

    def status(self, found: Evaluation) -> Literal["accepted", "rejected", "undecided"]:
        """Status of an evaluation with regard to the budget; undecided without an interval."""
        interval = self.interval(found)
        if interval is None:
            return "undecided"
        if interval[1] <= self.max_drop:
            return "accepted"
        return "rejected" if interval[0] > self.max_drop else "undecided"

    def failing(self, drops: Iterable[float]) -> int:
        """Chips that do not hold the budget by themselves."""
        return sum(not drop <= self.max_drop for drop in drops)

    def shows_share(self, drops: Sequence[float]) -> bool:
        """Whether the chips of a single look show that the share of all chips holds the budget."""
        assert self.share is not None
        (allowed,) = failures_allowed((len(drops),), self.share, one_sided(self.confidence))
        return self.failing(drops) <= allowed

    def check(self, evaluator: Evaluator) -> None:
        """Refuse a budget that has no meaning for these samples.

        Raises:
            UsageError: relative to a baseline of 0, or as `check_unit` says.
        """
        self.check_unit(evaluator.metric.name, evaluator.metric.percent)
        if self.relative and evaluator.baseline == 0:
            worse = drop_word(evaluator.metric.higher_is_better)
            raise UsageError(f"the baseline is 0, so a relative {worse} is undefined; use --drop-type absolute")

    def check_unit(self, metric: str, percent: bool, flag: str = "--max-drop") -> None:
        """Refuse a number that can be read in two ways, and a percentage of what is no share.

        Args:
            percent: its scores are shares.
            flag: the option that gives the budget; only the first output's may be relative.

        Raises:
            UsageError: 1 or more, and not as a percentage, where drops are shares; a percentage where they are not;
                a share of more than all.
        """
        drop, shown = self.max_drop, f"{100 * self.max_drop:g}"
        if self.percentage and not (percent or self.relative):
            known = METRICS.get(metric)
            vanishes = known is not None and known.needs_targets is False and not known.higher_is_better
            relative = (
                ""
                if vanishes or flag != "--max-drop"
                else f", or --drop-type relative for {shown} % of the digital value"
            )
            raise UsageError(
                f"{flag} {shown}%: percentages are points of a share of right answers, which {metric} is not; give"
                f" it in its own unit, e.g. {drop:g}{relative}"
            )
        if not self.percentage and drop >= 1 and (percent or self.relative):
            one = "one point" if drop == 1 else f"{drop:g} points"
            unit, small = ("% of the digital value", f"{drop:g} % of it") if self.relative else ("points", one)
            meant = f", and if you do mean {shown} {unit} give {shown}%" if drop == 1 or self.relative else ""
            raise UsageError(
                f"{flag} {drop:g} would be {shown} {unit}; for {small} give {drop:g}% or {drop / 100:g}{meant}"
            )
        if not self.percentage and drop >= LARGE_DROP and (percent or self.relative):
            unit = "% of the digital value" if self.relative else "points"
            log.warning("%s %g allows %s %s; for %g %s give %g%%", flag, drop, shown, unit, drop, unit, drop)
        if percent and not self.relative and drop > 1:
            raise UsageError(f"{flag} {shown}%: a share cannot drop by more than 100 points")


def _verdict(
    measured: Measurement, evaluator: Evaluator, budget: Budget, error: float, failing: int | None = None
) -> Verdict:
    """By a look; ``failing``: most chips that may break the budget, where a share of all is to hold it."""
    found = evaluation(measured, evaluator, budget.relative, two_sided(error))
    status, shown = budget.status(found), None
    if failing is not None:
        shown = budget.failing(found.drops) <= failing
        status = "undecided" if status == "accepted" and not shown else status
    return Verdict(status, found, budget.generalize, yield_shown=shown)


def sequential_test(
    evaluator: Evaluator,
    placement: frozenset[str],
    budget: Budget,
    chips: range,
    error: float,
    what: str,
    begin: Evaluator | None = None,
) -> Verdict:
    """Test a placement on as many chips as it takes to decide.

    It is looked at after the evaluator's number of draws, then after about a third more each time, until a bound
    decides, until hardly any chance is left that it will be accepted, or until the chips are used up. Where a share of
    the chips is to hold the budget one by one, both are tested, each at the whole level, and what both show at one look
    is accepted (intersection-union test: Berger, Technometrics 24, 1982).

    Args:
        evaluator: samples, and the least number of draws.
        chips: numbers of the programmings, all that there are for it.
        error: chance that either bound may err at any look.
        begin: evaluates up to the first look; the same samples.

    Returns:
        The verdict of the last look, at that look's level.

    Raises:
        OutOfTimeError: the time that the user gave was over before the first look.
    """
    looks = look_schedule(evaluator.draws, len(chips))
    errors = look_errors(looks, error)
    share = budget.share
    allowed = [None] * len(looks) if share is None else list(failures_allowed(looks, share, error))
    first = begin or evaluator  # it also knows the digital network, for which there may be no time left
    first.expect([(placement, chips[: looks[0]])], [(placement, chips[looks[0] :])])
    measured = first.measure(placement, chips[: looks[0]], _of_chips(what, 0, looks[0]))
    for look, level, failing, following in zip(looks, errors, allowed, (*looks[1:], None), strict=True):
        last = errors[-1], allowed[-1]
        if following is None or _decided(measured, first, budget, looks, look, (level, failing), last):
            break
        evaluator.expect([(placement, chips[look:following])], [(placement, chips[following:])])
        try:
            more = evaluator.measure(placement, chips[look:following], _of_chips(what, look, following))
            measured = measured.joined(more)
        except OutOfTimeError:
            break
    evaluator.expect([])
    return _verdict(measured, first, budget, level, failing)


def _of_chips(what: str, begin: int, end: int) -> str:
    """Title of the progress of an interim look, which counts the units of work of its own chips."""
    return f"{what}, units of {f'chips {begin + 1} to {end}' if end > begin + 1 else f'chip {end}'}"


def _decided(
    measured: Measurement,
    evaluator: Evaluator,
    budget: Budget,
    looks: tuple[int, ...],
    look: int,
    now: tuple[float, int | None],
    last: tuple[float, int | None],
) -> bool:
    """Whether more draws are of no use: a bound decides, or the upper one will hardly come within the budget.

    Args:
        measured: the draws of this look.
        now: level of the present look, and most chips that may break the budget.
        last: of the last one.
    """
    scale = drop_scale(evaluator.baseline, budget.relative)
    drops, step = measured.drops * scale, measured.step * scale
    if not np.isfinite(drops).all():
        return True
    interval = scaled(measured.chip_interval(two_sided(now[0])), scale)
    if interval is None:
        return False
    if budget.generalize:
        interval = sample_interval(measured, evaluator, budget.relative, two_sided(now[0]))
        if interval is None:
            return False
    failed = budget.failing(drops)
    if interval[0] > budget.max_drop or (last[1] is not None and failed > last[1]):
        return True
    if interval[1] <= budget.max_drop:
        return now[1] is None or failed <= now[1]
    mean, deviation, beside = float(drops.mean()), max(float(drops.std(ddof=1)), step / 2), 0.0
    if budget.generalize:
        # What samples add to the upper half stays, however many chips there are.
        both = sample_interval(measured, evaluator, budget.relative, two_sided(last[0]))
        alone = scaled(measured.chip_interval(two_sided(last[0])), scale)
        assert both is not None
        assert alone is not None
        beside = max(0.0, (both[1] - mean) ** 2 - (alone[1] - mean) ** 2) ** 0.5
    return hopeless(mean, deviation, budget.max_drop, looks, look, last[0], beside)


@dataclass(frozen=True, eq=False)
class PlacementJudge:
    """Tells a search how placements do: accepted where the mean drop over a few chips is within the budget.

    By that alone nothing is shown to hold. A placement is measured once. A chip that answers NaN counts as wrong on all
    samples, where the metric is a share of right answers.

    Attributes:
        layers_in: how many layers a placement has as people count them, for the progress.
    """

    evaluator: Evaluator
    budget: Budget
    what: str = "judging"
    layers_in: Callable[[frozenset[str]], int] = len
    verdicts: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def within(self, placement: frozenset[str]) -> Verdict:
        """Judge the network with exactly these layers analog."""
        if placement not in self.verdicts:
            self.verdicts[placement] = self._judge(placement)
        return self.verdicts[placement]

    def _judge(self, placement: frozenset[str]) -> Verdict:
        draws = range(min(self.evaluator.draws, SEARCH_DRAWS))
        self.evaluator.expect([(placement, draws)])
        what = f"{self.what} {counted(self.layers_in(placement), 'analog layer')}"
        measured = self.evaluator.measure(placement, draws, what)
        judged = worst_where_nan(measured)
        if judged is not measured:
            log.warning("%s: some answers are NaN, and chips that give such count as wrong on all samples", what)
        found = evaluation(judged, self.evaluator, self.budget.relative, self.budget.confidence)
        status: Literal["accepted", "rejected"] = "accepted" if found.drop <= self.budget.max_drop else "rejected"
        return Verdict(status, found, self.budget.generalize, estimated=True)
