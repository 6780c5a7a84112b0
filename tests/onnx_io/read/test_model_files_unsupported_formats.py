"""A file of another tool given as a model: what it looks like, and how to get ONNX from it."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lhc.errors import ModelError
from lhc.onnx_io import load_model


def _torch_state(path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(2, 3).state_dict(), path)


def _torch_module(path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(2, 3), path)


def _torch_before_1_6(path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(2, 3).state_dict(), path, _use_new_zipfile_serialization=False)


def _torchscript(path: Path) -> None:
    # What torch.jit.save wrote with torch 2.13; that function warns.
    _archive("data.pkl", "code/__torch__/linear.py", "constants.pkl")(path)


def _torch_program(path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(torch.nn.Linear(2, 3).eval(), (torch.zeros(1, 2),)), path)


def _archive(*names: str, folder: str = "net/") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(folder + name, b"content")

    return write


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))


TORCH = (r"PyTorch \(\.pt, \.pth\)", r"torch\.onnx\.export\(model, args, 'model\.onnx', dynamo=True\).*lhc\.partition")
analog = pytest.mark.analog


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        pytest.param(_torch_state, TORCH, id="state", marks=analog),
        pytest.param(_torch_module, TORCH, id="module", marks=analog),
        pytest.param(_torch_before_1_6, TORCH, id="before 1.6", marks=analog),
        pytest.param(_torchscript, ("TorchScript", "module that it was made from"), id="torchscript"),
        pytest.param(_torch_program, (r"\.pt2", r"torch\.export\.load"), id="pt2", marks=analog),
        pytest.param(_archive("config.json", "model.weights.h5", folder=""), ("Keras", "tf2onnx"), id="keras"),
        pytest.param(_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), ("HDF5", "tf2onnx"), id="h5"),
        pytest.param(_bytes(b"\x1c\0\0\0TFL3" + bytes(100)), ("TensorFlow Lite", "tf2onnx"), id="tflite"),
        pytest.param(_bytes(b"\x1c\0\0\0ORTM" + bytes(100)), ("onnxruntime's own", "made from"), id="ort"),
        pytest.param(_safetensors, ("safetensors", "has no graph"), id="safetensors"),
        pytest.param(_bytes(b"GGUF\3\0\0\0" + bytes(100)), ("GGUF", "has no graph"), id="gguf"),
        pytest.param(_npz, (r"arrays \(\.npz\)", "--data"), id="npz"),
        pytest.param(_bytes(pickle.dumps({"w": [1, 2]})), ("a pickle", "opens none"), id="pickle"),
        pytest.param(_archive("net.onnx"), ("an archive", "file in it"), id="zip"),
        pytest.param(_bytes(b"PK\x03\x04 cut off"), ("a damaged archive", ""), id="broken zip"),
    ],
)
@pytest.mark.parametrize("name", ["net.onnx", "net.pt"])
def test_what_is_said_of_it(
    write: Callable[[Path], None], expected: tuple[str, str], name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    what, action = expected
    with pytest.raises(ModelError, match=rf"not an ONNX model; it looks like .*{what}.*{action}"):
        load_model(path)


def test_a_folder_of_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="not a file; it looks like a model of TensorFlow; use tf2onnx"):
        load_model(tmp_path)


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"These are notes.\n")
    with pytest.raises(ModelError, match="not an ONNX model, or a truncated one") as found:
        load_model(path)
    assert "looks like" not in str(found.value)
