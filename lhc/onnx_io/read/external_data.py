"""Weights that lie in other files than the model, and in memory.

In a file, a tensor names its data by a path relative to the model (``location``), an ``offset`` and a ``length``. That
path comes from outside: it must stay in the model's folder, meet no symbolic link and name a plain file that is long
enough for the tensor's shape. In memory (`resolve`) the path is absolute and the length always there; the data of
tensors inside attributes, function bodies and subgraphs, which are small, are read in. On the way out (`place`) paths
are relative again, to the same file or to a copy beside the output.

Large weights beside the model are in memory once, in one piece, however many models are cut out of it (`held_apart`). A
protobuf message copies its bytes whenever they are read, written, or put into another message, and a session of
onnxruntime that is made from a message copies them again. Arrays and sessions of what lies beside refer to that.
"""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from lhc.errors import ModelError, UsageError
from lhc.onnx_model import (
    MemoryFile,
    OnnxModel,
    external_entries,
    in_other_file,
    is_external,
    is_held,
    mapped_bytes,
    shallow,
    store_elsewhere,
    subgraphs,
    without_weights,
)
from lhc.support.files import Write

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


ExternalData = Literal["keep", "copy"]
"""Whether an annotated model refers to the data files of its source, or to a copy of its own."""

_ALIGNMENT = 4096
"""Where tensors of a copy begin, in bytes: pages, so that they can be mapped."""
SMALL = 4096
"""Bytes up to which a tensor may hold sizes, axes and the like."""
_PIECE = 2**24


def resolve(proto: onnx.ModelProto, folder: Path, label: str) -> None:
    """Check where the data of all tensors lie, and name them by absolute paths, in place.

    Raises:
        ModelError: a path that leaves the folder or is no plain file, or data that do not fit the shape.
    """
    checked: dict[str, tuple[Path, int]] = {}
    for tensor in proto.graph.initializer:
        if is_external(tensor):
            _resolve(tensor, folder, label, checked)
    for tensor in _inner_tensors(proto):
        if is_external(tensor):
            _resolve(tensor, folder, label, checked)
            read_in(tensor)


def data_files(path: Path) -> tuple[Path, ...]:
    """Plain files in which the model in a file keeps data, by name; none where it cannot be read."""
    try:
        proto = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return ()
    found = set[Path]()
    for tensor in (*proto.graph.initializer, *_inner_tensors(proto)):
        if is_external(tensor):
            with suppress(ModelError):  # such a model is refused when it is read
                found.add(_data_file(external_entries(tensor).get("location", ""), path.parent, "")[0])
    return tuple(sorted(found))


def _inner_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors that are no initializers of the main graph."""
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        yield from _node_tensors(node)
    for sparse in proto.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
    for _, graph in subgraphs(node):
        yield from graph.initializer
        for inner in graph.node:
            yield from _node_tensors(inner)


def _resolve(tensor: onnx.TensorProto, folder: Path, label: str, checked: dict[str, tuple[Path, int]]) -> None:
    entries = external_entries(tensor)
    location = entries.get("location", "")
    if location not in checked:
        checked[location] = _data_file(location, folder, f"{label}: data of tensor {tensor.name[:100]!r}")
    path, size = checked[location]
    where = f"{label}: data of tensor {tensor.name[:100]!r} in {location}"
    try:
        offset = int(entries.get("offset", 0))
        needed = bytes_needed(tensor)
        length = int(entries.get("length", needed))
    except (ValueError, KeyError) as error:
        raise ModelError(f"{where}: offset, length or type is not usable ({error})") from error
    if offset < 0 or length != needed or offset + length > size:
        shape = "x".join(map(str, tensor.dims))
        raise ModelError(
            f"{where}: its shape {shape} takes {needed} bytes, the model gives it {length} at offset {offset} of a file"
            f" of {size} bytes; get the model and its data again, from one source"
        )
    store_elsewhere(tensor, entries | {"location": path, "offset": offset, "length": length})


def _data_file(location: str, folder: Path, where: str) -> tuple[Path, int]:
    """A data file that may be read, and its size."""
    parts = PurePosixPath(location).parts
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    if not parts or absolute or ".." in parts or "\\" in location or "\0" in location:
        raise ModelError(f"{where}: {location[:100]!r} leaves the model's folder; only files beside it are read")
    path = folder.absolute()
    for part in parts:
        path /= part
        if path.is_symlink():
            raise ModelError(f"{where}: {location[:100]!r} is a symbolic link; put the file itself beside the model")
    if not path.is_file():
        raise ModelError(f"{where}: cannot be read: there is no file {location[:100]!r} beside the model")
    return path, path.stat().st_size


def check_place(model: OnnxModel, path: Path, how: ExternalData, replace: bool) -> None:
    """Refuse an output from which the model's data files cannot be reached.

    Raises:
        UsageError: it is one of them or would lie in another folder than they, or a copy would replace something.
    """
    if not model.external:
        return
    folder = path.absolute().parent
    files = {Path(external_entries(tensor)["location"]) for tensor in model.external}
    if any(path.exists() and file.exists() and path.samefile(file) for file in files):
        raise UsageError(f"{path}: the output holds weights of the model; choose another name with -o")
    if how == "keep":
        away = sorted(str(file) for file in files if folder not in file.parents)
        if away:
            raise UsageError(
                f"{path}: the model's weights are in {away[0]}, and an ONNX file can only refer to files in its own"
                " folder; write it there, or copy them with --external-data copy"
            )
    elif copy_path(path) in files or (copy_path(path).exists() and not replace):
        raise UsageError(f"{path}: a copy of the weights would replace {copy_path(path)}; choose another name with -o")


def copy_path(path: Path) -> Path:
    """File of the weights that are copied beside a model."""
    return path.absolute().with_name(f"{path.name}.data")


def relative(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A copy that names its data files by paths relative to a folder that holds them."""
    copy = deepcopy(proto)
    for tensor in filter(in_other_file, copy.graph.initializer):
        location = _entry(tensor, "location")
        location.value = Path(location.value).relative_to(folder.absolute()).as_posix()
    return copy


def beside_data(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """The model as a runtime takes it, and the folder that its data files are looked for in.

    Small tensors are read in: a runtime wants to see shapes, axes and the like while it loads. Without data files, the
    model as it is and None.
    """
    tensors = [tensor for tensor in proto.graph.initializer if in_other_file(tensor)]
    if not tensors:
        return proto, None
    folder = Path(os.path.commonpath([Path(external_entries(tensor)["location"]).parent for tensor in tensors]))
    copy = relative(proto, folder)
    for tensor, light in zip(proto.graph.initializer, copy.graph.initializer, strict=True):
        if in_other_file(tensor) and int(external_entries(tensor)["length"]) <= SMALL:
            light.CopyFrom(tensor)
            read_in(light)
    return copy, folder


def copied_beside(proto: onnx.ModelProto, path: Path) -> tuple[onnx.ModelProto, tuple[Path, Write]]:
    """A copy that refers to one data file beside ``path``, and that file, to be written."""
    copy = deepcopy(proto)
    end = 0
    for tensor in filter(in_other_file, copy.graph.initializer):
        start = end + -end % _ALIGNMENT
        _entry(tensor, "offset").value = str(start)
        _entry(tensor, "location").value = str(copy_path(path))
        end = start + int(external_entries(tensor)["length"])
    data = copy_path(path), lambda file: _copy(proto, file)
    return relative(copy, path.absolute().parent), data


def _entry(tensor: onnx.TensorProto, key: str) -> onnx.StringStringEntryProto:
    found: onnx.StringStringEntryProto = next(entry for entry in tensor.external_data if entry.key == key)
    return found


def _copy(proto: onnx.ModelProto, file: IO[bytes]) -> None:
    for tensor in filter(in_other_file, proto.graph.initializer):
        stored = mapped_bytes(tensor)
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        for start in range(0, len(stored), _PIECE):
            file.write(stored[start : start + _PIECE].data)
