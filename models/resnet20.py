"""ResNet20 for CIFAR-10: PyTorch definition, weights from outside the package.

The network is that of He et al., CVPR 2016, with shortcuts without weights ("option A"). Weights with matching
names are public in github.com/akamaster/pytorch_resnet_cifar10 (BSD-2-Clause, Y. Idelbayev, 8.27 % test error).
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.models import cifar10
from lhc.models.export import export_onnx
from lhc.models.weights import Weights, WeightsEntry, load_weights, read_weights
from lhc.models.zoo_entry import DATA_VARIABLE
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

    from lhc.models.residual_networks import ResidualNet


class ResNet20(WeightsEntry):
    """ResNet20: 20 candidate layers, 40,551,040 multiply-accumulates an image."""

    name: ClassVar[str] = "resnet20"
    description: ClassVar[str] = (
        f"ResNet20 for CIFAR-10; weights by --weights or ${DATA_VARIABLE}, images by ${DATA_VARIABLE}"
    )
    max_drop: ClassVar[float] = 0.01
    weights: ClassVar[Path] = Path("models", "resnet20_cifar10.npz")

    def exported(self, path: Path) -> "onnx.ModelProto":
        """With weights from an ``.npz`` file or a PyTorch state dict."""
        import torch

        return export_onnx(build(read_weights(path), str(path)), torch.zeros(2, 3, 32, 32))

    def task(self) -> Task:
        """The 10,000 test images of CIFAR-10, judged by accuracy."""
        images, labels = cifar10.load("test")
        return Task({"x": images}, labels, get_metric("accuracy"))


def build(weights: Weights, where: str) -> "ResidualNet":
    """The network in evaluation mode with its batch-norms folded; arguments and errors as of `load_weights`."""
    from lhc.models.residual_networks import ResidualNet, fold_batch_norms

    network = ResidualNet(channels=3, widths=(16, 32, 64), blocks=3, classes=10)
    load_weights(network, weights, "ResNet20", where)
    return fold_batch_norms(network)
