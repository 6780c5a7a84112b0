"""Inputs of products whose channels can be scaled while the network computes the same.

With W a matrix, x its input and s one factor per channel, ``W x = (W diag(s)) (x / s)``. The weights of all products
that read x are multiplied; the division goes into what x comes from, where that is stored too::

    Mul, Add, LayerNormalization, RMSNormalization, SimplifiedLayerNormalization    its stored gain, its stored offset
    Mul of two tensors                                                              the product that gives one of them

The second is the gate of a feed-forward network: ``down(silu(gate(x)) · up(x))`` divides the outputs of ``up``, whose
columns a tile scales one by one anyway. Factors that are powers of two change no digit of any product or sum, so the
network's answers stay the same bit for bit, as long as no number leaves the range of its type.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import onnx

from lhc.graph import Layer, LayerGraph
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_io.read.constants import Array, Constants, store_constant
from lhc.onnx_io.write import Store
from lhc.onnx_model import INITIALIZERS_APART, OnnxModel, drop_unread, tensors_read

_NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
"""Operators with a gain as their second input, and perhaps an offset as their third."""


@dataclass(frozen=True)
class ScalableInput:
    """A tensor whose channels, on its last axis, can be scaled.

    Attributes:
        products: names of all that read it.
        folds: what is divided: ``(name of the operator, number of its stored input)``.
    """

    tensor: str
    channels: int
    products: tuple[str, ...]
    folds: tuple[tuple[str, int], ...]


class _Reading:
    """A graph as it is looked at from its tensors."""

    def __init__(self, model: OnnxModel, graph: LayerGraph) -> None:
        proto = model.as_file().graph
        self.nodes = {node.name: node for node in proto.node}
        self.constants = Constants(proto)
        self._producers = {tensor: node for node in proto.node for tensor in node.output}
        self.readers = Counter(tensors_read(proto))
        shared = {name for group in graph.tied([c.name for c in graph.candidates]) if len(group) > 1 for name in group}
        self.products = {
            layer.name: layer
            for layer in graph.candidates
            if layer.weight is not None and layer.origin is None and layer.name not in shared and layer.refusal is None
        }

    def product(self, node: onnx.NodeProto) -> tuple[Layer, Product] | None:
        """The product of matrices that an operator is, with all its vectors on last axes; None where it is none."""
        layer = self.products.get(node.name)
        if layer is None or layer.weight is None or len(layer.weight.shape) != 2:
            return None
        product = Product.of_layer(node, layer)
        plain = product.window is None and not product.reads_columns and not product.writes_columns
        return (layer, product) if plain else None

    def folds(self, tensor: str, channels: int, readers: int) -> tuple[tuple[str, int], ...]:
        """Operators that can take in the division of a tensor; none where it cannot go anywhere.

        Args:
            channels: on its last axis.
            readers: how often it is read by what expects the division.
        """
        node = self._producers.get(tensor)
        if node is None or self.readers[tensor] != readers or list(node.output) != [tensor]:
            return ()
        found = self.product(node)
        if found is not None:
            layer, product = found
            if layer.matrix is None or layer.matrix.cols != channels:  # one number for all channels
                return ()
            offset = () if product.bias is None else self._stored(node, 2, channels)
            return () if offset is None else ((node.name, product.operand), *offset)
        domain, kind = identity(node)
        if kind in _NORMS:
            gain, offset = self._stored(node, 1, channels), self._stored(node, 2, channels)
            return () if not gain or offset is None else (*gain, *offset)
        if domain or kind not in ("Add", "Mul"):
            return ()
        stored = [i for i in (0, 1) if node.input[i] in self.constants]
        if len(stored) == 1:
            own = self._stored(node, stored[0], channels)
            behind = self.folds(node.input[1 - stored[0]], channels, 1) if kind == "Add" else ()
            return () if not own or (kind == "Add" and not behind) else (*own, *behind)
        ways = (self.folds(name, channels, 1) for name in node.input if kind == "Mul")
        return next((way for way in ways if way), ())

    def _stored(self, node: onnx.NodeProto, number: int, channels: int) -> tuple[tuple[str, int], ...] | None:
        """A stored input with one number per channel; nothing where there is none, None where it fits no division."""
        name = node.input[number] if number < len(node.input) else ""
        if not name:
            return ()
        shape = self.constants.shape(name) if name in self.constants else ()
        fits = bool(shape) and shape[-1] == channels and np.prod(shape) == channels
        return ((node.name, number),) if fits else None


def scalable_inputs(model: OnnxModel, graph: LayerGraph) -> tuple[ScalableInput, ...]:
    """The inputs of a network's products whose channels can be scaled, in the order of the products.

    Products that share their tiles with others are left out, as those that are written otherwise in the file.
    """
    reading = _Reading(model, graph)
    readers: dict[str, list[tuple[str, int]]] = {}
    for name in reading.products:
        node = reading.nodes.get(name)
        found = None if node is None else reading.product(node)
        if found is not None:
            layer, product = found
            assert layer.matrix is not None
            readers.setdefault(product.activation, []).append((name, layer.matrix.rows))
    inputs = []
    for tensor, products in readers.items():
        channels = products[0][1]
        folds = reading.folds(tensor, channels, len(products))
        if folds and channels > 1:
            inputs.append(ScalableInput(tensor, channels, tuple(name for name, _ in products), folds))
    return tuple(inputs)


def scaled_channels(
    model: OnnxModel, graph: LayerGraph, inputs: Sequence[ScalableInput], factors: Mapping[str, Array], store: Store
) -> onnx.ModelProto:
    """The network with scaled channels. What nothing reads any more is not in it.

    Args:
        factors: of some of these, ``(channels,)``, by the tensor.
    """
    reading = _Reading(model, graph)
    chosen = [one for one in inputs if one.tensor in factors]
    changes: dict[tuple[str, int], list[tuple[Array, bool]]] = {}
    for one in chosen:
        s = factors[one.tensor]
        for name in one.products:
            operand = _weight_of(reading, name)
            changes.setdefault((name, operand), []).append((s, True))
        for fold in one.folds:
            changes.setdefault(fold, []).append((1 / s, False))
    proto = deepcopy(model.as_file())
    nodes, taken = {node.name: node for node in proto.graph.node}, set(reading.readers)
    for (name, number), by in changes.items():
        node = nodes[name]
        values = _changed(reading, reading.nodes[name], number, by)
        made = node.input[number]
        if reading.readers[made] > 1 or not reading.constants.is_stored(made):
            made = next(n for i in range(len(taken) + 1) if (n := f"{made}.scaled{i or ''}") not in taken)
            taken.add(made)
        node.input[number] = made
        store_constant(proto.graph, store(made, values))
    proto.ir_version = max(proto.ir_version, INITIALIZERS_APART)
    drop_unread(proto.graph)
    return proto


def _weight_of(reading: _Reading, name: str) -> int:
    weight = reading.products[name].weight
    assert weight is not None
    return weight.operand


def _changed(reading: _Reading, node: onnx.NodeProto, number: int, by: Sequence[tuple[Array, bool]]) -> Array:
    """A stored input times factors; those of a product's weights are of its inputs, or else of its outputs."""
    values = reading.constants.value(node.input[number])
    found = reading.product(node)
    if found is None or number != found[1].operand:
        for factor, _ in by:
            values = values * factor.astype(values.dtype)
        return values
    product = found[1]
    matrix = product.matrix(values)
    for factor, of_inputs in by:
        own = factor.astype(values.dtype)
        matrix = matrix * (own if of_inputs else own[:, None])
    return np.ascontiguousarray(product.stored(matrix, values.shape))
