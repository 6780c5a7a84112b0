"""Find the layers of a plan again in a model that another tool rewrote, most of which drop what lhc wrote on nodes.

A layer is the node that reads its weight, else the one of its name (onnxruntime's fusions append ``/…``), else the
one that writes its output. Where several nodes read one weight, name and output decide among these. Facts per tool are
in docs/file-format.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import onnx

from lhc.errors import ModelError
from lhc.graph import CANDIDATE_OPS
from lhc.onnx_io.annotate.annotations import named_nodes
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_io.operators.operator_table import may_multiply
from lhc.onnx_io.read.subgraphs import inner_nodes
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
    """Every layer of a plan in a rewritten model; no node stands for two layers.

    What is surest goes first, for all layers, so that no layer is given the node that is surely another one's.
    """
    left = _products_elsewhere(model) | dict(named_nodes(model.proto.graph))
    unnamed = frozenset(name for before, name in model.renamed if not before)
    known: dict[str, tuple[str, onnx.NodeProto, By]] = {}
    for by, match in _MATCHES:
        for layer in plan.layers:
            if layer.name not in known and (name := match(layer, left, unnamed)) is not None:
                known[layer.name] = name, left.pop(name), by
    return tuple(_found(layer, known.get(layer.name), model.proto.graph) for layer in plan.layers)


def _products_elsewhere(model: OnnxModel) -> dict[str, onnx.NodeProto]:
    """Products in bodies of the file that its calls do not take, by name."""
    origins = {} if model.file is None else model.file.origins
    taken = {origin.node for origin in origins.values()}
    return {inner.name: inner.node for inner in inner_nodes(model.in_file.graph) if inner.name not in taken}


def _found(layer: "LayerPlan", known: tuple[str, onnx.NodeProto, By] | None, graph: onnx.GraphProto) -> Found:
    if known is None:
        return Found(layer)
    name, node, by = known
    weight = layer.weight if layer.weight in node.input else _constant(node, graph)
    return Found(layer, name, kind_of(node), by, weight, node.output[0])


Nodes = Mapping[str, onnx.NodeProto]
"""Name -> node, of those that no layer has been found to be."""


def _only_reader(layer: "LayerPlan", nodes: Nodes, _: frozenset[str]) -> str | None:
    """The node that alone reads the weight, and multiplies."""
    readers = _readers(layer, nodes)
    return readers[0] if len(readers) == 1 and may_multiply(nodes[readers[0]]) else None


def _of_its_name(layer: "LayerPlan", nodes: Nodes, unnamed: frozenset[str]) -> str | None:
    """The node of that name; what lhc calls nodes without names follows from their place among the others."""
    return layer.name if layer.name in _possible(layer, nodes) and layer.name not in unnamed else None


def _of_longer_name(layer: "LayerPlan", nodes: Nodes, unnamed: frozenset[str]) -> str | None:
    """The node whose name a fusion made of that name."""
    named = (name for name in _possible(layer, nodes) if name not in unnamed)
    return next((name for name in named if name.startswith(f"{layer.name}/")), None)


def _of_its_output(layer: "LayerPlan", nodes: Nodes, _: frozenset[str]) -> str | None:
    return next((name for name in _possible(layer, nodes) if layer.output in nodes[name].output), None)


def _other_reader(layer: "LayerPlan", nodes: Nodes, _: frozenset[str]) -> str | None:
    """The node that alone reads the weight, though it is no product that lhc knows."""
    readers = _readers(layer, nodes)
    return readers[0] if len(readers) == 1 else None


_MATCHES: Sequence[tuple[By, Callable[["LayerPlan", Nodes, frozenset[str]], str | None]]] = (
    ("weight", _only_reader),
    ("name", _of_its_name),
    ("name", _of_longer_name),
    ("output", _of_its_output),
    ("weight", _other_reader),
)


def _readers(layer: "LayerPlan", nodes: Nodes) -> list[str]:
    return [name for name, node in nodes.items() if layer.weight is not None and layer.weight in node.input]


def _possible(layer: "LayerPlan", nodes: Nodes) -> list[str]:
    """Nodes among which name and output decide: products that read the weight, else all products."""
    reading = [name for name in _readers(layer, nodes) if may_multiply(nodes[name])]
    return reading or [name for name, node in nodes.items() if may_multiply(node)]


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
