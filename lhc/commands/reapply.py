"""Annotations put back onto a model that another tool rewrote."""

from lhc.errors import ModelError
from lhc.model import ModelSource
from lhc.onnx_io import find_layers, read_graph, read_plan, reapplied_plan
from lhc.plan import Plan
from lhc.study.outcome import PartitionResult
from lhc.study.source import open_model

__all__ = ["reapply"]


def reapply(model: ModelSource, original: ModelSource | Plan | None = None) -> PartitionResult:
    """A rewritten model with its placement on the nodes again; notes say what was renamed, fused or is gone.

    Args:
        model: what an optimiser or converter made of an annotated model.
        original: the annotated model, or its plan, where the tool dropped the model's metadata too.

    Raises:
        ModelError: there is no plan, or none of its layers is in the model.
    """
    opened = open_model(model)
    if isinstance(original, Plan):
        plan = original
    else:
        holder = opened if original is None else open_model(original)
        found_plan = read_plan(holder.model)
        if found_plan is None:
            raise ModelError(
                f"{holder.model.label}: carries no plan; name the annotated original (--from ORIGINAL.lhc.onnx)"
            )
        plan = found_plan
    opened = opened.split_as(plan)
    found = find_layers(opened.model, plan)
    lost = [f.layer.name for f in found if f.layer.reason == "columns" and f.name != f.layer.name]
    if lost:
        raise ModelError(
            f"{opened.model.label}: {lost[0]!r} are digital columns of a layer that has another name or form here;"
            " partition this model"
        )
    notes = tuple(f.note for f in found if f.note is not None)
    graph = read_graph(opened.model, sizes=False)
    return PartitionResult(reapplied_plan(plan, found, opened.model), graph, opened.model, notes)
