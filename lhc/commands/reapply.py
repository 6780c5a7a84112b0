"""Annotations put back onto a model that another tool rewrote."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lhc.errors import ModelError, UsageError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_io import (
    configured_placements,
    find_layers,
    lost_configurations,
    placements_in,
    read_graph,
    read_plan,
    reapplied_plan,
)
from lhc.onnx_io.annotate.reattach import Found
from lhc.onnx_io.read.shapes import example_shapes, infer_shapes, input_shapes
from lhc.onnx_model import ModelSource, OnnxModel
from lhc.passes import qualified_plan
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import LoadedModel, open_model
from lhc.plan import Plan
from lhc.plan.layer_plan import Decision, Placement
from lhc.runtime.onnxruntime.sessions import answers_alike
from lhc.support.number_formatting import counted

_OTHER_TENSORS = (
    "ranges of int8 codes are of tensors that have other names here; digital products compute as in the file until"
    " 'lhc partition --plan' finds new ranges"
)
_EARLIER_FIGURES = (
    "figures of the plan are those of the file that it was made for; 'lhc run' measures this one, whose weights are not"
    " compared (--from ORIGINAL compares them)"
)
_NOT_COMPARED = (
    "figures of the plan are those of the file that it was made for: the weights of its layers are the same, but both"
    " files do not answer random inputs, so the rest is not compared; 'lhc run' measures this one"
)
_NAMES_GONE = (
    "layers of the plan have other names, weights and outputs here; they are placed as the device configuration says,"
    " and what was measured of them is left out"
)


def reapply(
    model: ModelSource, original: ModelSource | Plan | None = None, hardware: Hardware | str | Path | None = None
) -> PartitionResult:
    """A rewritten model with its placement on the nodes again; notes say what was renamed, fused or is gone.

    A model whose device configuration has a device ``analog`` is placed as that says where it has not lhc's metadata,
    and where all that the plan knows layers by was renamed.

    Args:
        model: what an optimiser or converter made of an annotated model.
        original: the annotated model, or its plan, where the tool dropped the model's metadata too; or a file with
            onnx-mlir's ``nnpa_ops_config`` (.json) or onnxruntime's ``name_based_layer_assignment`` (.txt).
        hardware: that layers are placed on where not a plan says it; lionheart by default.

    Raises:
        ModelError: there is no plan, or none of its layers is in the model.
        UsageError: hardware is named, and a plan has its own.
        ConfigError: a file holds no such settings.
    """
    opened = open_model(model)
    machine = Hardware.load("lionheart" if hardware is None else hardware)
    settings = placements_in(Path(original), opened.model) if isinstance(original, str | Path) else None
    if settings is not None:
        return _placed_as(opened, settings, machine)
    holder = None if original is None or isinstance(original, Plan) else open_model(original)
    carrier = (holder or opened).model
    plan = original if isinstance(original, Plan) else read_plan(carrier)
    if plan is None:
        configured = configured_placements(carrier)
        if not configured:
            raise ModelError(
                f"{carrier.label}: carries no plan; name the annotated original (--from ORIGINAL.lhc.onnx)"
            )
        return _placed_as(opened, configured, machine)
    if hardware is not None:
        raise UsageError(
            f"--hardware: the plan is for {plan.hardware.name}; leave it out ('lhc run --hardware' tries a placement on"
            " another machine)"
        )
    opened = opened.with_control(plan.control).split_as(plan)
    found = find_layers(opened.model, plan)
    if _renamed(opened, found):
        kept = _placed_as(opened, configured_placements(opened.model), plan.hardware)
        return replace(kept, notes=(_NAMES_GONE, *kept.notes))
    lost = [f.layer.name for f in found if f.layer.reason == "columns" and f.name != f.layer.name]
    if lost:
        raise ModelError(
            f"{opened.model.label}: {lost[0]!r} are digital columns of a layer that has another name or form here;"
            " partition this model"
        )
    graph = read_graph(opened.model, sizes=False)
    measured = None if holder is None else holder.with_control(plan.control).split_as(plan)
    placed, notes = _as_far_as_alike(plan, found, opened, graph, measured)
    notes = (*(f.note for f in found if f.note is not None), *notes)
    if placed.digital is not None and not placed.digital.ranges.keys() <= graph.tensors:
        placed = placed.with_arithmetic(None)
        notes += (_OTHER_TENSORS,)
    if lost_configurations(opened.model, placed):
        notes += ("device configurations are gone from its nodes; --device-configurations writes them again",)
    return PartitionResult(placed, graph, opened.model, notes)


def _as_far_as_alike(
    plan: Plan, found: Sequence[Found], opened: LoadedModel, graph: LayerGraph, measured: LoadedModel | None
) -> tuple[Plan, tuple[str, ...]]:
    """The plan for a rewritten model, with figures where they are of the same network; what is said of them.

    Args:
        graph: of the rewritten model.
        measured: the network that the figures are of, where its file is there.
    """
    placed = reapplied_plan(plan, found, opened.model)
    kept = placed.model_copy(update={"source": plan.source})  # every command says of it that the file has changed
    before = None if measured is None else read_graph(measured.model, sizes=False)
    unlike = _unlike_measured(found, before, graph)
    if unlike is None and plan != plan.unmeasured and plan.source != opened.model.source:
        if measured is None:
            return (kept, (_EARLIER_FIGURES,)) if plan.outcome is not None else (placed, ())
        alike = answers_alike(measured.model, opened.model, _example_sizes(measured.model))
        if alike is None:
            return kept, (_NOT_COMPARED,)
        unlike = None if alike else f"answers to random inputs differ from those of {measured.model.label}"
    if unlike is None:
        return placed, ()
    return placed.unmeasured, (f"{unlike}; what was measured is left out, and 'lhc run' measures it",)


def _unlike_measured(found: Sequence[Found], before: LayerGraph | None, now: LayerGraph) -> str | None:
    """What makes a network another one than the plan's figures are of; None where nothing is known to.

    Args:
        before: the layers that were measured, where their file is there.
    """
    if any(one.name is None for one in found):
        return "layers of the plan are gone"
    if before is None:
        return None
    others = [one.layer.name for one in found if _tile_set(before, one.layer.name) != _tile_set(now, one.name or "")]
    return f"weights of {counted(len(others), 'layer')} differ, e.g. of {others[0]!r}" if others else None


def _example_sizes(model: OnnxModel) -> dict[str, tuple[int, ...]]:
    """Full shapes of inputs, of one sample; without inputs of which no shape is known."""
    known = infer_shapes(model, example_shapes(model, {}))
    return {
        name: tuple(dim if isinstance(dim, int) else 1 for dim in known[name])
        for name in input_shapes(model)
        if name in known
    }


def _tile_set(graph: LayerGraph, name: str) -> str | None:
    """Digest of the weights that a layer has on tiles; None where it has none that are constant."""
    weight = graph[name].weight if name in graph.networkx else None
    return None if weight is None else weight.tile_set


def _renamed(opened: LoadedModel, found: Sequence[Found]) -> bool:
    """Whether layers are lost, and operators that a device configuration places are none of those found."""
    if all(one.name is not None for one in found):
        return False
    origins = {} if opened.model.file is None else opened.model.file.origins
    known = {one.name if (origin := origins.get(one.name)) is None else origin.node for one in found if one.name}
    return not configured_placements(opened.model).keys() <= known


def _placed_as(opened: LoadedModel, placed: Mapping[str, Placement], hardware: Hardware) -> PartitionResult:
    """A placement that names operators of the file, as a plan; notes say what of it cannot be."""
    if not placed:
        raise ModelError(f"{opened.model.label}: the settings name none of its operators that multiply")
    graph = opened.example_graph()
    plan = qualified_plan(graph, hardware, opened.model.source)
    detail = "as another tool's settings have it"
    decisions: dict[str, Decision] = {}
    notes = []
    for layer in plan.layers:
        wanted = placed.get(layer.origin or layer.name, "digital")
        if layer.reason == "eligible":
            decisions[layer.name] = (wanted, "forced" if wanted == "analog" else "excluded", detail)
        elif wanted == "analog":
            notes.append(f"{layer.name!r} stays digital: {layer.detail}")
    return PartitionResult(plan.decide(decisions), graph, opened.model, tuple(notes))
