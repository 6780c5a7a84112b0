"""Models to files, never half of one, within the 2 GiB that ONNX allows in one, and never over something of the user's.

The bytes of a model come in pieces, so that its weights are never in memory a second time on their way to a file. They
are those that protobuf gives for the whole message, which is its fields in the order of their numbers: a message
inside another one is its field's key, its length, and its own bytes.

Weights of a model in the making that are too large to be held in memory twice go to a file at once (`WeightFile`). The
model refers to it as one that was read does to its data files (`lhc.onnx_io.read.external_data`), so that sessions map
it and `save_model` copies it beside the output.

A file is replaced only where nothing of the user's is lost (`check_output`).
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import EncodeError, Message
from onnx import numpy_helper

from lhc.errors import LhcError, ModelError, UsageError
from lhc.onnx_io.annotate.annotations import metadata_of_file, read_plan
from lhc.onnx_io.read.external_data import SMALL, ExternalData, check_place, copied_beside, relative
from lhc.onnx_io.read.model_files import load_model
from lhc.onnx_model import OnnxModel, in_other_file, is_held, mapped_bytes, shallow, store_elsewhere
from lhc.support.files import Write, check_writable, write_files

Store = Callable[[str, npt.NDArray[Any]], onnx.TensorProto]
"""Makes an initializer of a name and its values."""

_ALIGNMENT = 4096
"""Where tensors begin, in bytes: pages, so that they can be mapped."""


def in_memory(name: str, values: npt.NDArray[Any]) -> onnx.TensorProto:
    """An initializer that holds its values."""
    return numpy_helper.from_array(values, name)


class WeightFile:
    """A file that is there for as long as somebody holds this."""

    def __init__(self, folder: Path) -> None:
        """Begin a file.

        Args:
            folder: of temporary things, on a disk; made where it does not exist.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=".weights.", dir=folder)
        except OSError as error:
            raise _refusal(folder, error) from error
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        self._path = Path(made, "weights.data").absolute()

    def put(self, name: str, array: npt.NDArray[Any]) -> onnx.TensorProto:
        """An initializer whose values are in the file; small ones are in the model, as runtimes want to have sizes.

        Raises:
            UsageError: there is no room.
        """
        if array.nbytes <= SMALL:
            return in_memory(name, array)
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
        try:
            with self._path.open("ab") as file:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                entries = {"location": str(self._path), "offset": file.tell(), "length": array.nbytes}
                file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        except OSError as error:
            raise _refusal(self._path.parent.parent, error) from error
        store_elsewhere(tensor, entries)
        return tensor


def _refusal(folder: Path, error: OSError) -> UsageError:
    why = error.strerror or error
    return UsageError(f"{folder}: cannot be written: {why}; set LHC_CACHE to a folder with room for the weights")


_AT_ONCE = 2**24
"""Bytes of a model that is not worth it."""
_DELIMITED = 2
"""Kind of a field that begins with its length."""


def model_size(proto: onnx.ModelProto) -> int:
    """Size of a serialised model, in bytes."""
    if _is_small(proto):
        return int(proto.ByteSize())
    return sum(len(part) for part in _around(proto, "graph")) + _within(proto, "graph", _graph_size(proto.graph))


def model_bytes(proto: onnx.ModelProto) -> Iterator[bytes | memoryview]:
    """A model as its file has it, with what is held beside it in memory."""
    if _is_small(proto):
        yield proto.SerializeToString(deterministic=True)
        return
    before, after = _around(proto, "graph")
    yield before
    yield _begun(proto, "graph", _graph_size(proto.graph))
    yield from _graph_bytes(proto.graph)
    yield after


def _is_small(proto: onnx.ModelProto) -> bool:
    """Whether it is one piece, which keeps fields of a later ONNX too."""
    size = 0
    for tensor in proto.graph.initializer:
        size += tensor.ByteSize()
        if is_held(tensor) or size > _AT_ONCE:
            return False
    return True


def _graph_size(graph: onnx.GraphProto) -> int:
    around = sum(len(part) for part in _around(graph, "initializer"))
    return around + sum(_within(graph, "initializer", _tensor_size(tensor)) for tensor in graph.initializer)


def _graph_bytes(graph: onnx.GraphProto) -> Iterator[bytes | memoryview]:
    before, after = _around(graph, "initializer")
    yield before
    for tensor in graph.initializer:
        yield _begun(graph, "initializer", _tensor_size(tensor))
        yield from _tensor_bytes(tensor)
    yield after


def _tensor_size(tensor: onnx.TensorProto) -> int:
    if not is_held(tensor):
        return int(tensor.ByteSize())
    around = sum(len(part) for part in _around(_without_place(tensor), "raw_data"))
    return around + _within(tensor, "raw_data", len(mapped_bytes(tensor)))


def _tensor_bytes(tensor: onnx.TensorProto) -> Iterator[bytes | memoryview]:
    if not is_held(tensor):
        yield tensor.SerializeToString(deterministic=True)
        return
    before, after = _around(_without_place(tensor), "raw_data")
    values = mapped_bytes(tensor)
    yield before
    yield _begun(tensor, "raw_data", len(values))
    yield values.data
    yield after


def _without_place(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = shallow(tensor, "external_data")
    copy.ClearField("data_location")
    return copy


def _around(message: Message, left_out: str) -> tuple[bytes, bytes]:
    """The fields before and behind one, which is not read."""
    number = message.DESCRIPTOR.fields_by_name[left_out].number
    light = shallow(message, left_out)
    every = light.SerializeToString(deterministic=True)
    for field, _ in light.ListFields():
        if field.number > number:
            light.ClearField(field.name)
    first = light.ByteSize()
    return every[:first], every[first:]


def _within(message: Message, field: str, size: int) -> int:
    return len(_begun(message, field, size)) + size


def _begun(message: Message, field: str, size: int) -> bytes:
    """Tag and length before the bytes of a protobuf field."""
    return _number(message.DESCRIPTOR.fields_by_name[field].number << 3 | _DELIMITED) + _number(size)


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_MOST = 2**31 - 1
"""Bytes of a message."""


def serialized(proto: onnx.ModelProto, label: str) -> bytes:
    """A model as bytes.

    Raises:
        ModelError: it is larger than the 2 GiB that ONNX allows in one file.
    """
    try:
        data: bytes = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise _too_large(label) from error
    return data


def _too_large(label: str) -> ModelError:
    return ModelError(
        f"{label}: more than 2 GiB in one model, which ONNX does not allow; keep its weights in a file beside it"
        " (onnx.save_model with save_as_external_data) and give its path"
    )


def save_model(proto: onnx.ModelProto, path: Path, external_data: ExternalData = "keep") -> None:
    """Write a model under a temporary name and move it into place.

    Args:
        external_data: refer to these files, which must lie in the folder of ``path``, or to a copy beside it.

    Raises:
        UsageError: the folder does not exist or cannot be written.
        ModelError: it is too large for one file.
    """
    if model_size(proto) > _MOST:  # before a file of weights is replaced
        raise _too_large(str(path))
    copied: list[tuple[Path, Write]] = []
    if any(map(in_other_file, proto.graph.initializer)):
        if external_data == "copy":
            proto, weights = copied_beside(proto, path)
            copied = [weights]
        else:
            proto = relative(proto, path.parent)
    write_files([*copied, (path, lambda file: file.writelines(model_bytes(proto)))])


def check_output(path: Path, model: OnnxModel, force: bool, external_data: ExternalData = "keep") -> None:
    """Refuse an output that would lose something of the user's.

    Raises:
        UsageError: it is the input, a folder, or a file that lhc did not write for this model (unless ``force``), its
            folder takes no file, or the model's data files cannot be reached from there.
    """
    if external_data not in ("keep", "copy"):
        raise UsageError(f"--external-data {external_data!r}: choose keep or copy")
    if model.path is not None and path.exists() and path.samefile(model.path):
        raise UsageError(f"{path}: the output is the input; choose another name with -o")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a file name with -o")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.absolute().parent} does not exist")
    check_writable(path)  # before it is read: a pipe has no end
    if path.exists() and not force and not _same_network(path, model):
        raise UsageError(f"{path}: exists and holds something else; --force replaces it, or choose another -o")
    check_place(model, path, external_data, force or path.exists())


def _same_network(path: Path, model: OnnxModel) -> bool:
    """Whether a file holds this very network, so that nothing is lost with it."""
    try:
        return load_model(path).source == model.source
    except LhcError:
        return False


def held_in(path: Path) -> str | None:
    """The placement that a file holds, as `held_text` has it; empty: none that can be read, None: no file.

    Nothing of it is checked: it is what the file says.
    """
    if not path.exists():
        return None
    from lhc.plan import Outcome
    from lhc.plan.summary import held_text

    keys = metadata_of_file(path)
    try:
        outcome = Outcome.model_validate_json(keys["lhc.result"]) if "lhc.result" in keys else None
    except ValueError:
        outcome = None
    return held_text(keys["lhc.summary"], outcome) if "lhc.summary" in keys else ""


def retrained_from(path: Path, model: OnnxModel) -> bool:
    """Whether a file is what retraining this very model wrote."""
    try:
        plan = read_plan(load_model(path)) if path.is_file() else None
    except LhcError:
        return False
    outcome = None if plan is None else plan.outcome
    return outcome is not None and outcome.retrained is not None and outcome.retrained.source == model.source
