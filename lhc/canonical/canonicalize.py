"""The canonical form of a model: every operator that a rule knows, rewritten into products."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import onnx

from lhc.canonical.control_flow.inlining import write_out
from lhc.canonical.control_flow.unresolved import OPEN
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import RegisteredRule, rules_for
from lhc.errors import LhcError
from lhc.graph import Origin
from lhc.onnx_io import Shape, read_plan
from lhc.onnx_io.operators.operator_names import identity, kind_of
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import inferred_shapes
from lhc.onnx_model import FileForm, OnnxModel, Rewritten, opset_of, with_nodes, without_weights

if TYPE_CHECKING:
    from lhc.plan import Plan


def dequantises(plan: "Plan | None") -> bool:
    """Whether a plan was made with operators on integers as products."""
    if plan is None:
        return False
    kinds = {_identity(layer.kind) for layer in plan.layers if layer.origin}
    return any(found.on_request for found in rules_for(kinds).values())


def _identity(kind: str) -> tuple[str, str]:
    """Domain and operator of a kind as people read it."""
    domain, _, name = kind.rpartition("::")
    return domain, name


def canonical(model: OnnxModel, dequantize: bool = False, control: Mapping[str, str] | None = None) -> OnnxModel:
    """The model with its operators as products, where a rule knows how; as it is where none does.

    What a rule leaves alone stays as the file has it, and is counted there.

    Args:
        dequantize: rewrite operators on integers too; so it is where the file carries a plan made with that.
        control: what calls take where the file leaves it open, as in `Plan.control`; that of a plan that the file
            carries by default.
    """
    if model.file is not None:
        return model
    kinds = {identity(node) for node in model.proto.graph.node}
    asked = kinds.intersection(OPEN) or any(found.on_request for found in rules_for(kinds).values())
    carried = _carried_plan(model) if asked else None
    taken = carried.control if control is None and carried is not None else control or {}
    written = write_out(model, taken)
    proto = model.proto
    if written.rewritten:
        proto = with_nodes(proto, written.nodes, (*proto.graph.initializer, *written.tensors))
    flat = replace(model, proto=proto)
    sites = _sites(flat, dequantize or dequantises(carried), taken)
    if not sites and not written.rewritten:
        return model
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    origins: dict[str, Origin] = {}
    made: dict[str, frozenset[str]] = {}
    for node in proto.graph.node:
        site = sites.get(node.name)
        nodes += [node] if site is None else site.nodes
        made[node.name] = frozenset([node.name] if site is None else (one.name for one in site.nodes))
        source = written.origins.get(node.name)
        if site is not None:
            tensors += site.tensors
            kind, holder = kind_of(node), source.node if source else node.name
            for one in site.nodes:
                part, routed = site.parts.get(one.name, ""), site.routed.get(one.name)
                origins[one.name] = Origin(holder, kind, part, routed=routed)
        elif source is not None:
            origins[node.name] = source
    holders = (
        replace(one, made=frozenset(chain.from_iterable(made[name] for name in one.made))) for one in written.rewritten
    )
    of_sites = (Rewritten(site.node, made[name], site.control, site.rule_digest) for name, site in sites.items())
    rewritten = (*holders, *of_sites)
    file = FileForm(without_weights(model.proto), len(model.proto.graph.initializer), origins, rewritten)
    return replace(model, proto=with_nodes(proto, nodes, (*proto.graph.initializer, *tensors)), file=file)


def _sites(model: OnnxModel, dequantize: bool, control: Mapping[str, str]) -> dict[str, RewriteContext]:
    """Canonical form of each operator that a rule rewrites, by its name."""
    known = rules_for({identity(node) for node in model.proto.graph.node})
    rules = {kind: found for kind, found in known.items() if dequantize or not found.on_request}
    if not rules:
        return {}
    form = _Form(model, rules, control)
    return {node.name: site for node in model.proto.graph.node if (site := form.rewritten(node)) is not None}


def _carried_plan(model: OnnxModel) -> "Plan | None":
    """The plan that the file carries."""
    try:
        return read_plan(model)
    except LhcError:
        return None  # whoever needs the plan says what is wrong with it


class _Form:
    """Facts of a model that rules read: constants, shapes, producers."""

    def __init__(
        self, model: OnnxModel, rules: Mapping[tuple[str, str], RegisteredRule], control: Mapping[str, str]
    ) -> None:
        self._model = model
        self._rules = rules
        self._control = control
        self._constants = Constants(model.proto.graph)
        self._shapes: dict[str, Shape] | None = None
        graph = model.proto.graph
        self._makers = {tensor: node for node in graph.node for tensor in node.output}
        self._taken = {t.name for t in graph.initializer} | {v.name for v in graph.input}
        self._taken |= {tensor for node in graph.node for tensor in (*node.input, *node.output)}
        self._opset = opset_of(model.proto)

    def rewritten(self, node: onnx.NodeProto) -> RewriteContext | None:
        """Nodes that take the place of a node; None where it stays."""
        found = self._rules.get(identity(node))
        if found is None:
            return None
        site = RewriteContext(
            node,
            self._constants,
            self._opset,
            self._shape,
            self._taken,
            control=self._control.get(node.name, ""),
            made_by=self._makers.get,
        )
        return site if found.applied(site) else None

    def _shape(self, tensor: str) -> Shape | None:
        if self._shapes is None:
            self._shapes = inferred_shapes(self._model)
        return self._shapes.get(tensor)
