"""Weights from files into PyTorch modules: read without running anything in them, checked before they are loaded."""

import pickle
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from lhc.errors import ModelError, UsageError
from lhc.models.zoo_entry import DATA_VARIABLE, ZooEntry, data_folder, require
from lhc.support.files import default_work_dir, write_file
from lhc.support.installed_packages import version_of

if TYPE_CHECKING:
    import onnx
    import torch

Weights = Mapping[str, npt.NDArray[np.generic]]
"""Arrays by their names in a state dict."""


class WeightsEntry(ZooEntry):
    """An entry of the zoo that is defined in PyTorch and whose weights are outside the package."""

    weights: ClassVar[Path]
    """Below the folder that ``LHC_DATA`` names."""

    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """The network with weights from a file; None takes the entry's own below the folder ``LHC_DATA`` names."""
        folder = data_folder()
        if weights is None and folder is None:
            raise UsageError(
                f"{self.name} does not ship with weights: give them with --weights (lhc export), or set"
                f" {DATA_VARIABLE} to a folder that holds {self.weights}"
            )
        path: Path = weights or folder / self.weights  # type: ignore[operator]  # one of both is there
        return kept_export(self.name, path, self._built) if path.is_file() else self._built(path)

    def _built(self, path: Path) -> "onnx.ModelProto":
        require(f"building {self.name} needs PyTorch", "torch")
        return self.exported(path)

    @abstractmethod
    def exported(self, path: Path) -> "onnx.ModelProto":
        """The network with the weights of this file; PyTorch is there."""


def kept_export(name: str, path: Path, build: Callable[[Path], "onnx.ModelProto"]) -> "onnx.ModelProto":
    """What ``build`` makes of a file of weights, made once for these weights, this code and these libraries.

    Exporting takes seconds. Errors are those of ``build``.
    """
    import onnx

    code = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    libraries = map(version_of, ("torch", "onnx", "onnxscript"))
    kept = default_work_dir() / "models" / f"{name}-{digest_of(path, *libraries, *code)[:16]}.onnx"
    try:
        return onnx.load(kept)
    except (OSError, DecodeError):  # not there, or damaged
        made = build(path)
    with suppress(OSError, UsageError):  # it is made again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file(kept, lambda file: file.write(made.SerializeToString()))
    return made


def digest_of(source: Path, *facts: str) -> str:
    """Digest of a file, or of the files of a folder, and of other facts that decide.

    Raises:
        ModelError: one cannot be read.
    """
    state = sha256("\0".join(facts).encode())
    files = sorted(file for file in source.iterdir() if file.is_file()) if source.is_dir() else [source]
    try:
        for file in files:
            with file.open("rb") as content:
                while piece := content.read(2**24):
                    state.update(piece)
    except OSError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror or error}") from error
    return state.hexdigest()


def read_weights(path: Path) -> Weights:
    """Arrays by name from an ``.npz`` file or a file that ``torch.save`` wrote.

    A state dict may lie under the key ``state_dict`` and its names may begin with ``module.``.

    Raises:
        ModelError: the file cannot be read as either; nothing in it is executed.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    arrays = _read_npz(path) if path.suffix == ".npz" else _read_state_dict(path)
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def load_weights(network: "torch.nn.Module", weights: Weights, what: str, where: str) -> None:
    """Put weights into a module, as float32.

    Args:
        network: whose state dict has exactly these names; ``num_batches_tracked`` is not needed.

    Raises:
        ModelError: names are missing or left over, or a shape differs.
    """
    import torch

    state = network.state_dict()
    counted = {name for name in {*state, *weights} if name.endswith(".num_batches_tracked")}
    expected = {name: tuple(value.shape) for name, value in state.items() if name not in counted}
    given = {name: array for name, array in weights.items() if name not in counted}
    problems = _problems({name: array.shape for name, array in given.items()}, expected, what)
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(f"{where}: not the weights of {what}: {'; '.join(problems[:5])}{more}")
    tensors = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in given.items()}
    network.load_state_dict(tensors, strict=False)


def _problems(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], what: str) -> list[str]:
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is not part of {what}" for name in given if name not in expected]
    problems += [
        f"{name} has shape {given[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    return problems


def _read_npz(path: Path) -> Weights:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ModelError(f"{path}: not an .npz file of plain arrays: {error}") from error


def _read_state_dict(path: Path) -> Weights:
    require(f"reading {path} needs PyTorch", "torch")
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: not a PyTorch file of weights alone: {reason}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path}: not a state dict: expected tensors by name")
    return {str(name): tensor.detach().numpy() for name, tensor in content.items()}
