"""Wording of a placement under other conditions: more noise, later times, other samples."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lhc.options.shared import DropType
from lhc.plan import Outcome
from lhc.report.wording.outcome import budget_for, comparable, network_against, within_budget
from lhc.support.number_formatting import drop_text, metric_value, scale_text, time_text

if TYPE_CHECKING:
    from lhc.results import AtTime, Evaluation, Front, Robustness


def margin_text(found: "Robustness", budget: str) -> str:
    """Noise up to which a budget is shown to be met, or that it is so with none that was tried."""
    if found.margin:
        return f"{budget} is met up to {scale_text(found.margin)} times the machine's noise"
    return f"{budget} is {_unmet(found, found.scales[0].evaluation)} with any noise tried"


def _fails_text(found: "Robustness") -> str:
    """Noise from which on a budget that has a margin is not met, or not shown to be; nothing where none was tried."""
    at = next((one for one in found.scales if one.scale == found.fails_at), None)
    return "" if at is None or not found.margin else f"; {_unmet(found, at.evaluation)} at {scale_text(at.scale)}"


def margin_line(found: "Robustness", budget: str) -> str:
    """The margin by its name: up to which noise, and from which on no more."""
    name = f"margin{'' if found.yield_share is None else ' of the mean'}"
    return f"{name}: {'' if found.margin else 'none: '}{margin_text(found, budget)}{_fails_text(found)}"


def _unmet(found: "Robustness", tried: "Evaluation") -> str:
    return "not met" if held_at(found, tried) == "no" else "not shown to be met"


def held_at(found: "Robustness", tried: "Evaluation") -> str:
    """`held_word` of a mean drop under other conditions."""
    return held_word(found.interval(tried), found.max_drop)


def held_word(interval: tuple[float, float] | None, budget: float) -> str:
    """Verdict of an interval on the budget: yes where all of it is within, no where nothing is, else not shown."""
    if interval is None:
        return "not shown"
    return "yes" if interval[1] <= budget else "no" if interval[0] > budget else "not shown"


def budget_of_margin(found: "Robustness", outcome: Outcome | None) -> str:
    """Budget that the margin is of: the placement's, or another one, which is then named."""
    chips = found.chips
    own = outcome is not None and (outcome.metric, outcome.max_drop, outcome.drop_type) == (
        chips.metric,
        found.max_drop,
        found.drop_type,
    )
    if own or outcome is None:
        return "the budget"
    drop = drop_text(found.max_drop, chips.percent, found.drop_type, found.max_drop)
    return f"a {chips.drop_word} of {drop} in {chips.metric}, which is not the placement's budget,"


def margin_cause(found: "Robustness", show: Callable[[float], str]) -> str | None:
    """Cause why the budget is not shown to be held with the least noise tried; None where it is, or nothing tells."""
    least = found.scales[0]
    drop, interval = least.evaluation.drop, found.interval(least.evaluation)
    if found.margin or interval is None or interval[1] <= found.max_drop:
        return None
    mean = f"at {scale_text(least.scale)} times the noise the mean {least.evaluation.drop_word} is {show(drop)}"
    if drop > found.max_drop:
        return f"{mean}, over the budget"
    return (
        f"{mean}, within the budget, but its interval over {least.evaluation.draws} draws reaches {show(interval[1])};"
        " more --draws narrow it"
    )


def unlike_decision(found: "Robustness") -> str:
    """Cause why a margin may differ from the decision; empty where it cannot."""
    return f"measured, unlike the decision, with {' and '.join(found.differs)}" if found.differs else ""


def lasting(times: "Sequence[AtTime]", outcome: Outcome, drop_type: DropType) -> str:
    """Time up to which the mean drop is shown to stay within the budget, as tables over time judge it."""
    metric = next((point.evaluation.metric for point in times if point.evaluation.metric != outcome.metric), None)
    if metric is not None:
        return f"in {metric}, and the budget is for {outcome.metric}: not compared."

    if not all(comparable(point.evaluation, outcome) for point in times):
        other = next(p.evaluation for p in times if not comparable(p.evaluation, outcome))
        given = "the budget against the network as it was given: not compared."
        return f"{outcome.drop_word}s are against {network_against(other, outcome)}, {given}"
    within = [bool(within_budget(point.evaluation, outcome, drop_type)) for point in times]
    last = times[-1].evaluation
    on = f"on {_unlike_samples(last, outcome)}, " if other_samples(last, outcome) else ""
    mean_drop = f"{on}the mean {outcome.drop_word}"
    mean_drop += f" against {network_against(last, outcome)}" if outcome.retrained is not None else ""
    if all(within):
        return f"{mean_drop} is shown to stay within the budget up to {time_text(last.t_s)}, the longest time measured."
    first = within.index(False)
    fails = times[first].evaluation
    over = fails.drop > budget_for(fails, outcome, drop_type)
    beyond = f"is {drop_text(fails.drop, fails.percent, drop_type)} at {time_text(fails.t_s)}"
    beyond += "" if over else ", not shown to be within the budget"
    if first == 0:
        return f"{mean_drop} {beyond}{' already' if over else ''}."
    held_s = times[first - 1].evaluation.t_s
    held = f"up to {time_text(held_s)}" if held_s else "at first"
    return f"{mean_drop} is shown to be within the budget {held}, and {beyond}."


def other_samples(found: "Evaluation", outcome: Outcome | None) -> str:
    """Note that a measurement is on other samples than the decision, or in another metric.

    Empty where the metric, the number of samples and the digital network's value are the same.
    """
    if outcome is None:
        return ""
    if found.metric != outcome.metric:
        return f"another scale than the decision: in {found.metric}, not {outcome.metric}; not compared with the budget"
    if (found.samples, found.baseline) == (outcome.samples, outcome.baseline):
        return ""
    return f"{_unlike_samples(found, outcome)}, digital {metric_value(found.baseline, found.percent)}"


def _unlike_samples(found: "Evaluation", outcome: Outcome) -> str:
    """Number of samples, and their relation to those of the decision; where nothing tells, some may be the same."""
    more = found.samples >= outcome.samples
    if found.data is not None and found.data == outcome.data and outcome.retrained is None:
        # Of the same data a part is set aside, and of any two such parts one holds the other.
        fewer = f"{found.samples} of the decision's {outcome.samples} samples"
        return f"{found.samples} samples with the decision's {outcome.samples}" if more else fewer
    if found.skipped is not None and found.skipped == outcome.data:
        return f"other samples than the decision: {found.samples}"
    return f"{found.samples} samples, not the decision's {outcome.samples}"


def samples_of_front(front: "Front | None", outcome: Outcome | None) -> str:
    """`other_samples` of a front's points."""
    verified = () if front is None else front.verified
    found = verified[0].evaluation if verified else None
    return "" if found is None else other_samples(found, outcome)
