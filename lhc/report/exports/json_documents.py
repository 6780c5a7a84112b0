"""JSON documents of the commands. Their fields, and the order of these, are a contract; see docs/file-format.md."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from lhc.costs import Cost, LayerCost, SystemCost, SystemFigures, by_operator
from lhc.costs.plan_costs import digital_cost, plan_cost, plan_figures
from lhc.costs.units import added_up
from lhc.errors import LhcError
from lhc.onnx_io import compiled_note
from lhc.pipeline.analysis_and_partition_results import Analysis, PartitionResult
from lhc.plan import Agreement, Conformance, LayerPlan, Plan, Sensitivity
from lhc.plan.recurrent_steps import first_steps, folded_rows
from lhc.report.store import Answer
from lhc.report.tables.command_results import Evaluations
from lhc.report.tables.comparison import overlapping_pairs
from lhc.report.wording.model_file import stored_summary
from lhc.report.wording.outcome import within_budget
from lhc.results import Front, SensitivityTable
from lhc.support.text_escaping import json_text

if TYPE_CHECKING:
    from lhc.pipeline.command_duration import Effort
    from lhc.pipeline.inputs.model_source import LoadedModel
    from lhc.pipeline.rewrites.choose_channel_scales import SmoothedModel
    from lhc.pipeline.rewrites.choose_column_copies import WidenedModel

Document = dict[str, object]


def fields_of(result: object) -> Document:
    """All fields of a result."""
    document: Document = TypeAdapter(type(result)).dump_python(result, mode="json")
    return document


def front_json(front: Front) -> bytes:
    """File of ``lhc pareto --out``."""
    return json_text(TypeAdapter(Front).dump_json(front, indent=1).decode()).encode()


def _named(source: object, names: str) -> Document:
    """These fields, in this order."""
    return {name: getattr(source, name) for name in names.split()}


def analysis_document(result: Analysis) -> Document:
    """The document of ``lhc analyze``."""
    plan, rows, macs = result.plan, result.rows, result.plan.macs or 1
    known = "module block reason detail macs activation_macs counted parameters tiles steps"
    layers = [
        {
            "eligible": layer.reason == "eligible",
            **_operator(layer),
            **_named(layer, known),
            "mac_fraction": layer.macs / macs,
        }
        for layer in rows
    ]
    blocks = [
        {
            "block": block,
            "layers": [layer.name for layer in inside],
            "eligible": sum(layer.reason == "eligible" for layer in inside),
            "macs": sum(layer.macs for layer in inside),
            "activation_macs": sum(layer.activation_macs for layer in inside),
            "tiles": result.tiles_among(inside),
        }
        for block, inside in result.blocks().items()
    ]
    totals = {
        **_named(plan, "macs activation_macs"),
        "eligible_mac_fraction": result.eligible_mac_fraction,
        "uncounted": plan.uncounted,
        "candidates": len(rows),
        "eligible": sum(row.reason == "eligible" for row in rows),
        "tiles": result.tiles,
    }
    return {
        "hardware": plan.hardware.name,
        "layers": layers,
        "blocks": blocks,
        "example_shapes": result.example,
        "totals": totals,
        "costs": _layer_costs(result),
    }


def sensitivity_document(table: SensitivityTable) -> Document:
    """The document of ``lhc sensitivity``."""
    copied = {name: _figure(s, exclude={"metric"}) for name, s in table.with_copies.items()}
    layers = [
        {
            "name": name,
            **_figure(s, exclude={"metric"}),
            "with_copies": copied.get(name),
            "title": table.titles.get(name, name),
        }
        for name, s in table.layers.items()
    ]
    known = _named(table, "metric samples documents draws seed t_s confidence calibrated engine engine_reason")
    return known | {"agreement": _agreement(table.agreement), "layers": layers}


def _figure(found: Sensitivity, exclude: set[str] | None = None) -> Document:
    """A sensitivity, and whether it is predicted or measured."""
    return found.model_dump(exclude=exclude) | {"basis": found.basis}


def _agreement(found: Agreement | None) -> Document | None:
    """Agreement of predicted sensitivities with those measured to check them."""
    if found is None:
        return None
    layers = [{"name": name, "predicted": p, "measured": m} for name, (p, m) in found.layers.items()]
    return _named(found, "correlation ratio good") | {"layers": layers}


def _operator(layer: LayerPlan) -> Document:
    return {"name": layer.name, "op_type": layer.kind}


def _layer(layer: LayerPlan) -> Document:
    return {
        **_operator(layer),
        **_named(layer, "placement reason detail"),
        "sensitivity": None if layer.sensitivity is None else _figure(layer.sensitivity),
        "with_copies": None if layer.with_copies is None else _figure(layer.with_copies),
        **_named(layer, "macs activation_macs counted parameters"),
        "tiles": layer.tiles if layer.placement == "analog" else 0,
        "copies": layer.copies if layer.placement == "analog" else 0,
        "title": layer.title,
        "steps": layer.steps,
        "precision": layer.precision,
    }


def _plan(plan: Plan) -> Document:
    document: Document = {"hardware": plan.hardware.name, "layers": [_layer(row) for row in folded_rows(plan.layers)]}
    document |= _named(plan, "analog_mac_fraction macs activation_macs uncounted")
    document |= {"agreement": _agreement(plan.agreement), "conformance": conformance_document(plan.conformance)}
    document |= {"digital": _digital(plan)}
    outcome = plan.outcome
    if outcome is None:
        return document
    return document | {
        "baseline": {"metric": outcome.metric, "value": outcome.baseline},
        "result": _named(outcome, "value drop interval chip_interval sample_interval"),
        **_named(outcome, "tests error one_chip"),
        **_named(outcome, "within_budget held_out chips_within max_drop drop_type strategy confidence generalized"),
        **_named(outcome, "yield_share yield_shown"),
        **_named(outcome, "objective limits limits_kept groups evaluations"),
        "tested": None if outcome.tested is None else [one.model_dump(mode="json") for one in outcome.tested],
        "estimate": None if outcome.estimate is None else outcome.estimate.model_dump(),
        "healing": None if outcome.healing is None else outcome.healing.model_dump(),
        "harmful_calibration": outcome.harmful_calibration and outcome.harmful_calibration.model_dump(),
        **_named(outcome, "samples documents draws seed t_s engine engine_reason"),
        "retrained": None if outcome.retrained is None else outcome.retrained.model_dump(mode="json"),
        "training_note": outcome.training_note,
    }


def _digital(plan: Plan) -> Document | None:
    """Number formats of the digital products, and the drop that they bring without tiles."""
    digital, outcome = plan.digital, plan.outcome
    if digital is None:
        return None
    drop = None if outcome is None else outcome.digital_drop
    return {**_named(digital, "precision high_precision raised samples as_file"), "drop": drop}


def conformance_document(found: Conformance | None) -> Document | None:
    """Agreement of the engine that computed with the one that defines it, layer by layer."""
    if found is None:
        return None
    layers = [layer.model_dump() | {"conforms": layer.conforms} for layer in found.layers]
    return {**_named(found, "outputs apart further greatest"), "conforms": not found.wrong, "layers": layers}


def placement_document(result: PartitionResult) -> Document:
    """The document of ``lhc reapply``, and what those of ``lhc retrain`` and ``lhc partition`` begin with."""
    document = {"tiles": result.plan.tiles(result.facts), "summary": result.summary}
    return _plan(result.plan) | document


def retraining_document(result: PartitionResult) -> Document:
    """The document of ``lhc retrain``."""
    return placement_document(result) | _explanation(result)


def partition_document(result: PartitionResult) -> Document:
    """The document of ``lhc partition``."""
    cost = _system_cost(result.plan, result.cost, result.digital_cost, result.figures)
    return placement_document(result) | {"cost": cost} | _explanation(result)


def _explanation(result: PartitionResult) -> Document:
    return {"infeasibility": None if result.infeasibility is None else fields_of(result.infeasibility)}


def comparison_document(results: Sequence[PartitionResult]) -> Document:
    """The document of ``lhc compare``."""
    machines = [
        {"hardware": one.plan.hardware.name}
        | partition_document(one)
        | {"ages": [fields_of(found) for found in one.ages]}
        for one in results
    ]
    return {"machines": machines, "not_told_apart": [list(pair) for pair in overlapping_pairs(results)]}


def inspection_document(opened: "LoadedModel", plan: Plan) -> Document:
    """The document of ``lhc inspect``, for a model that carries a plan."""
    return {
        "annotated": True,
        "stale": compiled_note(opened.model) is None and plan.source != opened.model.source,
        "summary": stored_summary(opened.model),
        **_plan(plan),
        "cost": _stored_cost(opened, plan),
    }


def evaluations_document(results: Evaluations) -> Document:
    """The document of ``lhc run``."""
    first = results[0]
    return {
        "digital": {"metric": first.metric, "value": first.baseline},
        **_named(first, "samples documents draws seed calibrated against engine engine_reason"),
        "conformance": conformance_document(results.conformance),
        "times": [
            _named(found, "t_s mean std interval drop drop_interval sample_interval")
            | {"within_budget": within_budget(found, results.outcome)}
            for found in results
        ],
    }


def smoothing_document(result: "SmoothedModel") -> Document:
    """The document of ``lhc smooth``."""
    inputs = [asdict(one) for one in result.inputs]
    return {"hardware": result.hardware.name, "inputs": inputs, **_named(result, "samples difference")}


def widening_document(result: "WidenedModel") -> Document:
    """The document of ``lhc widen``."""
    return {"hardware": result.hardware.name, "layers": [asdict(one) for one in result.layers]}


def answer_document(max_drop: float, found: Answer, command: str | None) -> Document:
    """The document of ``lhc pareto --from``."""
    document: Document = {"max_drop": max_drop, "hardware": found.stored.hardware, "command": command}
    for name, point in (("verified", found.verified), ("estimated", found.estimated)):
        document[name] = None if point is None else fields_of(point)
    return document


def effort_document(found: "Effort") -> Document:
    """The document of ``--dry-run``."""
    steps = [_named(step, "what units kept seconds") for step in found.steps]
    return {"dry_run": True, **_named(found, "layers samples draws units kept processes seconds"), "steps": steps}


def _cost(cost: Cost | LayerCost) -> Document:
    return _named(cost, "latency_s energy_j")


def _parts(costs: Mapping[str, LayerCost]) -> Document:
    return {n: _cost(c) | {"parts": {part: _cost(v) for part, v in c.parts.items()}} for n, c in costs.items()}


def _operators(others: Mapping[str, LayerCost]) -> list[Document]:
    """Operators that are no products, by type."""
    return [{"operator": one.operator, "count": one.count, **_cost(one.cost)} for one in by_operator(others)]


def _layer_costs(result: Analysis) -> Document | None:
    """Costs of every layer, digital and analog; None where the hardware describes no costs."""
    if result.costs is None:
        return None
    first = first_steps(result.plan.layers)
    digital, analog = (added_up(costs, first) for costs in (result.costs.digital, result.costs.analog))
    others = result.costs.others
    return {"digital": _parts(digital), "analog": _parts(analog), "operators": _operators(others)}


def _system_cost(
    plan: Plan, cost: SystemCost | None, digital: SystemCost | None, figures: SystemFigures | None
) -> Document | None:
    """Cost of a placement, beside all digital; None where the hardware describes no costs."""
    if cost is None or digital is None or figures is None:
        return None
    return {
        **_cost(cost.total),
        "all_digital": _cost(digital.total),
        "system": fields_of(figures),
        "layers": _parts(added_up(cost.layers, first_steps(plan.layers))),
        "others": _parts(cost.others),
        "operators": _operators(cost.others),
        "crossings": {name: _cost(value) for name, value in cost.crossings.items()},
        "assumptions": [str(one) for one in cost.assumptions],
    }


def _stored_cost(opened: "LoadedModel", plan: Plan) -> Document | None:
    """Document of the placement that a model carries.

    None where the hardware describes no costs, the file does not tell its sizes, or it has changed.
    """
    try:
        graph = opened.graph_as_placed(plan)
        placed = plan_cost(plan, graph)
        figures = None if placed is None else plan_figures(plan, graph, placed)
        return _system_cost(plan, placed, digital_cost(plan, graph), figures)
    except LhcError:
        return None
