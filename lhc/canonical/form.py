"""The canonical form of a model: every operator that a rule knows, rewritten into products."""

from dataclasses import replace
from importlib import import_module
from typing import cast

import onnx

from lhc.canonical.site import OperatorSite, Rule
from lhc.errors import ModelError
from lhc.graph import Origin
from lhc.model import FileForm, OnnxModel, without_weights
from lhc.onnx_io import Shape
from lhc.onnx_io.constants import Constants
from lhc.onnx_io.operators import identity, kind_of
from lhc.onnx_io.shapes import outline, tensor_shapes

__all__ = ["RULES", "canonical"]

RULES: dict[tuple[str, str], str] = {
    ("", "ConvTranspose"): "lhc.canonical.conv_transpose:rewrite",
    ("", "Einsum"): "lhc.canonical.einsum:rewrite",
    ("", "GRU"): "lhc.canonical.recurrent:rewrite",
    ("", "LSTM"): "lhc.canonical.recurrent:rewrite",
    ("", "RNN"): "lhc.canonical.recurrent:rewrite",
    ("com.microsoft", "Attention"): "lhc.canonical.packed_attention:rewrite",
    ("com.microsoft", "FusedConv"): "lhc.canonical.fused_conv:rewrite",
    ("com.microsoft", "FusedGemm"): "lhc.canonical.fused_gemm:rewrite",
    ("com.microsoft", "FusedMatMul"): "lhc.canonical.fused_matmul:rewrite",
    ("com.microsoft", "MatMulNBits"): "lhc.canonical.matmul_nbits:rewrite",
    ("com.microsoft", "TransposeMatMul"): "lhc.canonical.fused_matmul:rewrite",
}
"""By domain (empty for ONNX's own) and name: where the rule is."""


def canonical(model: OnnxModel) -> OnnxModel:
    """The model with its operators as products, where a rule knows how; as it is where none does.

    What a rule leaves alone stays as the file has it, and is counted there.
    """
    graph = model.proto.graph
    if model.file is not None or not any(identity(node) in RULES for node in graph.node):
        return model
    form = _Form(model)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    origins: dict[str, Origin] = {}
    for node in graph.node:
        site = form.rewritten(node)
        if site is None:
            nodes.append(node)
            continue
        nodes += site.nodes
        tensors += site.tensors
        kind = kind_of(node)
        origins |= {made.name: Origin(node.name, kind, site.parts.get(made.name, "")) for made in site.nodes}
    if not origins:
        return model
    light = without_weights(model.proto)
    proto = onnx.ModelProto()
    proto.CopyFrom(light)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(graph.initializer)
    proto.graph.initializer.extend(tensors)
    return replace(model, proto=proto, file=FileForm(light, len(graph.initializer), origins))


class _Form:
    """What rules are told of a model."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._constants = Constants(model.proto.graph)
        self._shapes: dict[str, Shape] | None = None
        graph = model.proto.graph
        self._taken = {t.name for t in graph.initializer} | {v.name for v in graph.input}
        self._taken |= {tensor for node in graph.node for tensor in (*node.input, *node.output)}
        self._opset = max((e.version for e in model.proto.opset_import if e.domain in ("", "ai.onnx")), default=1)

    def rewritten(self, node: onnx.NodeProto) -> OperatorSite | None:
        """What takes the place of a node; None where it stays."""
        where = RULES.get(identity(node))
        if where is None:
            return None
        module, name = where.split(":")
        rule = cast(Rule, getattr(import_module(module), name))
        site = OperatorSite(node, self._constants, self._opset, self._shape, self._taken)
        try:
            return site if rule(site) else None
        except (ModelError, ValueError, IndexError, ZeroDivisionError):
            return None  # a file that makes no sense there: whoever runs it says so

    def _shape(self, tensor: str) -> Shape | None:
        if self._shapes is None:
            self._shapes = self._inferred()
        return self._shapes.get(tensor)

    def _inferred(self) -> dict[str, Shape]:
        proto = outline(self._model.proto)
        try:
            return tensor_shapes(onnx.shape_inference.infer_shapes(proto, data_prop=True).graph)
        except (onnx.shape_inference.InferenceError, ValueError):
            return {}
