"""Types of the tensors inside a network, for models that are cut out of it.

A cut-out model whose inputs have no shape can fail to load where the whole one does not: onnxruntime computes shapes
while it loads, and takes an unknown number of axes for none. Sizes are those that follow for every batch; symbols are
left out, since what is one symbol to shape inference need not be one number.
"""

from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

import numpy as np
import onnx

from lhc.errors import ModelError
from lhc.onnx_io.read.shapes import inferred_graph, outline
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import create_session, with_outputs

_inferred: "WeakKeyDictionary[OnnxModel, dict[str, onnx.TypeProto]]" = WeakKeyDictionary()
"""Types by tensor, of the models that are in memory: every placement of a model asks for them."""


def tensor_types(model: OnnxModel, tensors: Iterable[str]) -> Mapping[str, onnx.TypeProto]:
    """Types by inference, else as onnxruntime finds them.

    Raises:
        ModelError: a tensor is none (a sequence, a map).
    """
    if model not in _inferred:
        _inferred[model] = _infer(model)
    known = _inferred[model]
    unknown = sorted(set(tensors) - set(known))
    if unknown:
        known |= _observed(model, unknown)
    return {tensor: known[tensor] for tensor in tensors}


def _infer(model: OnnxModel) -> dict[str, onnx.TypeProto]:
    proto = outline(model.proto)
    del proto.graph.value_info[:]  # exporters leave sizes of their own example there
    graph = inferred_graph(proto)
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: _sized(v.type) for v in values if v.type.tensor_type.elem_type}


def _sized(type_: onnx.TypeProto) -> onnx.TypeProto:
    """The type without symbols."""
    result = onnx.TypeProto()
    result.CopyFrom(type_)
    for dim in result.tensor_type.shape.dim if result.tensor_type.HasField("shape") else ():
        if dim.HasField("dim_param") or dim.dim_value < 0:
            dim.ClearField("value")
    return result


def _observed(model: OnnxModel, tensors: list[str]) -> dict[str, onnx.TypeProto]:
    """Element types, and sizes where onnxruntime knows them."""
    session = create_session(with_outputs(model.proto, tensors), model.label)
    names = {"float": "float32", "double": "float64", "string": "object"}
    found = {}
    for info in session.get_outputs():
        if not info.type.startswith("tensor("):
            raise ModelError(
                f"{model.label}: {info.name!r} passes between digital segments and is a {info.type}, not a tensor;"
                " keep the analog layers before or after it digital"
            )
        dtype = info.type.removeprefix("tensor(").removesuffix(")")
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(names.get(dtype, dtype)))
        shape = [size if isinstance(size, int) else None for size in info.shape] or None
        found[info.name] = onnx.helper.make_tensor_type_proto(kind, shape)
    return found
