"""Files of other tools that are taken for models: what they look like, and how to get ONNX from them.

Only first bytes and the names in an archive are looked at; nothing is unpacked, unpickled or run.
"""

import zipfile
from pathlib import Path

__all__ = ["unsupported_format"]

_EXPORT = "model.eval() and torch.onnx.export(model, args, 'model.onnx', dynamo=True), or give it to lhc.partition"
_WITHOUT_GRAPH = f"which has no graph; load its weights into the PyTorch module that they belong to, call {_EXPORT}"
_TORCH = f"a file of PyTorch (.pt, .pth), {_WITHOUT_GRAPH}"
_TORCHSCRIPT = f"a TorchScript file; take the PyTorch module that it was made from, call {_EXPORT}"
_EXPORTED = (
    "a program of torch.export (.pt2); call torch.onnx.export(torch.export.load(FILE), args, 'model.onnx', dynamo=True)"
)
_KERAS = "load it by keras.models.load_model and call model.export('model.onnx', format='onnx'), or use tf2onnx"
_FIRST_BYTES = (
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (.h5), as Keras writes; {_KERAS}"),
    (4, b"TFL3", "a file of TensorFlow Lite; use tf2onnx: python -m tf2onnx.convert --tflite FILE --output model.onnx"),
    (4, b"ORTM", "a file in onnxruntime's own format (.ort); give the ONNX model that it was made from"),
    (0, b"GGUF", f"a GGUF file, {_WITHOUT_GRAPH}"),
    *((0, bytes((0x80, protocol, 0x8A)), _TORCH) for protocol in range(2, 6)),  # its first object is a long number
    *(
        (0, bytes((0x80, protocol)), "a pickle; lhc opens none, so export the network to ONNX")
        for protocol in range(2, 6)
    ),
)
_SAVED_MODEL = "a model of TensorFlow; use tf2onnx: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"


def unsupported_format(path: Path) -> str | None:
    """Format of a file or folder that is no ONNX model, with advice; None where the format is unknown.

    A guess from the content, whatever the file is called.
    """
    try:
        if path.is_dir():
            return _SAVED_MODEL if (path / "saved_model.pb").is_file() else None
        if not path.is_file():
            return None  # a pipe would be waited for
        with path.open("rb") as file:
            start = file.read(16)
        size = path.stat().st_size
    except OSError:
        return None
    if start.startswith(b"PK\x03\x04"):
        return _archive(path)
    if len(start) > 8 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= size - 8:
        return f"a file of safetensors, {_WITHOUT_GRAPH}"
    return next((text for place, mark, text in _FIRST_BYTES if start[place : place + len(mark)] == mark), None)


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged archive"
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in {*inner, *names}:
        return _EXPORTED
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return _TORCHSCRIPT
    if "data.pkl" in inner:
        return _TORCH
    if "model.weights.h5" in names:
        return f"a file of Keras (.keras); {_KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of arrays (.npz); samples go to --data"
    return "an archive; give the .onnx file in it"
