"""Read model files, give every node a unique name, write files without ever leaving half of one."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from lhc.errors import ModelError
from lhc.files import write_file
from lhc.model import OnnxModel

__all__ = ["load_model", "save_model"]


def load_model(source: str | Path | onnx.ModelProto | OnnxModel, label: str | None = None) -> OnnxModel:
    """A checked model whose nodes all have unique names.

    Args:
        source: path of an ``.onnx`` file, a ModelProto (copied), or a model that was loaded before.
        label: what messages call it; the path by default.

    Raises:
        ModelError: missing, empty, truncated or not ONNX, or refused by ``onnx.checker``.
    """
    if isinstance(source, OnnxModel):
        return source
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)
        path, label = None, label or "model"
    else:
        path = Path(source)
        label = label or str(path)
        proto = _read(path)
    _check(proto, label)
    renamed = _name_nodes(proto)
    return OnnxModel(proto, path, renamed, label)


def _read(path: Path) -> onnx.ModelProto:
    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file")
        if not path.is_file():
            raise ModelError(f"{path}: not a file; give the path of an .onnx file")
        if path.stat().st_size == 0:
            raise ModelError(f"{path}: the file is empty")
        return onnx.load_model(str(path), format="protobuf")
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX model, or a truncated one ({error})") from error
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def _check(proto: onnx.ModelProto, label: str) -> None:
    if not proto.ir_version or not proto.graph.node:
        raise ModelError(f"{label}: not an ONNX model (no operators in it), or a truncated one")
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ModelError(f"{label}: not a valid ONNX model: {first}") from error


def _name_nodes(proto: onnx.ModelProto) -> tuple[tuple[str, str], ...]:
    """Name unnamed nodes and suffix duplicates (onnxruntime refuses duplicates); returns what changed."""
    taken = {node.name for node in proto.graph.node}
    seen: set[str] = set()
    renamed: list[tuple[str, str]] = []
    for index, node in enumerate(proto.graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        stem = node.name or f"{node.op_type}_{index}"
        new, suffix = stem, 0
        while new in taken or new in seen:
            suffix += 1
            new = f"{stem}_{suffix}"
        renamed.append((node.name, new))
        node.name = new
        seen.add(new)
    return tuple(renamed)


def save_model(proto: onnx.ModelProto, path: Path) -> None:
    """Write a model under a temporary name and move it into place.

    Raises:
        UsageError: the folder does not exist or cannot be written.
    """
    data = proto.SerializeToString(deterministic=True)
    write_file(path, lambda file: file.write(data))
