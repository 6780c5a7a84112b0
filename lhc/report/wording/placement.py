"""What is said of a placement on the terminal: lines below its table, and notes before it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lhc.graph import CANDIDATE_OPS
from lhc.model import OnnxModel
from lhc.onnx_io import compiled_note, contradictions, read_plan
from lhc.plan import Outcome, Plan
from lhc.plan.recurrent_steps import folded, layers_among
from lhc.plan.sensitivity_texts import ranking_basis, sensitivities_of
from lhc.report.wording.infeasibility import explained_layers, in_the_way, left_digital, not_tried
from lhc.report.wording.statements import beside, decision_of, digital_layers, never_text, verdict
from lhc.report.wording.values import (
    budget_of_chips,
    budget_text,
    budget_word,
    capitalized,
    conformance_text,
    draws_word,
    engine_text,
    estimate_basis,
    further_text,
    healing_text,
    interval_text,
    intervals,
    nothing_lost,
    other_chips,
    points,
    reasons,
    samples_text,
    share_of_digital,
    shares_error,
    tested_text,
    tests_text,
    unmet_because,
)
from lhc.summary import without_text
from lhc.support.documentation import page
from lhc.support.number_formatting import (
    amount,
    counted,
    counted_samples,
    level_text,
    metric_value,
    millionths,
    share_text,
    time_text,
)
from lhc.support.tables import Table

if TYPE_CHECKING:
    from lhc.costs import Cost, SystemCost
    from lhc.pipeline.results import Analysis, PartitionResult
    from lhc.results import Infeasibility

__all__ = [
    "analysis_footer",
    "doubts",
    "infeasibility_lines",
    "inspection_footer",
    "partition_head",
    "renaming_notes",
    "stored_summary",
    "verdict_sentence",
]

NOTHING = "nothing to place: the model has no MatMul, Gemm or Conv"
DETAILS = "more with -v (seed, healing, estimate, objective, throughput, power) and by 'lhc report'"
MOST_NAMED = 5


def _has_products(plan: Plan) -> bool:
    return any(layer.op_type in CANDIDATE_OPS for layer in plan.layers)


def analysis_footer(result: "Analysis") -> str:
    """What stands under the table of ``lhc analyze``: totals, costs, and operators that are no products."""
    lines = [] if _has_products(result.plan) else [NOTHING]
    if result.plan.layers:
        lines.append(result.totals)
    if result.example_note:
        lines.append(result.example_note)
    digital, analog = (result.cost(placement) for placement in (frozenset[str](), frozenset(result.plan.eligible)))
    if digital is not None and analog is not None and result.plan.layers:
        lines.append(
            f"estimated cost, all digital: {_amounts(digital)}; all eligible layers analog: {_amounts(analog)}"
            f"{without_text(result.plan)}"
        )
        if digital.energy_j < analog.energy_j:
            lines.append(_saving_layers(result))
        lines += _copies_counted(result)
        lines += _other_operators(digital)
    return "\n".join(lines)


def _copies_counted(result: "Analysis") -> Iterator[str]:
    """Which copies of weights analog costs count, and which ones 'lhc partition' may make besides."""
    machine, able = result.plan.hardware, [row for row in result.rows if row.reason == "eligible"]
    room = {row.name: matrix.rows for row in able if (matrix := result.facts[row.name].matrix) is not None}
    fewer = sum(row.name in room and row.copies < machine.free_copies(row.name, room[row.name]) for row in able)
    if fewer:
        yield (
            f"analog costs count fewer copies of weights than fit in {counted(fewer, 'layer')}, since all would make"
            f" {'it' if fewer == 1 else 'them'} dearer than digital; 'lhc partition --objective macs' makes all that"
            " fit, at a higher energy"
        )
    if any(row.copies > 1 for row in able):
        yield (
            "analog costs count copies in free cells; how often reads are repeated is assumed, 'lhc partition' measures"
            " it"
        )


def _saving_layers(result: "Analysis") -> str:
    """How many layers save energy on tiles, where all of them together cost more."""
    costs, able = result.costs, [row.name for row in result.rows if row.reason == "eligible"]
    assert costs is not None
    saving = [name for name in able if costs.analog[name].energy_j < costs.digital[name].energy_j]
    return (
        f"tiles save energy in {len(saving)} of {counted(len(able), 'eligible layer')} and cost more in sum; 'lhc"
        " partition' places those that pay, and with --objective macs others too, at a higher energy"
    )


def _other_operators(cost: "SystemCost") -> Iterator[str]:
    from lhc.costs import by_operator
    from lhc.costs.units import total

    others = by_operator(cost.others)
    if not others:
        return
    rows = [[one.operator, f"{one.count}", *_cells(one.cost)] for one in others]
    rows.append(["all of them", f"{sum(one.count for one in others)}", *_cells(total(one.cost for one in others))])
    table = Table(["other operator", "count", "µs", "µJ"], rows, right=range(1, 4))
    yield f"both estimates include the operators that are no products, which always run digitally:\n\n{table.render()}"


def _cells(cost: "Cost") -> tuple[str, str]:
    return millionths(cost.latency_s), millionths(cost.energy_j)


def _amounts(cost: "SystemCost") -> str:
    return f"{amount(cost.latency_s, 's')} and {amount(cost.energy_j, 'J')} a sample"


def partition_head(result: "PartitionResult", details: bool = False) -> str:
    """What ``lhc partition`` and ``lhc retrain`` say first: the verdict in a sentence, and what it rests on.

    Args:
        details: also what the verdict does not rest on: seed, healing, estimate, objective, throughput, power, area.
    """
    plan, outcome = result.plan, result.plan.outcome
    lines = [verdict_sentence(plan, plan.tiles(result.facts))]
    lines += [] if outcome is None or outcome.training_note is None else [f"{capitalized(outcome.training_note)}."]
    lines.append("")
    if outcome is not None and plan.layers:
        lines += [_digital_line(outcome)] if nothing_lost(plan) else _basis_lines(outcome)
    if not _has_products(result.plan):
        lines.append(f"{NOTHING}; all digital")
    elif result.cost is not None and result.digital_cost is not None:
        costs = f"estimated cost {_amounts(result.cost)}; all digital {_amounts(result.digital_cost)}"
        lines.append(f"{costs}{without_text(plan)}")
    digital = digital_layers(plan)
    if digital and len(digital) < folded(plan).size:
        lines.append(f"{counted(len(digital), 'digital layer')}{never_text(digital)}: {reasons(digital)}")
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
    """What of layers on tiles is digital."""
    rows = [row for row in plan.layers if row.reason == "columns"]
    if rows:
        columns = counted(sum(len(of_layer) for of_layer in plan.digital_columns.values()), "column")
        share = sum(row.macs for row in rows) / plan.macs
        yield f"{columns} of {counted(len(rows), 'layer')} digital, {share_text(share)} of all MACs"


def verdict_sentence(plan: Plan, tiles: int) -> str:
    """Whether the budget is held, by what, and at what loss: ``Within the budget: 20 of 24 layers run on …``."""
    outcome, what = plan.outcome, decision_of(plan, tiles)
    said = f"{verdict(plan)[0].capitalize()}: {what[0].lower()}{what[1:]}"
    if outcome is None or not plan.layers or nothing_lost(plan):
        return f"{said}{beside(plan)}"
    of = "" if outcome.percent or outcome.drop_type == "relative" else f" of {outcome.metric}"
    loss = f"mean {outcome.drop_word}{of} {points(outcome, outcome.drop)}, {points(outcome, outcome.max_drop)} allowed"
    if share := share_of_digital(outcome):
        loss += f" ({share}; --drop-type relative takes it as such a share)"
    return f"{said.removesuffix('.')}; {loss}{unmet_because(outcome)}.{beside(plan)}"


def _digital_line(outcome: Outcome) -> str:
    """What there is to say where no chip computes anything."""
    value = metric_value(outcome.baseline, outcome.percent)
    on = f"{counted_samples(outcome.samples, outcome.documents)} ({samples_text(outcome)})"
    return f"digital {outcome.metric} {value} on {on}; no layer is analog, so nothing is lost"


def _basis_lines(outcome: Outcome) -> Iterator[str]:
    """What the verdict rests on: intervals, samples, time, and what the budget is of."""
    found = intervals(outcome)
    told = [
        f"{interval_text(outcome, interval)} for {what}{' (decides)' if decides and len(found) > 1 else ''}"
        for what, interval, decides in found
    ]
    not_judged = "; other chips are not judged" if outcome.one_chip else ""
    level = f"{level_text(outcome.confidence)} confidence{' each' if len(found) > 1 else ''}"
    yield f"mean {outcome.drop_word} on {other_chips(outcome)}: {', '.join(told)}; {level}{not_judged}"
    value, baseline = (metric_value(v, outcome.percent) for v in (outcome.value, outcome.baseline))
    on = f"on {counted_samples(outcome.samples, outcome.documents)} ({samples_text(outcome)})"
    after = f"{time_text(outcome.t_s)} after programming{engine_text(outcome)}"
    yield f"digital {outcome.metric} {baseline}, mapped {value} {on}, {after}"
    yield from map(further_text, outcome.further)
    yield budget_of_chips(outcome)
    tests = tests_text(outcome)
    if tests is not None:
        yield tests


def _detail_lines(result: "PartitionResult") -> Iterator[str]:
    """What is behind ``-v``."""
    plan, outcome = result.plan, result.plan.outcome
    if outcome is not None and plan.layers and not nothing_lost(plan):
        unseen = f"{counted(outcome.draws, draws_word(outcome))} not seen in the search, seed {outcome.seed}"
        shared = "; the tests of a run share the chance of error of --confidence, so each has a higher level"
        yield f"{unseen}{shared if shares_error(outcome) else ''}"
        healing = healing_text(outcome)
        if healing is not None:
            yield f"mean {outcome.drop_word} {healing}"
        if outcome.harmful_calibration is not None:
            yield outcome.harmful_calibration.text
        if tested := tested_text(outcome):
            yield f"tested {tested}"
        found = outcome.estimate
        if found is not None:
            predicted, drop = points(outcome, found.predicted_drop), points(outcome, outcome.drop)
            yield f"estimated {outcome.drop_word} {predicted}, verified {drop} ({estimate_basis(found)})"
    if _has_products(plan) and result.cost is not None:
        yield from _objective_lines(outcome)
        if result.figures is not None:
            from lhc.report.wording.throughput import system_lines

            yield from system_lines(result.figures, plan)


def _objective_lines(outcome: Outcome | None) -> list[str]:
    """What the search was after; nothing where a rule or the user placed the layers."""
    from lhc.passes import STRATEGIES

    known = None if outcome is None else STRATEGIES.get(outcome.strategy)
    if outcome is None or known is None or not known.searches:
        return []
    if outcome.objective == "macs":
        return ["objective macs: most MACs on tiles, whatever they cost there"]
    goal = outcome.objective
    return [f"objective {goal}: a layer is on tiles only where that takes less {goal} than a digital core"]


def infeasibility_lines(found: "Infeasibility | None", plan: Plan) -> Iterator[str]:
    """Why a budget was not shown to be met, and what would help."""
    outcome = plan.outcome
    if found is None or outcome is None:
        return
    bounded = bool(outcome.limits) or plan.hardware.tiles.count is not None
    where = "within the limits" if bounded else "on the tiles that layers take anyway"
    least = points(outcome, found.least.drop)
    yield f"least {outcome.drop_word} of the placements that were measured, {where}: {least}"
    nearest = budget_text(found.nearest_budget, outcome.percent or outcome.drop_type == "relative")
    number = len(layers_among(plan, found.analog))
    hold = f"the {number} {explained_layers(found, plan, number)} {'holds' if number == 1 else 'hold'}"
    yield f"nearest budget that {hold}: --max-drop {nearest}"
    if ways := in_the_way(found, outcome, plan):
        yield f"in the way: {ways}"
    for remedy in found.remedies:
        interval = remedy.evaluation.deciding(outcome.generalized)
        between = "" if interval is None else f" ({interval_text(outcome, interval)})"
        word = f"{budget_word(remedy.within)}{'; no difference shown on the same chips' if remedy.none_shown else ''}"
        yield f"{remedy.change}: {outcome.drop_word} {points(outcome, remedy.evaluation.drop)}{between}, {word}"
    yield from (f"not tried: {what}" for what in not_tried(found, plan))


def stored_summary(model: OnnxModel) -> str:
    """The line that sums up the plan that a model carries; empty where it has none."""
    return next((entry.value for entry in model.proto.metadata_props if entry.key == "lhc.summary"), "")


def inspection_footer(model: OnnxModel, plan: Plan) -> str:
    """The lines under the table of ``lhc inspect``."""
    outcome = plan.outcome
    healing = None if outcome is None else healing_text(outcome)
    lines = (
        f"hardware {plan.hardware.name}, annotated by lhc {plan.lhc_version}",
        f"sensitivities: {basis}" if (basis := ranking_basis(sensitivities_of(plan), plan.agreement)) else "",
        "" if outcome is None or healing is None else f"mean {outcome.drop_word} {healing}",
        stored_summary(model),
    )
    return "\n".join(line for line in lines if line)


def doubts(model: OnnxModel, plan: Plan | None = None) -> Iterator[str]:
    """That a model has changed since it was annotated, or that its annotations contradict each other.

    ``plan``: its own, where that was read before.
    """
    plan = read_plan(model) if plan is None else plan
    if plan is None:
        return
    compiled = compiled_note(model)
    if compiled is not None:
        yield f"note: {model.label}: {compiled}"
    elif plan.source != model.source:
        yield f"warning: {model.label} has changed since lhc annotated it; 'lhc partition' judges it again"
    found = contradictions(model, plan)
    yield from (f"warning: {model.label}: {problem}" for problem in found[:MOST_NAMED])
    if len(found) > MOST_NAMED:
        yield f"warning: and {len(found) - MOST_NAMED} more contradictions; lhc.plan is what counts"


def renaming_notes(renamed: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Which nodes were given a name: the first few, and how many more."""
    for old, new in renamed[:MOST_NAMED]:
        what = f"a second node called {old!r}" if old else "a node without a name"
        yield f"{what} is now called {new!r}"
    if len(renamed) > MOST_NAMED:
        yield f"and {len(renamed) - MOST_NAMED} more nodes were given a name"
