"""ResNet20 for CIFAR-10: PyTorch definition, weights from outside the package.

The network is that of He et al., CVPR 2016, with shortcuts without weights ("option A"). Weights with matching
names are public in github.com/akamaster/pytorch_resnet_cifar10 (BSD-2-Clause, Y. Idelbayev, 8.27 % test error).
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.errors import MissingDependencyError, ModelError, UsageError
from lhc.metrics import get_metric
from lhc.models import cifar10
from lhc.models.entry import DATA_VARIABLE, ZooEntry, data_folder
from lhc.models.export import export_onnx
from lhc.task import Task

if TYPE_CHECKING:
    import onnx

    from lhc.models.networks import ResidualNet

__all__ = ["DEFAULT_WEIGHTS", "ResNet20", "build", "read_weights"]

DEFAULT_WEIGHTS = Path("models", "resnet20_cifar10.npz")
"""Below the folder that ``LHC_DATA`` names."""

Weights = Mapping[str, npt.NDArray[np.generic]]


class ResNet20(ZooEntry):
    """ResNet20: 20 candidate layers, 40,551,040 multiply-accumulates an image."""

    name: ClassVar[str] = "resnet20"
    description: ClassVar[str] = (
        f"ResNet20 for CIFAR-10; weights by --weights or ${DATA_VARIABLE}, images by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.01

    def model(self, weights: Path | None = None) -> "onnx.ModelProto":
        """Export the network with weights from an ``.npz`` file or a PyTorch state dict.

        Args:
            weights: the file; None takes ``models/resnet20_cifar10.npz`` below the folder ``LHC_DATA`` names.

        Raises:
            UsageError: no file is given and ``LHC_DATA`` is not set.
            ModelError: the file cannot be read, or its names or shapes are not those of ResNet20.
            MissingDependencyError: PyTorch is not installed.
        """
        path = weights or _default_weights()
        network = build(read_weights(path), str(path))
        import torch

        return export_onnx(network, torch.zeros(2, 3, 32, 32))

    def task(self) -> Task:
        """The 10,000 test images of CIFAR-10, judged by accuracy.

        Raises:
            DataError: the images are not found.
        """
        images, labels = cifar10.load("test")
        return Task({"x": images}, labels, get_metric("accuracy"))


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


def build(weights: Weights, where: str) -> "ResidualNet":
    """The network in evaluation mode with its batch-norms folded.

    Args:
        weights: arrays by name; ``num_batches_tracked`` is not needed.
        where: names the weights in errors.

    Raises:
        ModelError: names are missing or left over, or a shape differs.
        MissingDependencyError: PyTorch is not installed.
    """
    try:
        import torch

        from lhc.models.networks import ResidualNet, fold_batch_norms
    except ImportError as error:
        raise MissingDependencyError(f"building ResNet20 needs PyTorch: {error}") from error
    network = ResidualNet(channels=3, widths=(16, 32, 64), blocks=3, classes=10)
    counted = {name for name in {*network.state_dict(), *weights} if name.endswith(".num_batches_tracked")}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if name not in counted}
    given = {name: array for name, array in weights.items() if name not in counted}
    _check({name: array.shape for name, array in given.items()}, expected, where)
    tensors = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in given.items()}
    network.load_state_dict(tensors, strict=False)
    return fold_batch_norms(network)


def _default_weights() -> Path:
    folder = data_folder()
    if folder is None:
        raise UsageError(
            "resnet20 does not ship with weights: give a file with --weights, or set"
            f" {DATA_VARIABLE} to a folder that holds {DEFAULT_WEIGHTS}"
        )
    return folder / DEFAULT_WEIGHTS


def _read_npz(path: Path) -> Weights:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ModelError(f"{path}: not an .npz file of plain arrays: {error}") from error


def _read_state_dict(path: Path) -> Weights:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(f"reading {path} needs PyTorch: {error}") from error
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


def _check(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is not part of ResNet20" for name in given if name not in expected]
    problems += [
        f"{name} has shape {given[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(f"{where}: not the weights of ResNet20: {'; '.join(problems[:5])}{more}")
