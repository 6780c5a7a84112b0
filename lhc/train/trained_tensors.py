"""Tensors that retraining changes, and their way back into the model.

A product's weight may be an initializer, the tensor of a Constant node, or what moves (Transpose, Reshape, ...) make of
one: the stored tensor is what is trained, and what shares it shares it still. A weight that is computed from constants
in any other way (dequantised, or scaled by a norm) is trained as the float matrix that it is; the retrained model holds
that in place of the operator that computed it. Tensors of layers that share their devices because they hold the same
numbers are trained as one, or they would come to need tiles of their own. Biases of products (third operands) are
trained too, where they are stored. Nothing else of the model changes. Where adapters are trained
(`lhc.onnx_io.rewrites.low_rank_adapters`), nothing but their weights does.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from lhc.errors import ModelError
from lhc.graph import Layer, LayerGraph
from lhc.onnx_io import Constants, adapters_of, free_name, whole
from lhc.onnx_model import INITIALIZERS_APART, OnnxModel, drop_unread
from lhc.samples.task import Array

_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_TRAINABLE = frozenset({"float16", "float32", "float64"})


@dataclass(frozen=True)
class Trained:
    """The stored tensors that are trained.

    Attributes:
        values: name -> present values; of equal ones the first stands for all.
        aliases: name of an equal one -> name of the one that stands for it.
        of_layer: product -> name in ``values`` of the tensor that its weight comes from; products that keep their
            weights are not in it.
        sizes: name -> what a step of Adam is relative to, where that is not the tensor's root mean square.
    """

    values: Mapping[str, Array]
    aliases: Mapping[str, str]
    of_layer: Mapping[str, str]
    sizes: Mapping[str, float] = field(default_factory=dict)


def find_trained(model: OnnxModel, graph: LayerGraph) -> Trained:
    """Find the stored tensors of all products with a constant float weight.

    Raises:
        ModelError: layers share their tiles and store their weights differently; names them.
    """
    constants = Constants(model.proto.graph)
    producers = {name: node for node in model.proto.graph.node for name in node.output}
    values: dict[str, Array] = {}
    aliases: dict[str, str] = {}
    of_layer: dict[str, str] = {}
    layers = [
        layer for layer in graph.candidates if layer.weight is not None and layer.weight.dtype.startswith("float")
    ]
    standing = {group[0]: group for group in graph.tied(layer.name for layer in layers)}
    for group in standing.values():
        first = ""
        for name in group:
            root = _root(graph[name], constants, producers)
            first = first or aliases.get(root, root)
            of_layer[name] = first
            value = constants.value(root)
            if root != first and np.array_equal(value, values[first]):
                aliases.setdefault(root, first)
            elif root != first:  # the same matrix, stored in another orientation
                raise ModelError(
                    f"{model.label}: layers {group[0]!r} and {name!r} share their tiles but store their weights"
                    f" differently ({first}, {root}); retraining would part them"
                )
            else:
                values[root] = value
    for layer in layers:
        for bias in layer.inputs[2:3]:
            if constants.is_stored(bias) and constants.dtype(bias) in _TRAINABLE and bias not in aliases:
                values.setdefault(bias, constants.value(bias))
    return Trained(values, aliases, of_layer)


def find_adapters(model: OnnxModel, graph: LayerGraph) -> Trained:
    """The weights of the adapters of a model.

    Steps of B are relative to what makes B A as large as the weights W beside it: their root mean square times
    √(inputs / rank), since A x is as large as x. B is 0 at the start, so its own size says nothing.
    """
    constants = Constants(model.proto.graph)
    values: dict[str, Array] = {}
    sizes: dict[str, float] = {}
    for adapter in adapters_of(model):
        values |= {name: constants.value(name) for name in (adapter.down, adapter.up)}
        weight, matrix, rank = graph[adapter.layer].weight, graph[adapter.layer].matrix, graph[adapter.up].matrix
        assert weight is not None
        assert matrix is not None
        assert rank is not None
        kept = constants.value(weight.name).astype(np.float64)
        sizes[adapter.up] = float(np.sqrt(np.square(kept).mean() * matrix.rows / rank.rows))
    return Trained(values, {}, {}, sizes)


def _root(layer: Layer, constants: Constants, producers: Mapping[str, onnx.NodeProto]) -> str:
    assert layer.weight is not None
    name = layer.weight.name
    while not constants.is_stored(name) and producers[name].op_type in _MOVES:
        name = producers[name].input[0]
    return name


def with_weights(model: OnnxModel, trained: Trained, weights: Mapping[str, Array]) -> onnx.ModelProto:
    """A copy of the model with new values in its trained tensors, each in the type that it had, stored as before.

    Weights that lay in other files are held in the model itself then.

    Args:
        weights: name -> new values, for the names of ``trained.values``.

    Raises:
        ModelError: a trained tensor is stored in a form that cannot be written (sparse).
    """
    proto, constants = deepcopy(whole(model.proto)), Constants(model.proto.graph)
    pending = {name: weights[name] for name in trained.values}
    pending |= {name: weights[of] for name, of in trained.aliases.items()}
    for name, tensor in _stored(proto.graph):
        if name in pending:
            _write(tensor, pending.pop(name))
    computed = [name for name in pending if free_name(proto.graph, name)]
    for name in computed:
        values = pending.pop(name).astype(constants.dtype(name))
        proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        proto.ir_version = max(proto.ir_version, INITIALIZERS_APART)
    if pending:
        raise ModelError(f"{model.label}: {', '.join(sorted(pending))}: sparse weights cannot be retrained")
    if computed:
        drop_unread(proto.graph)  # what they were computed from
    return proto


def _stored(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], a.t) for a in node.attribute if a.name == "value")


def _write(tensor: TensorProto, values: Array) -> None:
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    values = np.asarray(values, dtype)
    if tensor.float_data:
        tensor.float_data[:] = values.ravel().tolist()
    elif tensor.double_data:
        tensor.double_data[:] = values.ravel().tolist()
    else:
        tensor.raw_data = numpy_helper.from_array(values).raw_data
        for other in ("external_data", "data_location", "int32_data"):  # half precision is stored as 32-bit integers
            tensor.ClearField(other)
