"""onnxruntime: sessions on one thread, errors a user can act on, tensors observed at run time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from lhc.errors import DataError, ModelError
from lhc.model import OnnxModel
from lhc.onnx_io import declared_shape, input_shapes

__all__ = [
    "Array",
    "TensorInfo",
    "create_session",
    "observe_tensors",
    "run_session",
    "tensor_infos",
    "zero_feeds",
]

Array = npt.NDArray[Any]


class TensorInfo:
    """Name, onnxruntime type string and shape of a model input or output, as onnxruntime's own NodeArg has them."""

    def __init__(self, name: str, type_: str, shape: Sequence[int | str | None]) -> None:
        self.name, self.type, self.shape = name, type_, list(shape)

    def __repr__(self) -> str:
        return f"TensorInfo(name={self.name!r}, type={self.type!r}, shape={self.shape})"


_ORT_TYPES = {"float32": "float", "float64": "double", "object": "string"}


def _type_string(elem_type: int) -> str:
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    return f"tensor({_ORT_TYPES.get(dtype, dtype)})"


def tensor_infos(model: OnnxModel, outputs: bool = False) -> list[TensorInfo]:
    """Inputs (without initializers) or outputs of a model."""
    graph = model.proto.graph
    wanted = graph.output if outputs else [v for v in graph.input if v.name in input_shapes(model)]
    infos = []
    for value in wanted:
        tensor = value.type.tensor_type
        infos.append(TensorInfo(value.name, _type_string(tensor.elem_type), declared_shape(value) or ()))
    return infos


def create_session(proto: onnx.ModelProto, label: str) -> ort.InferenceSession:
    """An onnxruntime session on one CPU thread.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ModelError(f"{label}: onnxruntime cannot load it: {_first_line(error)}") from error


def run_session(
    session: ort.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, Array], label: str
) -> list[Array]:
    """Run a session.

    Raises:
        DataError: onnxruntime fails on these feeds.
    """
    try:
        result: list[Array] = session.run(list(outputs), dict(feeds))
    except Exception as error:  # as above
        raise DataError(f"{label}: onnxruntime fails on this data: {_first_line(error)}") from error
    return result


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def with_outputs(proto: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """The model with these tensors as its only outputs; onnxruntime finds their types."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    declared = {value.name: value for value in proto.graph.output}
    del copy.graph.output[:]
    copy.graph.output.extend(declared.get(t, onnx.ValueInfoProto(name=t)) for t in tensors)
    return copy


def observe_tensors(model: OnnxModel, tensors: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Values of inner tensors in one run.

    Raises:
        ModelError: the model cannot be loaded.
        DataError: it cannot be run on these feeds.
    """
    session = create_session(with_outputs(model.proto, tensors), model.label)
    return dict(zip(tensors, run_session(session, tensors, feeds, model.label), strict=True))


def zero_feeds(model: OnnxModel, shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """All-zero inputs of these shapes, to observe shapes without data."""
    feeds: dict[str, Array] = {}
    for value in model.proto.graph.input:
        if value.name in shapes:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feeds[value.name] = np.zeros(shapes[value.name], dtype)
    return feeds
