"""A network whose file fixes the size of the batch, with a batch of any size: in memory, for training.

Inputs get a symbol where they count samples, and what the file says of the sizes of inner tensors is
forgotten. ``Reshape`` to a stored shape that begins with the batch::

    (batch, 64)    ->  (-1, 64)
    (batch, -1)    ->  (0, -1)      the first axis of its input

Whether the result still treats samples apart is for the caller to see: run it.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
from onnx import numpy_helper

from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import input_shapes, static_batch
from lhc.onnx_model import INITIALIZERS_APART, OnnxModel
from lhc.samples.sample_axis import CALL, SampleAxis

_SYMBOL = "batch"


def with_dynamic_batch(model: OnnxModel, axes: Mapping[str, SampleAxis] | None = None) -> OnnxModel:
    """The model with a symbol for the batch; as it is where the file fixes none.

    Args:
        axes: of inputs that have samples elsewhere than on the first axis.
    """
    places = axes or {}
    batch = static_batch(model, axes)
    if batch is None:
        return model
    proto = deepcopy(model.proto)
    inputs = input_shapes(model)
    for value in proto.graph.input:
        axis = places.get(value.name, 0)
        if (declared := inputs.get(value.name)) and axis != CALL and axis < len(declared):
            value.type.tensor_type.shape.dim[axis].dim_param = _SYMBOL
    for value in proto.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("value")
    del proto.graph.value_info[:]
    constants = Constants(proto.graph)
    for node in list(proto.graph.node):
        if node.op_type != "Reshape" or len(node.input) != 2 or node.input[0] in constants:
            continue  # what is stored has no samples
        if node.input[1] in constants:
            shape = constants.value(node.input[1])
            freed = _freed(shape, batch)
            if freed is not shape:
                name = f"{node.name}.shape_of_any_batch"
                proto.graph.initializer.append(numpy_helper.from_array(freed, name))
                proto.ir_version = max(proto.ir_version, INITIALIZERS_APART)
                node.input[1] = name
    return replace(model, proto=proto, file=None)


def _freed(shape: np.ndarray, batch: int) -> np.ndarray:
    if shape.ndim != 1 or len(shape) < 2 or shape[0] != batch:
        return shape
    first = 0 if -1 in shape[1:] else -1
    return np.array([first, *shape[1:]], np.int64)
