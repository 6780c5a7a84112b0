"""Write model files without ever leaving half of one, within the 2 GiB that ONNX allows in one file.

The bytes of a model come in pieces, so that its weights are never in memory a second time on their way to a file. They
are those that protobuf gives for the whole message, which is its fields in the order of their numbers: a message
inside another one is its field's key, its length, and its own bytes.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError, Message

from lhc.errors import ModelError
from lhc.onnx_io.read.external_data import ExternalData, place
from lhc.onnx_model import in_other_file, is_held, mapped_bytes, shallow
from lhc.support.files import write_file

__all__ = ["model_bytes", "model_size", "save_model", "serialized"]


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
    if any(map(in_other_file, proto.graph.initializer)):
        proto = place(proto, path, external_data)
    if model_size(proto) > _MOST:
        raise _too_large(str(path))
    write_file(path, lambda file: file.writelines(model_bytes(proto)))
