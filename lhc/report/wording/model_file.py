"""Wording of a model file: what `lhc analyze` finds in it, its annotations, its compiled chips."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lhc.onnx_io import compiled_note, contradictions, read_plan
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan
from lhc.plan.sensitivity_wording import ranking_basis, sensitivities_of
from lhc.plan.summary import layers_text, others_text, without_text
from lhc.report.wording.machine import all_digital, amounts
from lhc.report.wording.outcome import agreement_text, healing_text
from lhc.report.wording.placement import NOTHING, has_products
from lhc.support.number_formatting import counted, millionths, time_text
from lhc.support.tables import Table

if TYPE_CHECKING:
    from lhc.costs import Cost, SystemCost
    from lhc.pipeline.analysis_and_partition_results import Analysis
    from lhc.pipeline.inputs.placement_source import NetworkPlacement
    from lhc.pipeline.steps.verify.conformance_step import CheckedEmulation

MOST_NAMED = 5


def analysis_footer(result: "Analysis") -> str:
    """Lines under the table of ``lhc analyze``: totals, costs, and operators that are no products."""
    lines = [] if has_products(result.plan) else [NOTHING]
    if result.plan.layers:
        lines.append(result.totals)
    if result.example_note:
        lines.append(result.example_note)
    digital, analog = (result.cost(placement) for placement in (frozenset[str](), frozenset(result.plan.eligible)))
    if digital is not None and analog is not None and result.plan.layers:
        side = all_digital(result.plan)
        lines.append(
            f"estimated cost, {side}: {amounts(digital)}; all eligible layers analog: {amounts(analog)}"
            f"{without_text(result.plan)}"
        )
        if digital.energy_j < analog.energy_j:
            lines.append(_saving_layers(result))
        lines += _copies_counted(result)
        lines += _other_operators(digital)
    return "\n".join(lines)


def _copies_counted(result: "Analysis") -> Iterator[str]:
    """Copies of weights that analog costs count, and those that 'lhc partition' may make besides."""
    machine, able = result.plan.hardware, [row for row in result.rows if row.reason == "eligible"]
    room = {row.name: matrix.rows for row in able if (matrix := result.facts[row.name].matrix) is not None}
    fewer = [
        row.name for row in able if row.name in room and row.copies < machine.free_copies(row.name, room[row.name])
    ]
    costs, single = result.costs, {row.name for row in able if row.copies == 1}
    dear = [] if costs is None else [n for n in fewer if costs.analog[n].energy_j >= costs.digital[n].energy_j]
    dear = [name for name in dear if name in single]
    counts = "analog costs count copies of weights in free cells"
    if number := len(fewer) - len(dear):
        them = "it" if number == 1 else "them"
        counts += f", in {counted(number, 'layer')} fewer than fit, since all would make {them} dearer than digital"
    if dear:
        be = "is" if len(dear) == 1 else "are"
        counts += f"; {counted(len(dear), 'layer')} {be} dearer than digital even with a single copy"
    several = any(row.copies > 1 for row in able)
    if several:
        counts += "; how often reads are repeated is assumed, 'lhc partition' measures it"
    if fewer or several:
        yield counts
    if fewer:
        yield "'lhc partition --objective macs' makes all copies that fit, at a higher energy"


def _saving_layers(result: "Analysis") -> str:
    """Number of layers that save energy on tiles, where all of them together cost more."""
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


def inspection_footer(model: OnnxModel, plan: Plan) -> str:
    """The lines under the table of ``lhc inspect``."""
    outcome = plan.outcome
    healing = None if outcome is None else healing_text(outcome)
    lines = (
        f"hardware {plan.hardware.name}, annotated by lhc {plan.lhc_version}",
        f"sensitivities: {basis}" if (basis := ranking_basis(sensitivities_of(plan), plan.agreement)) else "",
        healing or "",
        stored_summary(model),
    )
    return "\n".join(line for line in lines if line)


def stored_summary(model: OnnxModel) -> str:
    """The line that sums up the plan that a model carries; empty where it has none."""
    return next((entry.value for entry in model.proto.metadata_props if entry.key == "lhc.summary"), "")


def doubts(model: OnnxModel, plan: Plan | None = None) -> Iterator[str]:
    """Warnings that a model has changed since it was annotated, or that its annotations contradict each other.

    ``plan``: its own, where that was read before.
    """
    plan = read_plan(model) if plan is None else plan
    if plan is None:
        return
    compiled = compiled_note(model)
    if compiled is not None:
        yield f"note: {model.label}: {compiled}"
    elif plan.source != model.source:
        changed = f"{model.label} has changed since lhc annotated it, or its weights have"
        yield f"warning: {changed}; place the network again with 'lhc partition'"
    found = contradictions(model, plan)
    yield from (f"warning: {model.label}: {problem}" for problem in found[:MOST_NAMED])
    if len(found) > MOST_NAMED:
        yield f"warning: and {counted(len(found) - MOST_NAMED, 'more contradiction')}; lhc.plan is what counts"


def placement_left_out(model: OnnxModel) -> Iterator[str]:
    """Note that a placement is not carried over to a network that is made of this one."""
    if stored_summary(model):
        yield f"note: the placement in {model.label} is of other weights, and is left out; 'lhc partition' makes one"


def renaming_notes(renamed: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Nodes that were given a name: the first few, and the number of the others."""
    for old, new in renamed[:MOST_NAMED]:
        what = f"a second node called {old!r}" if old else "a node without a name"
        yield f"{what} is now called {new!r}"
    if len(renamed) > MOST_NAMED:
        left = len(renamed) - MOST_NAMED
        yield f"and {counted(left, 'more node')} {'was' if left == 1 else 'were'} given a name"


_NOISE = {"on": "drawn in the model", "off": "left out", "input": "read from inputs NAME.deviates"}


def compiled_text(
    placed: "NetworkPlacement", t_s: float | None, noise: str, chips: range, seed: int, data: bool
) -> str:
    """Layers, time and noise; which chips; how they are calibrated. A line each.

    Args:
        t_s: time of inference, in seconds; None: as programmed.
        noise: where output noise comes from, as ``--noise`` has it.
        chips: their numbers.
        data: samples were given.
    """
    time = "as programmed" if t_s is None else f"{time_text(t_s)} after the first read"
    layers = f"{layers_text(placed.plan, '/')}{others_text(placed.plan)}"
    named = f"chip {chips[0]}" if len(chips) == 1 else f"chips {chips[0]} to {chips[-1]}"
    lines = [f"analog {layers}, {time}, output noise {_NOISE[noise]}", f"{named} of seed {seed}"]
    return "\n".join([*lines, _calibration(placed, data)] if placed.plan.analog else lines)


def emulation_text(found: "CheckedEmulation", searched: bool) -> str:
    """Agreement of the emulation with its definition, or why it was not checked; ``searched``: by this command."""
    told = agreement_text(found.conformance, "fast", None)
    if told is not None:
        return told if searched or not found.carried else f"when it was placed: {told}"
    return f"emulation not compared with aihwkit: {found.engine_reason or 'no samples are given (--data)'}"


def _calibration(placed: "NetworkPlacement", data: bool) -> str:
    """On how many samples chips are calibrated, or why they are not; ``data``: samples were given."""
    machine, outcome = placed.plan.hardware, placed.plan.outcome
    if placed.calibration is not None:
        found, wanted = placed.calibration.samples, machine.compensation.samples
        fewer = f"; the hardware asks for {wanted}" if found < wanted else ""
        first, last = placed.drawn_from[0], placed.drawn_from[-1]
        drawn = f", drawn from samples {first} to {last} of the data" if len(placed.drawn_from) > 1 else ""
        return f"calibrated on {counted(found, 'sample')}{drawn}{fewer}"
    if machine.corrects_outputs:
        return "not calibrated: too few samples" if data else "not calibrated: no samples are given (--data)"
    if outcome is not None and outcome.harmful_calibration is not None:
        return "not calibrated: the plan found that it does harm"
    return "not calibrated: the plan's machine corrects no outputs (compensation.outputs: none)"
