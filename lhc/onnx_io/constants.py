"""Values that a model holds as constants.

Initializers (in the file, in another file, or sparse), Constant nodes, and what a short chain of the operators of
`folding` computes from them.
"""

import math
import sys
from collections import ChainMap
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from lhc.errors import ModelError
from lhc.model import is_external, mapped_bytes
from lhc.onnx_io.external import read_in
from lhc.onnx_io.fold import FOLD_LIMIT, fold, folded_type

__all__ = ["Array", "Constants", "stored_array"]

_DEEPEST = 16
"""Most operators between what is stored and what is used."""

_LISTS = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}

Array = npt.NDArray[Any]


def stored_array(tensor: onnx.TensorProto) -> Array:
    """The values of a tensor of a loaded model; mapped, not copied, where they lie in another file.

    Raises:
        ModelError: the stored bytes do not fit the stated shape.
    """
    try:
        if any(size < 0 for size in tensor.dims):
            raise ValueError(f"negative size in {tuple(tensor.dims)}")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if not is_external(tensor):
            return np.asarray(numpy_helper.to_array(tensor))
        stored = mapped_bytes(tensor)
        if sys.byteorder == "little" and len(stored) == math.prod(tensor.dims) * dtype.itemsize:
            return stored.view(dtype).reshape(tuple(tensor.dims))
        copy = TensorProto()
        copy.CopyFrom(tensor)
        read_in(copy)
        return np.asarray(numpy_helper.to_array(copy))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(f"initializer {tensor.name!r}: its data does not fit its shape and type ({error})") from error
    except OSError as error:
        raise ModelError(f"initializer {tensor.name!r}: its data cannot be read any more ({error})") from error


def _dense(sparse: onnx.SparseTensorProto) -> Array:
    """A sparse tensor with its zeros."""
    values, indices = stored_array(sparse.values), stored_array(sparse.indices)
    shape = tuple(sparse.dims)
    if not 0 <= math.prod(shape) <= FOLD_LIMIT:
        raise ModelError(f"sparse initializer {sparse.values.name!r}: too large ({shape})")
    try:
        dense = np.zeros(shape, values.dtype)
        where = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
        dense.reshape(-1)[where] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"sparse initializer {sparse.values.name!r} makes no sense: {error}") from error
    return dense


class Constants:
    """Constant tensors of a graph by name; decoded or computed when asked for."""

    def __init__(self, graph: onnx.GraphProto, outer: "Constants | None" = None) -> None:
        """Find the constants.

        Args:
            graph: the graph.
            outer: constants that it sees besides its own, where it is the body of an operator.
        """
        self._tensors: ChainMap[str, TensorProto] = outer._tensors.new_child() if outer else ChainMap()
        self._sparse: ChainMap[str, onnx.SparseTensorProto] = outer._sparse.new_child() if outer else ChainMap()
        self._folded: ChainMap[str, onnx.NodeProto] = outer._folded.new_child() if outer else ChainMap()
        self._types: ChainMap[str, int] = outer._types.new_child() if outer else ChainMap()
        self._depths: ChainMap[str, int] = outer._depths.new_child() if outer else ChainMap()
        self._last: tuple[str, Array] | None = None
        for tensor in graph.initializer:
            self._store(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            self._store(sparse.values.name, sparse)
        for node in graph.node:
            self._read(node)

    def _store(self, name: str, value: onnx.TensorProto | onnx.SparseTensorProto) -> None:
        if isinstance(value, onnx.SparseTensorProto):
            self._sparse[name], self._types[name] = value, value.values.data_type
        else:
            self._tensors[name], self._types[name] = value, value.data_type
        self._depths[name] = 0

    def _read(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            for attribute in node.attribute:
                if attribute.name == "value":
                    self._store(node.output[0], attribute.t)
                elif attribute.name == "sparse_value":
                    self._store(node.output[0], attribute.sparse_tensor)
                elif attribute.name in _LISTS:
                    numbers = np.asarray(onnx.helper.get_attribute_value(attribute), _LISTS[attribute.name])
                    self._store(node.output[0], numpy_helper.from_array(numbers))
            return
        if not node.input or any(name and name not in self._types for name in node.input):
            return
        depth = 1 + max((self._depths[name] for name in node.input if name), default=0)
        kind = folded_type(node, [self._types[name] if name else None for name in node.input])
        if kind is not None and depth <= _DEEPEST:
            name = node.output[0]
            self._folded[name], self._types[name], self._depths[name] = node, kind, depth

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def is_stored(self, name: str) -> bool:
        """Whether nothing has to be computed for it."""
        return name in self._tensors or name in self._sparse

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a constant; what is computed is computed for it."""
        if name in self._tensors:
            return tuple(self._tensors[name].dims)
        return tuple(self._sparse[name].dims) if name in self._sparse else self.value(name).shape

    def entries(self, name: str) -> int | None:
        """Values that a sparse constant stores; None for other tensors."""
        return math.prod(self._sparse[name].values.dims) if name in self._sparse else None

    def dtype(self, name: str) -> str:
        """numpy name of a constant's element type (``bfloat16`` and the like keep ONNX's name)."""
        try:
            return str(onnx.helper.tensor_dtype_to_np_dtype(self._types[name]))
        except KeyError:
            kinds = TensorProto.DataType
            return str(kinds.Name(self._types[name])).lower() if self._types[name] in kinds.values() else "undefined"

    def value(self, name: str) -> Array:
        """The array; the last one that was computed is kept.

        Raises:
            ModelError: the stored bytes do not fit the stated shape, or operators do not fit their inputs.
        """
        if name in self._tensors:
            return stored_array(self._tensors[name])
        if name in self._sparse:
            return _dense(self._sparse[name])
        if self._last is None or self._last[0] != name:
            self._last = name, self._compute(name, {})
        return self._last[1]

    def _compute(self, name: str, known: dict[str, Array]) -> Array:
        if name not in known:
            if self.is_stored(name):
                known[name] = self.value(name)
            else:
                node = self._folded[name]
                inputs = [self._compute(i, known) if i else None for i in node.input]
                known[name] = fold(node, inputs, self._types[name])
        return known[name]
