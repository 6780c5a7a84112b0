"""Large weights of a file beside the model in memory: once, in one piece, however many models are cut out of it.

A protobuf message copies its bytes whenever they are read, written, or put into another message, and a session of
onnxruntime that is made from a message copies them again. Arrays and sessions of what lies beside refer to that.
"""

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from lhc.onnx_model import (
    MemoryFile,
    external_entries,
    is_held,
    mapped_bytes,
    shallow,
    store_elsewhere,
    without_weights,
)

__all__ = ["LEAST", "PACKED", "InMemoryExternalData", "bytes_needed", "held_apart", "pieces_of", "read_in", "whole"]

PACKED = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
"""Bits of the types that share bytes."""

_TYPES = frozenset(
    onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
    for name in (
        "float16",
        "float32",
        "float64",
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
"""Element types that every library has, so that arrays of them can be handed on as they are."""
LEAST = 2**20
"""Bytes of a weight that is worth it."""
_ALIGNED = 64
"""Bytes that the place of a tensor is a multiple of."""


def held_apart(proto: onnx.ModelProto, least: int = LEAST) -> tuple[onnx.ModelProto, MemoryFile | None]:
    """A model whose initializers of so many raw bytes or more lie beside it, and these bytes.

    As it is and None where there are none.
    """
    places: dict[int, tuple[int, int]] = {}
    end = 0
    for index, tensor in enumerate(proto.graph.initializer):
        plain = tensor.data_type in _TYPES and not tensor.HasField("data_location")
        if plain and tensor.ByteSize() >= least and (size := len(tensor.raw_data)) >= least:
            places[index] = end, size
            end += -(-size // _ALIGNED) * _ALIGNED
    if not places:
        return proto, None
    data = np.empty(end, np.uint8)
    for index, (start, size) in places.items():
        data[start : start + size] = np.frombuffer(proto.graph.initializer[index].raw_data, np.uint8)
    held, light = MemoryFile(data), without_weights(proto)
    for index, tensor in enumerate(proto.graph.initializer):
        if index not in places:
            light.graph.initializer.append(tensor)
            continue
        start, size = places[index]
        added = light.graph.initializer.add()
        added.CopyFrom(shallow(tensor, "raw_data"))
        store_elsewhere(added, {"location": held.name, "offset": start, "length": size})
    return light, held


class InMemoryExternalData:
    """Weights of a model in the making that lie beside it, for as long as somebody has this object."""

    def __init__(self) -> None:
        """None yet."""
        self._held: list[MemoryFile] = []

    def put(self, name: str, array: npt.NDArray[Any]) -> onnx.TensorProto:
        """An initializer of a name and its values, an array that nobody changes from now on; small ones hold them."""
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        if array.nbytes < LEAST or kind not in _TYPES:
            return onnx.numpy_helper.from_array(array, name)
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        self._held.append(MemoryFile(stored.reshape(-1).view(np.uint8)))
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
        store_elsewhere(tensor, {"location": self._held[-1].name, "offset": 0, "length": array.nbytes})
        return tensor


def pieces_of(tensors: Iterable[onnx.TensorProto]) -> list[MemoryFile]:
    """Owners of tensor values beside their model, to be kept while the values are looked up."""
    return [MemoryFile.named(name) for name in {external_entries(t)["location"] for t in tensors if is_held(t)}]


def read_in(tensor: onnx.TensorProto) -> None:
    """Put the values of a tensor that lie elsewhere into it, in place."""
    tensor.raw_data = mapped_bytes(tensor).tobytes()
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def whole(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the weights that lie beside it in memory; a copy where there are some."""
    if not any(map(is_held, proto.graph.initializer)):
        return proto
    copy = deepcopy(proto)
    for tensor in filter(is_held, copy.graph.initializer):
        read_in(tensor)
    return copy


def bytes_needed(tensor: onnx.TensorProto) -> int:
    """Bytes that the values of a tensor take, packed as ONNX stores them.

    Raises:
        ValueError: a negative size, or a type without a size.
    """
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"negative size in {tuple(tensor.dims)}")
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    if name in ("UNDEFINED", "STRING"):
        raise ValueError(f"{name.lower()} values have no size")
    bits: int = PACKED.get(name) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(map(int, tensor.dims)) * bits // 8)
