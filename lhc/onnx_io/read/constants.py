"""Values that a model holds as constants.

Initializers (in the file, in another file, or sparse), Constant nodes, and what operators compute from them (`fold`).
"""

import math
import sys
from collections import ChainMap
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lhc.errors import ModelError
from lhc.onnx_io.read.constant_folding import FOLD_LIMIT, fold, folded_type
from lhc.onnx_io.read.external_data import PACKED, bytes_needed, pieces_of, read_in
from lhc.onnx_model import is_external, mapped_bytes

_DEEPEST = 64
"""Most operators between what is stored and what is used."""

_UNUSED = "/unused"

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
            _check_packed(tensor)
            return np.asarray(numpy_helper.to_array(tensor))
        stored = mapped_bytes(tensor)
        if sys.byteorder == "little" and len(stored) == math.prod(tensor.dims) * dtype.itemsize:
            return stored.view(dtype).reshape(tuple(tensor.dims))
        copy = deepcopy(tensor)
        read_in(copy)
        return np.asarray(numpy_helper.to_array(copy))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(f"initializer {tensor.name!r}: its data does not fit its shape and type ({error})") from error
    except OSError as error:
        raise ModelError(f"initializer {tensor.name!r}: its data cannot be read any more ({error})") from error


def _check_packed(tensor: onnx.TensorProto) -> None:
    """Refuse values that share bytes and are fewer or more than the shape says: onnx's reader may stretch them."""
    if onnx.TensorProto.DataType.Name(tensor.data_type) in PACKED:
        held = len(tensor.raw_data) or len(tensor.int32_data)
        if held != bytes_needed(tensor):
            raise ValueError(f"{held} bytes for {tuple(tensor.dims)}")


def store_constant(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    """Put an initializer in the place of what gave its name a value: an initializer, dense or sparse, or a node."""
    for held in graph.initializer:
        if held.name == tensor.name:
            held.CopyFrom(tensor)
            return
    for sparse in [sparse for sparse in graph.sparse_initializer if sparse.values.name == tensor.name]:
        graph.sparse_initializer.remove(sparse)
    free_name(graph, tensor.name)
    graph.initializer.append(tensor)


def free_name(graph: onnx.GraphProto, name: str) -> bool:
    """Stop every node from writing a tensor.

    A Split writes it under another name instead, and is removed once all of its parts are.

    Returns:
        Whether a node wrote it.
    """
    for node in graph.node:
        if name in node.output:
            node.output[list(node.output).index(name)] = f"{name}{_UNUSED}"
            if all(output.endswith(_UNUSED) for output in node.output):
                graph.node.remove(node)
            return True
    return False


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


@dataclass(frozen=True, eq=False)
class _Constant:
    """A tensor that is stored, or what computes it.

    Attributes:
        held: a tensor, dense or sparse, or the operator whose output it is.
        kind: ONNX's number of its element type.
        depth: operators between what is stored and it.
    """

    held: onnx.TensorProto | onnx.SparseTensorProto | onnx.NodeProto
    kind: int
    depth: int = 0


class Constants:
    """Constant tensors of a graph by name; decoded or computed when asked for."""

    def __init__(
        self, graph: onnx.GraphProto, outer: "Constants | None" = None, carried: Mapping[str, str] | None = None
    ) -> None:
        """Find the constants.

        Args:
            outer: constants that it sees besides its own, where it is the body of an operator.
            carried: own names of constants of ``outer``, by theirs.
        """
        self._known: ChainMap[str, _Constant] = outer._known.new_child() if outer else ChainMap()
        self._last: tuple[str, Array] | None = None
        for name, start in (carried or {}).items():
            if (held := self._known.get(start)) is not None and name != start:
                copy = onnx.helper.make_node("Identity", [start], [name])
                computed = isinstance(held.held, onnx.NodeProto)
                self._known[name] = _Constant(copy, held.kind, held.depth + 1) if computed else held
        self._pieces = pieces_of(graph.initializer)
        for tensor in graph.initializer:
            self._known[tensor.name] = _Constant(tensor, tensor.data_type)
        for sparse in graph.sparse_initializer:
            self._known[sparse.values.name] = _Constant(sparse, sparse.values.data_type)
        for node in graph.node:
            self._read(node)

    def _read(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            for attribute in node.attribute:
                if attribute.name == "value":
                    self._known[node.output[0]] = _Constant(attribute.t, attribute.t.data_type)
                elif attribute.name == "sparse_value":
                    sparse = attribute.sparse_tensor
                    self._known[node.output[0]] = _Constant(sparse, sparse.values.data_type)
                elif attribute.name in _LISTS:
                    numbers = np.asarray(onnx.helper.get_attribute_value(attribute), _LISTS[attribute.name])
                    tensor = numpy_helper.from_array(numbers)
                    self._known[node.output[0]] = _Constant(tensor, tensor.data_type)
            return
        if not node.input or any(name and name not in self._known for name in node.input):
            return
        inputs = [self._known[name] if name else None for name in node.input]
        depth = 1 + max((one.depth for one in inputs if one), default=0)
        kind = folded_type(node, [one.kind if one else None for one in inputs])
        if kind is not None and depth <= _DEEPEST:
            self._known.update((name, _Constant(node, kind, depth)) for name in node.output if name)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def is_stored(self, name: str) -> bool:
        """Whether nothing has to be computed for it."""
        return name in self._known and not isinstance(self._known[name].held, onnx.NodeProto)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a constant; what is computed is computed for it."""
        held = self._known[name].held
        return self.value(name).shape if isinstance(held, onnx.NodeProto) else tuple(held.dims)

    def entries(self, name: str) -> int | None:
        """Values that a sparse constant stores; None for other tensors."""
        held = self._known[name].held if name in self._known else None
        return math.prod(held.values.dims) if isinstance(held, onnx.SparseTensorProto) else None

    def dtype(self, name: str) -> str:
        """numpy name of a constant's element type (``bfloat16`` and the like keep ONNX's name)."""
        kind, kinds = self._known[name].kind, onnx.TensorProto.DataType
        try:
            return str(onnx.helper.tensor_dtype_to_np_dtype(kind))
        except KeyError:
            return str(kinds.Name(kind)).lower() if kind in kinds.values() else "undefined"

    def value(self, name: str) -> Array:
        """The array; the last one that was computed is kept.

        Raises:
            ModelError: the stored bytes do not fit the stated shape, or operators do not fit their inputs.
        """
        held = self._known[name].held
        if isinstance(held, onnx.TensorProto):
            return stored_array(held)
        if isinstance(held, onnx.SparseTensorProto):
            return _dense(held)
        if self._last is None or self._last[0] != name:
            self._last = name, self._compute(name, {})
        return self._last[1]

    def _compute(self, name: str, known: dict[str, Array]) -> Array:
        if name not in known:
            held = self._known[name].held
            if isinstance(held, onnx.NodeProto):
                inputs = [self._compute(i, known) if i else None for i in held.input]
                known[name] = fold(held, inputs, list(held.output).index(name))
            else:
                known[name] = self.value(name)
        return known[name]
