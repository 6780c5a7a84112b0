"""What a report says first: the decision, and in a line each how good, how sure, why, and at what cost."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lhc.options.budget import DropType
from lhc.plan import LayerPlan, Outcome, Plan
from lhc.plan.layer_plan import NEVER_ANALOG
from lhc.plan.recurrent_steps import folded
from lhc.report.wording.infeasibility import explained_layers, in_the_way, what_brings_more, what_helps
from lhc.report.wording.noise_margin import budget_of_margin, margin_cause, margin_text, unlike_decision
from lhc.report.wording.values import (
    budget_for,
    budget_of_chips,
    budget_word,
    capitalized,
    comparable,
    conformance_text,
    engine_text,
    further_text,
    healing_text,
    interval_text,
    intervals,
    network_against,
    nothing_lost,
    other_chips,
    points,
    reasons,
    samples_text,
    share_of_digital,
    tests_text,
    unmet_because,
)
from lhc.summary import layers_text, rate_text, tiles_text, without_text
from lhc.support.number_formatting import (
    amount,
    counted,
    counted_samples,
    drop_text,
    level_text,
    metric_value,
    share_text,
    time_text,
)

if TYPE_CHECKING:
    from lhc.report.document.report import Costs, Report
    from lhc.results import AtTime, Evaluation, Front, Robustness

__all__ = [
    "beside",
    "decision",
    "decision_of",
    "digital_layers",
    "never_text",
    "other_samples",
    "samples_of_front",
    "statements",
    "times_of_digital",
    "verdict",
]


def verdict(plan: Plan) -> tuple[str, str]:
    """The decision in a word or two, and its kind: ``good``, ``bad`` or ``open``."""
    outcome = plan.outcome
    if not plan.layers:
        return "nothing to place", "good"
    if outcome is None:
        return "not judged on data", "open"
    if outcome.within_budget:
        return (budget_word(True), "good") if outcome.limits_kept else ("beyond the limits", "bad")
    return budget_word(False), "bad"


def decision(report: "Report") -> str:
    """What was decided, in one sentence."""
    return f"{decision_of(report.plan, report.tiles)}{beside(report.plan)}"


def decision_of(plan: Plan, tiles: int) -> str:
    """The same of a plan that takes so many tiles."""
    plan = folded(plan)
    if not plan.layers:
        return "The network has no matrix product, so there is nothing to place."
    if not plan.analog:
        return f"All {plan.size} layers stay digital."
    return (
        f"{layers_text(plan)} run on analog tiles: {share_text(plan.analog_mac_fraction)}"
        f" of the multiplications by weights{_known(plan)}, on {tiles_text(tiles, plan.hardware)}."
    )


def digital_layers(plan: Plan) -> tuple[LayerPlan, ...]:
    """The layers that are digital, of those that `decision_of` counts: steps of an operator are one, columns none."""
    rows = folded(plan).layers
    return tuple(row for row in rows if row.placement == "digital" and row.reason not in ("eligible", "columns"))


def never_text(digital: Sequence[LayerPlan]) -> str:
    """How many of them cannot be analog, which `decision_of` leaves out; nothing where all can."""
    never = sum(row.reason in NEVER_ANALOG for row in digital)
    which = "none of which can" if never == len(digital) else f"{never} of which cannot"
    return f", {which} be analog" if never else ""


def _known(plan: Plan) -> str:
    """What the share leaves out."""
    left = len(plan.uncounted)
    return f" that are known ({counted(left, 'operator')} {'is' if left == 1 else 'are'} not counted)" if left else ""


def beside(plan: Plan) -> str:
    """Products of two activations, which no tile can do; nothing where no layer is analog."""
    return f" {plan.activation_macs:,} more multiply two activations." if plan.activation_macs and plan.analog else ""


def statements(report: "Report") -> tuple[tuple[str, str], ...]:
    """Names and sentences, as far as they are known."""
    return tuple(_statements(report))


def _statements(report: "Report") -> Iterator[tuple[str, str]]:
    plan, outcome = report.plan, report.plan.outcome
    if outcome is not None and plan.layers:
        yield outcome.metric.capitalize(), _quality(plan, outcome)
        if not nothing_lost(plan):
            yield "Certainty", _certainty(outcome)
            yield from (("Further output", f"{capitalized(further_text(one))}.") for one in outcome.further)
        if checked := conformance_text(plan):
            yield "Emulation", f"{capitalized(checked)}."
        healing = healing_text(outcome)
        if healing is not None:
            yield "Healing", f"mean {outcome.drop_word} {healing}."
        if outcome.harmful_calibration is not None:
            yield "Calibration", f"{capitalized(outcome.harmful_calibration.text)}."
        if outcome.retrained is not None or outcome.training_note is not None:
            yield "Retraining", _retraining(outcome, report.plan)
    digital = digital_layers(plan)
    if digital:
        ways = what_brings_more(plan)
        more = f" More may fit with {ways}." if ways else ""
        yield "Why not more", f"{_layers(len(digital))} digital{never_text(digital)}: {reasons(digital)}.{more}"
    if report.infeasibility is not None and report.infeasibility.in_the_way and outcome is not None:
        ways, verified = in_the_way(report.infeasibility, outcome, plan), len(report.infeasibility.analog)
        nearest, hold = points(outcome, report.infeasibility.nearest_budget), "holds" if verified == 1 else "hold"
        which = f"{verified} {explained_layers(report.infeasibility, plan, verified)}"
        yield "In the way", f"{ways}. The nearest budget that the {which} {hold}: {nearest}."
    if helps := what_helps(report.infeasibility, plan):
        yield "What helps", capitalized(helps)
    if report.over_time and outcome is not None:
        yield "Over time", _lasting(report.over_time, outcome, report.over_time_type)
    if report.robustness is not None:
        yield "Margin", _margin(report.robustness, outcome)
    if report.costs is not None:
        faster, less = times_of_digital(report.costs)
        whole = report.costs.total
        size = f"{amount(whole.latency_s, 's')} and {amount(whole.energy_j, 'J')} a sample"
        system = report.costs.system
        rate = "" if system is None else f"; {rate_text(system.throughput)}"
        left_out = without_text(report.plan)
        yield "Cost", f"{size}, {faster} and {less} than all digital, by the cost model{left_out}{rate}."


def _retraining(outcome: Outcome, plan: Plan) -> str:
    trained, told = outcome.retrained, outcome.training_note
    text = "" if told is None else f"{told}."
    if trained is None:
        return text
    layers = counted(sum(row.name in trained.layers for row in plan.layers), "analog layer")
    return (
        f"{trained.steps} steps of {trained.batch_size} samples under the noise of {layers};"
        f" {outcome.drop_word}s are against the network as it was given. {capitalized(text)}"
    ).strip()


def _margin(found: "Robustness", outcome: Outcome | None) -> str:
    margin = margin_text(found, budget_of_margin(found, outcome))
    unlike = f"; {unlike_decision(found)}" if found.differs else ""
    cause = margin_cause(found, lambda drop: drop_text(drop, found.chips.percent, found.drop_type))
    return f"{margin}{'' if cause is None else f': {cause}'}{unlike}."


def _layers(number: int) -> str:
    return f"{counted(number, 'layer')} {'stays' if number == 1 else 'stay'}"


def _quality(plan: Plan, outcome: Outcome) -> str:
    if nothing_lost(plan):
        return f"{metric_value(outcome.baseline, outcome.percent)}; every layer is digital, so nothing is lost."
    digital, mapped = (metric_value(v, outcome.percent) for v in (outcome.baseline, outcome.value))
    share = share_of_digital(outcome)
    allowed = f"{points(outcome, outcome.max_drop)}{f' ({share})' if share else ''}"
    return (
        f"{digital} digital, {mapped} with the analog layers {time_text(outcome.t_s)} after programming: a mean"
        f" {outcome.drop_word if outcome.drop >= 0 else 'gain'} of {points(outcome, abs(outcome.drop))}, where a"
        f" {outcome.drop_word} of {allowed} is allowed{unmet_because(outcome)}."
    )


def _certainty(outcome: Outcome) -> str:
    what = f"{other_chips(outcome)}{' and other samples' if outcome.generalized else ' on these samples'}"
    if outcome.chip_interval is not None and len(intervals(outcome)) == 1:
        what = f"{other_chips(outcome)} on these samples and others alike"
    tests = tests_text(outcome)
    again = "" if tests is None else f" {capitalized(tests)}."
    return (
        f"for {what}, a mean {outcome.drop_word} of {interval_text(outcome, outcome.interval)}"
        f" ({level_text(outcome.confidence)} confidence). {capitalized(budget_of_chips(outcome))}."
        f" {counted_samples(outcome.samples, outcome.documents)}: {samples_text(outcome)}{engine_text(outcome)}.{again}"
    )


def _lasting(times: "Sequence[AtTime]", outcome: Outcome, drop_type: DropType) -> str:
    """Up to when the mean drop is shown to stay within the budget, as tables over time judge it."""
    metric = next((point.evaluation.metric for point in times if point.evaluation.metric != outcome.metric), None)
    if metric is not None:
        return f"in {metric}, and the budget is for {outcome.metric}: not compared."

    if not all(comparable(point.evaluation, outcome) for point in times):
        other = next(p.evaluation for p in times if not comparable(p.evaluation, outcome))
        given = "the budget against the network as it was given: not compared."
        return f"{outcome.drop_word}s are against {network_against(other, outcome)}, {given}"
    from lhc.report.tables.measured_tables import within_budget

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
    """That something was not measured on the samples of the decision alone, or in another metric.

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
    """How many samples, and what those of the decision are to them; where nothing tells, some may be the same."""
    more = found.samples >= outcome.samples
    if found.data is not None and found.data == outcome.data and outcome.retrained is None:
        # Of the same data a part is set aside, and of any two such parts one holds the other.
        fewer = f"{found.samples} of the decision's {outcome.samples} samples"
        return f"{found.samples} samples with the decision's {outcome.samples}" if more else fewer
    if found.skipped is not None and found.skipped == outcome.data:
        return f"other samples than the decision: {found.samples}"
    return f"{found.samples} samples, not the decision's {outcome.samples}"


def samples_of_front(front: "Front | None", outcome: Outcome | None) -> str:
    """The same of a front's points."""
    verified = () if front is None else front.verified
    found = verified[0].evaluation if verified else None
    return "" if found is None else other_samples(found, outcome)


def times_of_digital(costs: "Costs") -> tuple[str, str]:
    """Latency and energy beside those of the all-digital network: ``1.8 times faster``, ``2 times less energy``."""
    from lhc.costs import compared

    whole, digital = costs.total, costs.all_digital
    return (
        compared(digital.latency_s, whole.latency_s, "faster", "slower", "no faster"),
        compared(digital.energy_j, whole.energy_j, "less energy", "more energy", "no less energy"),
    )
