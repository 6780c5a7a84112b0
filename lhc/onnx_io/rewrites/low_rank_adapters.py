"""Adapters: a product of small rank beside a product on tiles, computed digitally.

``y = W x`` becomes ``y = W x + B (A x)``, with A of ``(rank, inputs)`` and B of ``(outputs, rank)``. W stays as it is
programmed; what devices do to it is answered by A and B alone, so a chip in the field gets new adapters instead of a
new programming (AHWA-LoRA, arXiv 2411.17367, after LoRA, arXiv 2106.09685). In the file they are ordinary operators:
two of the product's own kind and an Add. The names of their weights mark them, since optimisers drop node metadata.
"""

import re
from collections.abc import Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_model import INITIALIZERS_APART, OnnxModel

_MARK = re.compile(r"^(?P<layer>.+)\.lhc_adapter_(?:down|up)$", re.DOTALL)

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Adapter:
    """Low-rank adapter beside a product.

    Attributes:
        down: name of A, and of the operator that multiplies by it.
        up: the same of B.
    """

    layer: str
    down: str
    up: str

    @classmethod
    def beside(cls, layer: str) -> "Adapter":
        """The adapter of a layer, whether there is one or not."""
        return cls(layer, f"{layer}.lhc_adapter_down", f"{layer}.lhc_adapter_up")


def adapted_layer(weight: str) -> str | None:
    """The layer that a weight is an adapter of, by the weight's name; None for other weights.

    >>> adapted_layer("q_proj.lhc_adapter_down"), adapted_layer("q_proj.weight")
    ('q_proj', None)
    """
    found = _MARK.match(weight)
    return None if found is None else found["layer"]


def adapters_of(model: OnnxModel) -> tuple[Adapter, ...]:
    """The adapters of a model, in the order of its weights."""
    layers = (adapted_layer(tensor.name) for tensor in model.proto.graph.initializer)
    return tuple(Adapter.beside(layer) for layer in dict.fromkeys(layers) if layer is not None)


def able_to_adapt(model: OnnxModel, graph: LayerGraph, names: Collection[str], rank: int) -> frozenset[str]:
    """Layers among these that can have an adapter of this rank."""
    constants = Constants(model.proto.graph)
    nodes = (node for node in model.proto.graph.node if node.name in names)
    return frozenset(node.name for node in nodes if _obstacle(*_product(node, graph, constants), rank) is None)


def with_adapters(model: OnnxModel, graph: LayerGraph, names: Collection[str], rank: int, seed: int = 0) -> OnnxModel:
    """The model with an adapter beside each of these products; it computes what it computed, since B is 0.

    A is normal with variance 1 / inputs, so that A x is as large as x.

    Args:
        names: Conv of one group, Gemm or MatMul layers with stored weights.

    Raises:
        ModelError: a layer cannot have an adapter; says which and why.
    """
    constants = Constants(model.proto.graph)
    proto = deepcopy(model.proto)
    nodes = list(proto.graph.node)
    random = np.random.default_rng(np.random.SeedSequence((seed, 5)))
    del proto.graph.node[:]
    for node in nodes:
        proto.graph.node.append(node)
        if node.name not in names:
            continue
        form, stored = _product(node, graph, constants)
        why = _obstacle(form, stored, rank)
        if why is not None:
            raise ModelError(
                f"{model.label}: layer {node.name!r} cannot have an adapter: {why}; leave it out (--adapt)"
            )
        adapter = Adapter.beside(node.name)
        *beside, total = _nodes(node, form, adapter)
        proto.graph.node[-1].output[0] = total.input[0]
        proto.graph.node.extend((*beside, total))
        proto.graph.initializer.extend(_weights(form, stored, rank, adapter, random))
        proto.ir_version = max(proto.ir_version, INITIALIZERS_APART)
    return replace(model, proto=proto, file=None)  # another network than the file's, in the form that it has here


def _product(node: onnx.NodeProto, graph: LayerGraph, constants: Constants) -> tuple[Product, Array]:
    """Product of an operator, and its weight as stored."""
    layer = graph[node.name]
    assert layer.weight is not None
    return Product.of_layer(node, layer), constants.value(layer.weight.name)


def _weights(
    form: Product, stored: Array, rank: int, adapter: Adapter, random: "np.random.Generator"
) -> Iterator[onnx.TensorProto]:
    """A and B, as the operator stores its weight."""
    outputs, inputs = form.matrix(stored).shape
    down = random.standard_normal((rank, inputs)) / np.sqrt(inputs)
    if form.window is not None:
        shapes = (rank, *stored.shape[1:]), (outputs, rank, *(1,) * (stored.ndim - 2))
    elif form.outputs_first:
        shapes = (rank, inputs), (outputs, rank)
    else:
        shapes = (inputs, rank), (rank, outputs)
    parts = zip((adapter.down, adapter.up), (down, np.zeros((outputs, rank))), shapes, strict=True)
    for name, matrix, shape in parts:
        values = form.stored(matrix, shape).astype(stored.dtype)
        yield numpy_helper.from_array(np.ascontiguousarray(values), name)


def _obstacle(form: Product, stored: Array, rank: int) -> str | None:
    """Why a product cannot have an adapter; None if it can."""
    if form.groups > 1:
        return f"it has {form.groups} groups"
    if stored.ndim == 1:
        return "its weight is a vector"
    if form.rank == 2 and form.operand == 0:
        return "its weight is the first operand of a Gemm"
    outputs, inputs = form.matrix(stored).shape
    if rank >= min(outputs, inputs):
        return f"rank {rank} is not below those of its {inputs} x {outputs} weights"
    return None


def _nodes(node: onnx.NodeProto, form: Product, adapter: Adapter) -> Iterator[onnx.NodeProto]:
    """A x, B (A x), and the sum with what the product wrote."""
    (written,) = node.output
    # Not as the weights are: an output may be called as its operator is.
    product, down, up = (f"{written}.lhc_adapter_{part}" for part in ("beside", "inner", "outer"))
    kept = {"Conv": {"strides", "dilations", "pads", "auto_pad", "kernel_shape"}, "Gemm": {"transA", "transB"}}
    first = helper.make_node(node.op_type, _operands(form, form.activation, adapter.down), [down], adapter.down)
    first.attribute.extend(a for a in node.attribute if a.name in kept.get(node.op_type, ()))
    yield first
    second = helper.make_node(node.op_type, _operands(form, down, adapter.up), [up], adapter.up)
    # A x is turned already.
    second.attribute.extend(a for a in node.attribute if a.name == "transB")
    yield second
    yield helper.make_node("Add", [product, up], [written], f"{adapter.layer}.lhc_adapter_sum")


def _operands(form: Product, activation: str, weight: str) -> list[str]:
    return [activation, weight] if form.operand == 1 else [weight, activation]
