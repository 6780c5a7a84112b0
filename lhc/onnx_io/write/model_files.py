"""Write model files without ever leaving half of one, within the 2 GiB that ONNX allows in one file."""

from pathlib import Path

import onnx
from google.protobuf.message import EncodeError

from lhc.errors import ModelError
from lhc.onnx_io.read.external_data import ExternalData, place
from lhc.onnx_io.write.streamed_files import model_bytes, model_size
from lhc.onnx_model import in_other_file
from lhc.support.files import write_file

__all__ = ["save_model", "serialized"]

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
