"""Networks of published figures as layer graphs for 32x32 images, batch-norms folded.

AlexNet, VGG16 and MobileNetV2 (width 0.75) as in the public fork of LionHeart's code (github.com/anissbslh/HILAL),
ResNet8 and ResNet20 of He et al. LionHeart's own definitions of the first three are not public.
"""

from collections.abc import Callable, Mapping

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef

__all__ = ["NETWORKS", "Builder", "alexnet", "mobilenetv2", "resnet"]


class Builder:
    """Appends layers to a network of square images."""

    def __init__(self, channels: int, side: int) -> None:
        self.layers: list[Layer] = []
        self.channels = channels
        self.side = side
        self.tensor = "x"

    def append(self, name: str, op: str, *more: str, **fields: object) -> str:
        """One layer that reads the last tensor and perhaps others."""
        self.layers.append(Layer(name, op, (self.tensor, *more), (f"{name}.out",), **fields))  # type: ignore[arg-type]
        self.tensor = f"{name}.out"
        return self.tensor

    def conv(self, name: str, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """A convolution with "same" padding."""
        self.side = -(-self.side // stride)
        rows = self.channels // groups * kernel * kernel
        shape = (channels, self.channels // groups, kernel, kernel)
        self.channels = channels
        weight = WeightRef(f"{name}.w", 1, shape, "float32", name)
        matrix = MatrixShape(rows, channels // groups, groups, self.side**2)
        return self.append(name, "Conv", f"{name}.w", weight=weight, matrix=matrix)

    def pool(self, name: str) -> str:
        """Halves both sides."""
        self.side //= 2
        return self.append(name, "MaxPool")

    def linear(self, name: str, inputs: int, outputs: int) -> str:
        """A fully connected layer."""
        weight = WeightRef(f"{name}.w", 1, (outputs, inputs), "float32", name)
        return self.append(name, "Gemm", f"{name}.w", weight=weight, matrix=MatrixShape(inputs, outputs, 1, 1))

    def graph(self) -> LayerGraph:
        """The network."""
        return LayerGraph(self.layers, ["x"], [self.tensor])


def alexnet() -> LayerGraph:
    """Five convolutions, three fully connected layers."""
    b = Builder(3, 32)
    for number, (channels, pooled) in enumerate([(64, 1), (192, 1), (384, 0), (256, 0), (256, 1)], 1):
        b.conv(f"conv{number}", channels)
        b.append(f"relu{number}", "Relu")
        if pooled:
            b.pool(f"pool{number}")
    b.append("flatten", "Flatten")
    b.linear("fc1", 4096, 1024)
    b.append("relu6", "Relu")
    b.linear("fc2", 1024, 512)
    b.append("relu7", "Relu")
    b.linear("fc3", 512, 10)
    return b.graph()


def vgg16() -> LayerGraph:
    """Thirteen convolutions, two fully connected layers."""
    b = Builder(3, 32)
    for block, (channels, convs) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        for number in range(1, convs + 1):
            b.conv(f"conv{block}_{number}", channels)
            b.append(f"relu{block}_{number}", "Relu")
        b.pool(f"pool{block}")
    b.append("flatten", "Flatten")
    b.linear("fc1", 512, 512)
    b.append("relu6", "Relu")
    b.linear("fc2", 512, 10)
    return b.graph()


MOBILENETV2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first."""


def mobilenetv2(width: float = 0.75) -> LayerGraph:
    """Inverted residual blocks; the first convolution halves the sides."""
    b = Builder(3, 32)
    b.conv("stem", int(32 * width), stride=2)
    b.append("stem.relu", "Clip")
    for stage, (factor, channels, blocks, first) in enumerate(MOBILENETV2):
        for block in range(blocks):
            _inverted(b, f"block{stage}.{block}", factor, int(channels * width), first if block == 0 else 1)
    b.conv("last", 1280, kernel=1)
    b.append("last.relu", "Clip")
    b.append("mean", "GlobalAveragePool")
    b.append("flatten", "Flatten")
    b.linear("fc", 1280, 10)
    return b.graph()


def _inverted(b: Builder, name: str, factor: int, channels: int, stride: int) -> None:
    before, start = b.channels, b.tensor
    hidden = before * factor
    if factor != 1:
        b.conv(f"{name}.expand", hidden, kernel=1)
        b.append(f"{name}.relu1", "Clip")
    b.conv(f"{name}.depthwise", hidden, stride=stride, groups=hidden)
    b.append(f"{name}.relu2", "Clip")
    b.conv(f"{name}.project", channels, kernel=1)
    if stride == 1 and before == channels:
        b.append(f"{name}.add", "Add", start)


def resnet(blocks: int) -> LayerGraph:
    """Three stages of so many blocks; shortcuts without weights."""
    b = Builder(3, 32)
    b.conv("conv1", 16)
    b.append("relu1", "Relu")
    for stage, channels in enumerate([16, 32, 64], 1):
        for block in range(blocks):
            name, start = f"layer{stage}.{block}", b.tensor
            b.conv(f"{name}.conv1", channels, stride=2 if stage > 1 and block == 0 else 1)
            b.append(f"{name}.relu1", "Relu")
            b.conv(f"{name}.conv2", channels)
            b.append(f"{name}.add", "Add", start)
            b.append(f"{name}.relu2", "Relu")
    b.append("mean", "GlobalAveragePool")
    b.append("flatten", "Flatten")
    b.linear("linear", 64, 10)
    return b.graph()


NETWORKS: Mapping[str, Callable[[], LayerGraph]] = {
    "AlexNet": alexnet,
    "VGG16": vgg16,
    "MobileNetV2": mobilenetv2,
    "ResNet8": lambda: resnet(1),
    "ResNet20": lambda: resnet(3),
}
