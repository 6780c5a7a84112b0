"""ResNet-8 for CIFAR-10 as in MLPerf Tiny: PyTorch definition, weights from outside the package.

The image classification model of the benchmark (C. Banbury et al., MLPerf Tiny, NeurIPS 2021 Datasets and Benchmarks):
a 3x3 convolution and three blocks of two, of 16, 32 and 64 channels; a 1x1 convolution in the shortcut where the shape
changes. Its weights are those of github.com/mlcommons/tiny (Apache-2.0), read from the Keras file into an ``.npz``.
Keras pads convolutions of stride 2 behind only, and takes pixels 0..255 as they are.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.errors import ModelError
from lhc.models import cifar10
from lhc.models.export import export_onnx
from lhc.models.weights import Weights, WeightsEntry, load_weights, read_weights
from lhc.models.zoo_entry import DATA_VARIABLE
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx
    import torch

Floats = npt.NDArray[np.float64]

_EPSILON = 1e-3
"""Of Keras' batch-norms."""
_CONVOLUTIONS = ("conv1", "block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2", "block2.shortcut",
                 "block3.conv1", "block3.conv2", "block3.shortcut")  # fmt: skip
"""In the order in which Keras numbers them."""
_NORMALISED = {"conv1": 0, "block1.conv1": 1, "block1.conv2": 2, "block2.conv1": 3, "block2.conv2": 4,
               "block3.conv1": 5, "block3.conv2": 6}  # fmt: skip
"""Convolutions with a batch-norm behind them, and its number."""


class ResNet8(WeightsEntry):
    """ResNet-8: 10 candidate layers, 12,501,632 multiply-accumulates an image."""

    name: ClassVar[str] = "resnet8"
    description: ClassVar[str] = (
        f"ResNet-8 of MLPerf Tiny for CIFAR-10; weights by --weights or ${DATA_VARIABLE}, images by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[Path] = Path("models", "resnet8_mlperf_tiny_cifar10.npz")

    def exported(self, path: Path) -> "onnx.ModelProto":
        """With weights from an ``.npz`` file with Keras' names."""
        import torch

        return export_onnx(build(read_weights(path), str(path)), torch.zeros(2, 3, 32, 32))

    def task(self) -> Task:
        """The 10,000 test images of CIFAR-10 as pixels 0..255, judged by accuracy."""
        images, labels = cifar10.load("test")
        return Task({"x": pixels(images)}, labels, get_metric("accuracy"))


def pixels(images: np.ndarray) -> np.ndarray:
    """Normalised images back to pixels 0..255, float32."""
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (cifar10.MEAN, cifar10.STD))
    return np.asarray(np.round((images * std + mean) * 255), np.float32)


def from_keras(weights: Weights, where: str) -> Weights:
    """Keras' arrays as PyTorch's, batch-norms folded: ``w g / s`` and ``(b - mean) g / s + beta``, s² = var + eps.

    Raises:
        ModelError: one is missing.
    """
    try:
        arrays: dict[str, np.ndarray] = {"linear.weight": np.asarray(weights["dense.kernel"]).T}
        arrays["linear.bias"] = np.asarray(weights["dense.bias"])
        for number, name in enumerate(_CONVOLUTIONS):
            keras = "conv2d" if number == 0 else f"conv2d_{number}"
            kernel, bias = (np.asarray(weights[f"{keras}.{part}"], np.float64) for part in ("kernel", "bias"))
            scale, shift = _norm(weights, _NORMALISED.get(name))
            arrays[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1) * scale.reshape(-1, 1, 1, 1)
            arrays[f"{name}.bias"] = bias * scale + shift
    except KeyError as error:
        raise ModelError(f"{where}: not the weights of ResNet-8: {error} is missing") from error
    except ValueError as error:
        raise ModelError(f"{where}: not the weights of ResNet-8: {error}") from error
    return arrays


def _norm(weights: Weights, number: int | None) -> tuple[Floats, Floats]:
    """Factor and summand of a batch-norm in evaluation."""
    if number is None:
        return np.ones(()), np.zeros(())
    keras = "batch_normalization" if number == 0 else f"batch_normalization_{number}"
    gamma, beta, mean, variance = (
        np.asarray(weights[f"{keras}.{part}"], np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


def build(weights: Weights, where: str) -> "torch.nn.Module":
    """The network in evaluation mode, its output logits; arguments and errors as of `from_keras` and `load_weights`."""
    from lhc.models.residual_networks import SmallResidualNet

    network = SmallResidualNet(channels=3, widths=(16, 32, 64), classes=10)
    load_weights(network, from_keras(weights, where), "ResNet-8", where)
    return network.eval()
