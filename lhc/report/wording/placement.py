"""Wording of a placement: the verdict, what it rests on, and why no more is analog; terminal and report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lhc.graph import CANDIDATE_OPS
from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import folded
from lhc.plan.sensitivity_wording import ranking_basis, sensitivities_of
from lhc.plan.summary import layers_text, rate_text, tiles_text, without_text
from lhc.report.wording.infeasibility import in_the_way, left_digital, nearest_budget, what_brings_more, what_helps
from lhc.report.wording.layers import digital_layers, layers_stay, never_text, reasons
from lhc.report.wording.machine import all_digital, amounts, times_of_digital
from lhc.report.wording.outcome import (
    against_given,
    budget_of_chips,
    budget_word,
    capitalized,
    conformance_text,
    draws_word,
    engine_text,
    estimate_text,
    formats_alone,
    further_text,
    healing_text,
    interval_text,
    intervals,
    nothing_lost,
    other_chips,
    points,
    precision_clause,
    precision_text,
    samples_text,
    share_of_digital,
    shares_error,
    tested_text,
    tests_text,
    training_steps,
    unmet_because,
)
from lhc.report.wording.robustness import budget_of_margin, lasting, margin_cause, margin_text, unlike_decision
from lhc.support.documentation_links import page
from lhc.support.number_formatting import (
    counted,
    counted_samples,
    drop_text,
    level_text,
    metric_value,
    share_text,
    time_text,
)

if TYPE_CHECKING:
    from lhc.pipeline.analysis_and_partition_results import PartitionResult
    from lhc.report.document.report import Report
    from lhc.results import Robustness

NOTHING = "nothing to place: the model has no MatMul, Gemm or Conv"
NO_ANALOG = "no layer is analog, so nothing is lost"
NO_TILES = "no layer is on tiles, so all chips answer alike"
DETAILS = "more with -v (seed, healing, estimate, objective, throughput, power) and by 'lhc report'"


def has_products(plan: Plan) -> bool:
    """Whether anything could be placed."""
    return any(layer.op_type in CANDIDATE_OPS for layer in plan.layers)


def verdict(plan: Plan) -> tuple[str, str]:
    """The decision in a word or two, and its kind: ``good``, ``bad`` or ``open``."""
    outcome = plan.outcome
    if not plan.layers:
        return "nothing to place", "good"
    if outcome is None:
        return "not judged on data", "open"
    if outcome.within_budget and outcome.limits_kept and not plan.analog:
        return "nothing on tiles", "open"
    if outcome.within_budget:
        return (budget_word(True), "good") if outcome.limits_kept else ("beyond the limits", "bad")
    return budget_word(False), "bad"


def decision(report: "Report") -> str:
    """The decision in one sentence."""
    return f"{decision_of(report.plan, report.tiles)}{beside(report.plan)}"


def decision_of(plan: Plan, tiles: int) -> str:
    """The decision of a plan that takes so many tiles, in one sentence."""
    plan = folded(plan)
    if not plan.layers:
        return "The network has no matrix product, so there is nothing to place."
    if not plan.analog:
        digital = digital_layers(plan)
        which = f"All {plan.size} layers stay" if plan.size > 1 else "The only layer stays"
        return f"{which} digital{f' ({reasons(digital)})' if digital else ''}."
    return (
        f"{layers_text(plan)} run on {tiles_text(tiles, plan.hardware, 'analog tile')}, with"
        f" {share_text(plan.analog_mac_fraction)} of the multiplications by weights{_known(plan)}."
    )


def _known(plan: Plan) -> str:
    """Operators that the share of multiplications leaves out."""
    left = len(plan.uncounted)
    return f" that are known ({counted(left, 'operator')} {'is' if left == 1 else 'are'} not counted)" if left else ""


def beside(plan: Plan) -> str:
    """Products of two activations, which no tile can do; nothing where no layer is analog."""
    if not (plan.activation_macs and plan.analog):
        return ""
    return f" {plan.activation_macs:,} more are of two activations."


def verdict_sentence(plan: Plan, tiles: int) -> str:
    """Verdict and placement in a sentence, the loss in another: ``Within the budget: 20 of 24 layers run on …``."""
    outcome, what = plan.outcome, decision_of(plan, tiles)
    said = f"{capitalized(verdict(plan)[0])}: {what[0].lower()}{what[1:]}"
    if outcome is None or not plan.layers or nothing_lost(plan):
        return f"{said}{beside(plan)}"
    of = "" if outcome.percent or outcome.drop_type == "relative" else f" of {outcome.metric}"
    loss = f"Mean {outcome.drop_word}{of} {points(outcome, outcome.drop)}, {points(outcome, outcome.max_drop)} allowed"
    if share := share_of_digital(outcome):
        loss += f" ({share}; with --drop-type relative, the budget is such a share)"
    return f"{said}{beside(plan)} {loss}{unmet_because(outcome)}."


def partition_head(result: "PartitionResult", details: bool = False) -> str:
    """First lines of ``lhc partition`` and ``lhc retrain``: the verdict in a sentence, and its basis.

    Args:
        details: also what the verdict does not rest on: seed, healing, estimate, objective, throughput, power, area.
    """
    plan, outcome = result.plan, result.plan.outcome
    lines = [verdict_sentence(plan, plan.tiles(result.facts))]
    lines += [] if outcome is None or outcome.training_note is None else [f"{capitalized(outcome.training_note)}."]
    lines.append("")
    if outcome is not None and plan.layers:
        lines += _basis_of(plan, outcome)
    if not has_products(result.plan):
        lines.append(f"{NOTHING}; all digital")
    elif result.cost is not None and result.digital_cost is not None:
        costs = f"estimated cost {amounts(result.cost)}; {all_digital(plan)} {amounts(result.digital_cost)}"
        lines.append(f"{costs}{without_text(plan)}")
    digital = digital_layers(plan)
    if digital and len(digital) < folded(plan).size:
        lines.append(f"{layers_stay(len(digital))} digital{never_text(digital)}: {reasons(digital)}")
    if basis := ranking_basis(sensitivities_of(plan), plan.agreement):
        lines.append(f"sensitivities: {basis}")
    if left := left_digital(plan):
        lines.append(f"{left}; when each pays: {page('budget-not-met')}")
    lines += _columns_lines(plan)
    if checked := conformance_text(plan):
        lines.append(checked)
    more = list(_detail_lines(result))
    return "\n".join([*lines, *(more if details else [DETAILS] if more else [])])


def _columns_lines(plan: Plan) -> Iterator[str]:
    """Columns of analog layers that are digital."""
    rows = [row for row in plan.layers if row.reason == "columns"]
    if rows:
        columns = counted(sum(len(of_layer) for of_layer in plan.digital_columns.values()), "column")
        share = sum(row.macs for row in rows) / plan.macs
        yield f"{columns} of {counted(len(rows), 'layer')} digital, {share_text(share)} of all MACs"


def _basis_of(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """Basis of a verdict, a line each; short where no layer is analog."""
    value = metric_value(outcome.baseline, outcome.percent)
    on = f"on {counted_samples(outcome.samples, outcome.documents)} ({samples_text(outcome)})"
    if nothing_lost(plan):
        yield f"digital {outcome.metric} {value} {on}; {NO_ANALOG}"
    elif formats_alone(plan) and plan.digital is not None:
        rounded = f"in {plan.digital.text} {metric_value(outcome.value, outcome.percent)}"
        yield f"digital {outcome.metric} {value}, {rounded} {on}; {NO_TILES}{_other_samples(outcome)}"
        yield from map(further_text, outcome.further)
        if outcome.digital_drop is not None and outcome.digital_drop > outcome.max_drop:
            yield precision_text(plan) or ""
    else:
        yield from _basis_lines(outcome, precision_clause(plan, outcome))


def _other_samples(outcome: Outcome) -> str:
    """Interval of the mean drop for other samples, behind a semicolon; empty where there is none."""
    if outcome.sample_interval is None:
        return ""
    between = f"{interval_text(outcome, outcome.sample_interval)} for other samples"
    return f"; mean {outcome.drop_word} {between} ({level_text(outcome.confidence)} confidence interval)"


def _basis_lines(outcome: Outcome, precision: str) -> Iterator[str]:
    """Basis of the verdict: intervals, samples, time, and the population of the budget.

    Args:
        precision: what the digital side takes, in brackets.
    """
    found = intervals(outcome)
    told = [
        f"{interval_text(outcome, interval)} for {what}"
        f"{' (compared with the budget)' if decides and len(found) > 1 else ''}"
        for what, interval, decides in found
    ]
    level = f"{level_text(outcome.confidence)} confidence interval{'s' if len(found) > 1 else ''}"
    not_judged = "; other chips are not judged" if outcome.one_chip else ""
    yield f"mean {outcome.drop_word} on {other_chips(outcome)}: {', '.join(told)}; {level}{not_judged}"
    value, baseline = (metric_value(v, outcome.percent) for v in (outcome.value, outcome.baseline))
    on = f"on {counted_samples(outcome.samples, outcome.documents)} ({samples_text(outcome)})"
    after = f"{time_text(outcome.t_s)} after the first read{engine_text(outcome)}"
    yield f"digital {outcome.metric} {baseline}{precision}, mapped {value} {on}, {after}"
    yield from map(further_text, outcome.further)
    yield budget_of_chips(outcome)
    tests = tests_text(outcome)
    if tests is not None:
        yield tests


def _detail_lines(result: "PartitionResult") -> Iterator[str]:
    """Lines of ``-v``: seed, healing, tests, estimate, objective, throughput."""
    plan, outcome = result.plan, result.plan.outcome
    if outcome is not None and plan.layers and not nothing_lost(plan):
        unseen = f"{counted(outcome.draws, draws_word(outcome))} not seen in the search, seed {outcome.seed}"
        shared = "; the tests of a run share the chance of error of --confidence, so each has a higher level"
        yield f"{unseen}{shared if shares_error(outcome) else ''}"
        if healing := healing_text(outcome):
            yield healing
        if outcome.harmful_calibration is not None:
            yield outcome.harmful_calibration.text
        if tested := tested_text(outcome):
            yield f"tested {tested}"
        if estimated := estimate_text(outcome):
            yield estimated
    if has_products(plan) and result.cost is not None:
        yield from _objective_lines(outcome)
        if result.figures is not None:
            from lhc.report.wording.machine import system_lines

            yield from system_lines(result.figures, plan)


def _objective_lines(outcome: Outcome | None) -> list[str]:
    """Objective of the search; nothing where a rule or the user placed the layers."""
    from lhc.passes import STRATEGIES

    known = None if outcome is None else STRATEGIES.get(outcome.strategy)
    if outcome is None or known is None or not known.searches:
        return []
    if outcome.objective == "macs":
        return ["objective macs: most MACs on tiles, whatever they cost there"]
    goal = outcome.objective
    return [f"objective {goal}: a layer is on tiles only where that takes less {goal} than a digital core"]


def statements(report: "Report") -> tuple[tuple[str, str], ...]:
    """Names and sentences, as far as they are known."""
    return tuple(_statements(report))


def _statements(report: "Report") -> Iterator[tuple[str, str]]:
    plan, outcome = report.plan, report.plan.outcome
    if outcome is not None and plan.layers:
        yield capitalized(outcome.metric), _quality(plan, outcome)
        if not nothing_lost(plan):
            yield "Certainty", _certainty(outcome) if not formats_alone(plan) else _certainty_without_tiles(outcome)
            yield from (("Further output", f"{capitalized(further_text(one))}.") for one in outcome.further)
        if precision := precision_text(plan):
            yield "Digital side", f"{capitalized(precision)}."
        if checked := conformance_text(plan):
            yield "Emulation", f"{capitalized(checked)}."
        if healing := healing_text(outcome):
            yield "Healing", f"{healing}."
        if outcome.harmful_calibration is not None:
            yield "Calibration", f"{capitalized(outcome.harmful_calibration.text)}."
        if outcome.retrained is not None or outcome.training_note is not None:
            yield "Retraining", _retraining(outcome, report.plan)
    digital = digital_layers(plan)
    if digital:
        ways = what_brings_more(plan)
        more = f" More may fit with {ways}." if ways else ""
        yield "Why not more", f"{layers_stay(len(digital))} digital{never_text(digital)}: {reasons(digital)}.{more}"
    if report.infeasibility is not None and report.infeasibility.in_the_way and outcome is not None:
        ways = in_the_way(report.infeasibility, outcome, plan)
        yield "In the way", f"{ways}. The {': '.join(nearest_budget(report.infeasibility, outcome, plan))}."
    if helps := what_helps(report.infeasibility, plan):
        yield "What helps", capitalized(helps)
    if report.over_time and outcome is not None:
        yield "Over time", lasting(report.over_time, outcome, report.over_time_type)
    if report.robustness is not None:
        yield "Margin", _margin(report.robustness, outcome)
    if report.costs is not None:
        faster, less = times_of_digital(report.costs)
        whole = report.costs.total
        system = report.costs.system
        rate = "" if system is None else f"; {rate_text(system.throughput)}"
        left_out, side = without_text(report.plan), all_digital(plan)
        yield "Cost", f"{amounts(whole)}, {faster} and {less} than {side}, by the cost model{left_out}{rate}."


def _quality(plan: Plan, outcome: Outcome) -> str:
    if nothing_lost(plan):
        return f"{metric_value(outcome.baseline, outcome.percent)}; {NO_ANALOG}."
    digital, mapped = (metric_value(v, outcome.percent) for v in (outcome.baseline, outcome.value))
    share = share_of_digital(outcome)
    allowed = f"{points(outcome, outcome.max_drop)}{f' ({share})' if share else ''}"
    how = f"with the analog layers {time_text(outcome.t_s)} after the first read"
    if formats_alone(plan) and plan.digital is not None:
        how = f"in {plan.digital.text}"
    return (
        f"{digital} digital, {mapped} {how}: a mean"
        f" {outcome.drop_word if outcome.drop >= 0 else 'gain'} of {points(outcome, abs(outcome.drop))}, where a"
        f" {outcome.drop_word} of {allowed} is allowed{unmet_because(outcome)}."
    )


def _certainty_without_tiles(outcome: Outcome) -> str:
    judged = f"{counted_samples(outcome.samples, outcome.documents)}: {samples_text(outcome)}"
    return f"{NO_TILES}{_other_samples(outcome)}. {capitalized(judged)}."


def _certainty(outcome: Outcome) -> str:
    what = f"{other_chips(outcome)}{' and other samples' if outcome.generalized else ' on these samples'}"
    if outcome.chip_interval is not None and len(intervals(outcome)) == 1:
        what = f"{other_chips(outcome)} on these samples and others alike"
    tests = tests_text(outcome)
    again = "" if tests is None else f" {capitalized(tests)}."
    return (
        f"for {what}, a mean {outcome.drop_word} of {interval_text(outcome, outcome.interval)}"
        f" ({level_text(outcome.confidence)} confidence interval). {capitalized(budget_of_chips(outcome))}."
        f" {counted_samples(outcome.samples, outcome.documents)}: {samples_text(outcome)}{engine_text(outcome)}.{again}"
    )


def _retraining(outcome: Outcome, plan: Plan) -> str:
    trained, told = outcome.retrained, outcome.training_note
    text = "" if told is None else f"{told}."
    if trained is None:
        return text
    layers = counted(sum(row.name in trained.layers for row in plan.layers), "analog layer")
    return (
        f"{training_steps(trained)} under the noise of {layers}; {against_given(outcome)}. {capitalized(text)}"
    ).strip()


def _margin(found: "Robustness", outcome: Outcome | None) -> str:
    margin = margin_text(found, budget_of_margin(found, outcome))
    cause = margin_cause(found, lambda drop: drop_text(drop, found.chips.percent, found.drop_type))
    told = (capitalized(text) for text in (cause, unlike_decision(found)) if text)
    return ". ".join([margin, *told]) + "."
