"""Find the layers of a plan again in a model that another tool rewrote, most of which drop what lhc wrote on nodes.

A layer is the node that reads its weight, else the one of its name (onnxruntime's fusions append ``/…``), else the
one that writes its output. Where several nodes read one weight, name and output decide among these. Facts per tool are
in docs/file-format.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import onnx

from lhc.errors import ModelError
from lhc.graph import CANDIDATE_OPS
from lhc.onnx_io.annotate.annotations import named_nodes
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_io.operators.operator_table import may_multiply
from lhc.onnx_model import OnnxModel

if TYPE_CHECKING:
    from lhc.plan import LayerPlan, Plan

By = Literal["weight", "name", "output"]


@dataclass(frozen=True)
class Found:
    """A layer found again in a rewritten model, or its loss.

    Attributes:
        name: of the node that it is now; None where it is gone.
        op_type: of that node, with its domain unless it is ONNX's own.
        by: what it was found by.
        weight, output: tensors of that node.
    """

    layer: "LayerPlan"
    name: str | None = None
    op_type: str = ""
    by: By | None = None
    weight: str | None = None
    output: str = ""

    @property
    def note(self) -> str | None:
        """Sentence on what changed; None where nothing did."""
        if self.name is None:
            return f"{self.layer.placement} layer {self.layer.name!r} is gone"
        if self.op_type != self.layer.op_type and self.op_type not in CANDIDATE_OPS:
            kind = self.op_type.replace("::", " ")
            return (
                f"{self.layer.placement} layer {self.layer.name!r} was fused into {kind} {self.name!r}, which"
                " lhc cannot emulate"
            )
        if self.op_type != self.layer.op_type:
            return f"{self.layer.op_type} {self.layer.name!r} is now {self.op_type} {self.name!r} (found by {self.by})"
        if self.name != self.layer.name:
            return f"layer {self.layer.name!r} is now called {self.name!r} (found by {self.by})"
        return None


def find_layers(model: OnnxModel, plan: "Plan") -> tuple[Found, ...]:
    """Every layer of a plan in a rewritten model; no node stands for two layers."""
    left = dict(named_nodes(model.proto.graph))
    unnamed = frozenset(name for before, name in model.renamed if not before)
    found = []
    for layer in plan.layers:
        name, by = _match(layer, left, unnamed)
        if name is None:
            found.append(Found(layer))
            continue
        node = left.pop(name)
        weight = layer.weight if layer.weight in node.input else None
        found.append(
            Found(layer, name, kind_of(node), by, weight or _constant(node, model.proto.graph), node.output[0])
        )
    return tuple(found)


def _match(
    layer: "LayerPlan", nodes: Mapping[str, onnx.NodeProto], unnamed: frozenset[str]
) -> tuple[str | None, By | None]:
    """Name of the node that is this layer, and by what.

    Args:
        unnamed: nodes without a name in their file. What lhc calls them follows from their place among the others.
    """
    readers = [name for name, node in nodes.items() if layer.weight is not None and layer.weight in node.input]
    multiplying = [name for name in readers if may_multiply(nodes[name])]
    if len(readers) == len(multiplying) == 1:
        return readers[0], "weight"
    among = multiplying or [name for name, node in nodes.items() if may_multiply(node)]
    named = [name for name in among if name not in unnamed]
    by_name = next((name for name in named if name == layer.name), None) or next(
        (name for name in named if name.startswith(f"{layer.name}/")), None
    )
    if by_name is not None:
        return by_name, "name"
    by_output = next((name for name in among if layer.output in nodes[name].output), None)
    if by_output is not None:
        return by_output, "output"
    return (readers[0], "weight") if len(readers) == 1 else (None, None)


def _constant(node: onnx.NodeProto, graph: onnx.GraphProto) -> str | None:
    """The stored operand of a product whose weight got another name."""
    stored = {tensor.name for tensor in graph.initializer}
    return next((name for name in node.input[:2] if name in stored), None)


def reapplied_plan(plan: "Plan", found: Sequence[Found], model: OnnxModel) -> "Plan":
    """The plan for the rewritten model: names, weights and outputs as they are now, without the layers that are gone.

    The machine's overrides and the number formats of digital products follow the names.

    Raises:
        ModelError: none is left.
    """
    origins = {} if model.file is None else model.file.origins
    layers = tuple(
        f.layer.model_copy(
            update={
                "name": f.name,
                "op_type": f.op_type,
                "weight": f.weight or f.layer.weight,
                "output": f.output,
                "origin": None if (origin := origins.get(f.name)) is None else origin.node,
                "operator": None if origin is None else origin.kind,
            }
        )
        for f in found
        if f.name is not None
    )
    if plan.layers and not layers:
        raise ModelError(f"{model.label}: none of the {len(plan.layers)} layers of the plan is in this model")
    names = {f.layer.name: f.name for f in found if f.name is not None}
    gone = {f.layer.name for f in found if f.name is None}
    digital = None if plan.digital is None else plan.digital.with_names(names, gone)
    machine = plan.hardware.with_names(names, gone)
    return plan.model_copy(update={"layers": layers, "source": model.source, "hardware": machine, "digital": digital})
