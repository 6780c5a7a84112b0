"""ResNet20 for CIFAR-10: PyTorch definition, weights from outside the package.

The network is that of He et al., CVPR 2016, with shortcuts without weights ("option A"). Weights with matching
names are public in github.com/akamaster/pytorch_resnet_cifar10 (BSD-2-Clause, Y. Idelbayev, 8.27 % test error).
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.errors import MissingDependencyError
from lhc.models import cifar10
from lhc.models.entry import DATA_VARIABLE, ZooEntry
from lhc.models.export import export_onnx
from lhc.models.weights import Weights, default_weights, load_weights, read_weights
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

    from lhc.models.networks import ResidualNet

__all__ = ["DEFAULT_WEIGHTS", "ResNet20", "build", "read_weights"]

DEFAULT_WEIGHTS = Path("models", "resnet20_cifar10.npz")
"""Below the folder that ``LHC_DATA`` names."""


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
        path = weights or default_weights(self.name, DEFAULT_WEIGHTS)
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
        from lhc.models.networks import ResidualNet, fold_batch_norms
    except ImportError as error:
        raise MissingDependencyError(f"building ResNet20 needs PyTorch: {error}") from error
    network = ResidualNet(channels=3, widths=(16, 32, 64), blocks=3, classes=10)
    load_weights(network, weights, "ResNet20", where)
    return fold_batch_norms(network)
