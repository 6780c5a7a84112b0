"""Machines side by side: their table, and what is said below it."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from lhc.costs import gains
from lhc.measure.budget_test import Budget
from lhc.options.declaration.python_signature import python_words
from lhc.plan.recurrent_steps import folded
from lhc.plan.summary import rate_value, without_text
from lhc.support.notebook import Tabled
from lhc.support.number_formatting import (
    drop_range,
    drop_unit,
    drop_value,
    level_text,
    millionths,
    share_text,
    time_text,
)
from lhc.support.tables import Table

if TYPE_CHECKING:
    from lhc.pipeline.analysis_and_partition_results import PartitionResult
    from lhc.plan import Outcome
    from lhc.results import Evaluation

ESTIMATED = "µs, µJ and samples/s are estimates of the cost model"


class Comparison(tuple["PartitionResult", ...], Tabled):
    """Result of `lhc.compare`, a partition a machine."""

    __slots__ = ()

    def as_table(self) -> Table:
        """One row a machine."""
        return _comparison_table(self)

    @property
    def summary(self) -> str:
        """Comparison of the rows with all digital and with each other, and effects that the machines leave out."""
        return python_words(comparison_footer(self))

    def __repr__(self) -> str:
        return f"<Comparison: {'; '.join(f'{one.plan.hardware.name}: {one.summary}' for one in self)}>"


def _comparison_table(results: "Sequence[PartitionResult]") -> Table:
    """Machines side by side, one row each."""
    outcome = results[0].plan.outcome
    unit = "" if outcome is None else drop_unit(outcome.percent, outcome.drop_type, outcome.metric)
    word = "drop" if outcome is None else outcome.drop_word
    headers = [
        "machine",
        "after",
        "layers",
        "MACs analog",
        "tiles",
        f"{word}{unit}",
        "interval",
        "budget",
        "µs",
        "µJ",
        "samples/s",
    ]
    aged = any(result.ages for result in results)
    headers[8:8] = ["budget held"] if aged else []
    rows = [_row(result, aged) for result in results]
    return Table(headers, rows, right=(2, 3, 4, 5, *range(len(headers) - 3, len(headers))), spare=(1, 6, 3))


def _row(result: "PartitionResult", aged: bool) -> list[str]:
    plan, outcome, cost = folded(result.plan), result.plan.outcome, result.cost
    drops = ["-", "-", "-"]
    if outcome is not None:
        share = outcome.percent or outcome.drop_type == "relative"
        interval = "-" if outcome.interval is None else drop_range(outcome.interval, share)
        drops = [drop_value(outcome.drop, share), interval, "met" if outcome.within_budget else "not met"]
    return [
        plan.hardware.name,
        "-" if outcome is None else time_text(outcome.t_s),
        f"{len(plan.analog)}/{plan.able}",
        share_text(plan.analog_mac_fraction),
        str(result.plan.tiles(result.facts)),
        *drops,
        *([holding_text(result)] if aged else []),
        millionths(None if cost is None else cost.total.latency_s),
        millionths(None if cost is None else cost.total.energy_j),
        "-" if result.figures is None else rate_value(result.figures.throughput),
    ]


def held_ages(result: "PartitionResult") -> tuple[float | None, float | None]:
    """The last of the ages up to which all are shown to hold the budget, and the first that is not; None: no such.

    With a share of chips that is to hold it (``--yield``), that is to be shown at every age too.
    """
    outcome, held = result.plan.outcome, None
    for found in result.ages:
        if outcome is None or not _holds(found, outcome):
            return held, found.t_s
        held = found.t_s
    return held, None


def _holds(found: "Evaluation", outcome: "Outcome") -> bool:
    """Whether a placement is shown to hold the budget that it was tested by, at another age."""
    share = outcome.yield_share
    budget = Budget(outcome.max_drop, outcome.drop_type, found.confidence, outcome.generalized, share=share)
    return budget.status(found) == "accepted" and (share is None or budget.shows_share(found.drops))


def holding_text(result: "PartitionResult") -> str:
    """Age up to which a placement holds the budget with one calibration, as far as ages were measured."""
    if not result.plan.analog:
        return "all digital"
    held, fails = held_ages(result)
    if held is None:
        return "-" if fails is None else f"before {time_text(fails)}"
    return f"over {time_text(held)}" if fails is None else f"{time_text(held)} to {time_text(fails)}"


def overlapping_pairs(results: "Sequence[PartitionResult]") -> list[tuple[str, str]]:
    """Machines whose drops cannot be told apart, in pairs: the intervals overlap."""
    known = [(one.plan.hardware.name, interval) for one in results if (interval := _interval(one)) is not None]
    return [
        (first, second)
        for (first, one), (second, other) in combinations(known, 2)
        if max(one[0], other[0]) <= min(one[1], other[1])
    ]


def _interval(result: "PartitionResult") -> tuple[float, float] | None:
    """Interval of the mean drop; without anything drawn, the drop itself."""
    outcome = result.plan.outcome
    if outcome is None:
        return None
    exact = not result.plan.analog or not result.plan.hardware.is_stochastic
    return (outcome.drop, outcome.drop) if outcome.interval is None and exact else outcome.interval


def interval_notes(results: "Sequence[PartitionResult]") -> Iterator[str]:
    """Levels of the intervals, and what machines were placed for where that is not the same."""
    found = [(one.plan.hardware.name, one.plan.outcome) for one in results if one.plan.outcome is not None]
    levels = [outcome.confidence for _, outcome in found if outcome.interval is not None]
    if levels:
        text = " to ".join(dict.fromkeys(map(level_text, (min(levels), max(levels)))))
        yield f"interval: of the mean {found[0][1].drop_word}, {text} confidence"
    if len({outcome.objective for _, outcome in found}) > 1:
        named = ", ".join(f"{name} {outcome.objective}" for name, outcome in found)
        yield f"placed for different objectives: {named} (--objective sets one for all)"


def comparison_footer(results: "Sequence[PartitionResult]") -> str:
    """Lines under the table of ``lhc compare``: gains beside all digital, effects left out, machines not told apart."""
    lines = [f"layers: on tiles, of those that can be; {ESTIMATED}", *interval_notes(results)]
    for result in results:
        machine, cost, digital = result.plan.hardware, result.cost, result.digital_cost
        left_out = without_text(result.plan)
        told = (
            ["costs are not known"]
            if cost is None or digital is None
            else [f"{gains(cost.total, digital.total)}{left_out}"]
        )
        effects = ", ".join(one.name for one in machine.effects_left_out)
        told += [f"leaves out {effects}"] if effects else []
        lines.append(f"{machine.name}: {'; '.join(told)}")
    if pairs := overlapping_pairs(results):
        word = results[0].plan.outcome.drop_word if results[0].plan.outcome else "drop"
        named = "; ".join(" and ".join(pair) for pair in pairs)
        lines.append(
            f"not told apart by their {word}s, whose intervals overlap: {named} (the same placement by"
            " --plan, more --draws or more samples tell more)"
        )
    if any(result.ages for result in results):
        lines.append(
            "budget held: the ages between which a placement is no longer shown to hold the budget; its outputs are"
            " calibrated once, at the first read, where the machine calibrates them; drift compensation is read out at"
            " every age, and every age is a test by itself; -: devices are not known then"
        )
        outcome = results[0].plan.outcome
        if outcome is not None and outcome.yield_share is not None:
            lines.append(f"at every age {100 * outcome.yield_share:g} % of all chips are to hold the budget one by one")
    return "\n".join(lines)
