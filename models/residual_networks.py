"""PyTorch definition of residual networks for small images (He et al., CVPR 2016, section 4.2).

A 3x3 convolution, then stages of blocks of two 3x3 convolutions, global average pooling and one linear layer.
Every stage after the first halves height and width in its first block. Shortcuts have no weights ("option A"):
where a block changes the shape, every second pixel is taken and the missing channels are zeros, half of them
before and half behind. ResNet20 for CIFAR-10 has widths 16, 32, 64 and three blocks a stage.

`ExpandingNet` has the same frame with the blocks of EfficientNetV2's first stages (fused MBConv; Tan and Le, ICML
2021): wide inside, narrow between them.

Imports torch when it is loaded; entries of the zoo import this module when they build a network.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)
Pairs = tuple[tuple[str, str], ...]


class ResidualBlock(nn.Module):
    """``relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))``."""

    normed: ClassVar[Pairs] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int, width: int, stride: int) -> None:
        """A block from ``channels`` to ``width`` channels; a stride of 2 halves height and width."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.stride = stride
        self.missing = width - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, channels, h, w) -> (n, width, h / stride, w / stride)``."""
        residual = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(residual + self._shortcut(x))

    def _shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.missing:
            before = self.missing // 2
            x = functional.pad(x, (0, 0, 0, 0, before, self.missing - before))
        return x


class _StagedNet(nn.Module):
    """A 3x3 convolution, stages ``layer1``, ``layer2``, ... of blocks, global average pooling and one linear layer."""

    normed: ClassVar[Pairs] = (("conv1", "bn1"),)

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        classes: int,
        block: Callable[[int, int, int], nn.Module],
    ) -> None:
        """A network for images of ``channels`` channels.

        Args:
            widths: channels between the blocks of each stage; the first convolution has those of the first.
            block: makes one from channels in, channels out and stride.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        before = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = block(before, width, 1 if stage == 0 else 2)
            rest = [block(width, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            before = width
        self.linear = nn.Linear(before, classes)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits from the first convolution's output."""
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: torch.Tensor = self.linear(x.mean((2, 3)))
        return logits


class ResidualNet(_StagedNet):
    """The whole network; ``layer1``, ``layer2``, ... are its stages, of so many blocks each."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, classes: int) -> None:
        """See `_StagedNet`."""
        super().__init__(channels, widths, [blocks] * len(widths), classes, ResidualBlock)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(n, channels, h, w)`` to logits ``(n, classes)``."""
        return self._logits(functional.relu(self.bn1(self.conv1(x))))


class SmallBlock(nn.Module):
    """``relu(shortcut(x) + conv2(relu(conv1(x))))`` with biases and no batch-norms; the shortcut is a 1x1 convolution.

    Where height and width are halved, what is padded lies behind (Keras: "same").
    """

    def __init__(self, channels: int, width: int) -> None:
        """A block from ``channels`` to ``width`` channels; it halves height and width where these differ."""
        super().__init__()
        self.halves = channels != width
        self.conv1 = nn.Conv2d(channels, width, 3, 2 if self.halves else 1, 0 if self.halves else 1)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.shortcut: nn.Module = nn.Conv2d(channels, width, 1, 2) if self.halves else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, channels, h, w) -> (n, width, h, w)``, or half of h and w."""
        padded = functional.pad(x, (0, 1, 0, 1)) if self.halves else x
        residual = self.conv2(functional.relu(self.conv1(padded)))
        return functional.relu(residual + self.shortcut(x))


class SmallResidualNet(nn.Module):
    """A 3x3 convolution, one `SmallBlock` a width, global average pooling and one linear layer."""

    def __init__(self, channels: int, widths: Sequence[int], classes: int) -> None:
        """A network for images of ``channels`` channels; the first convolution has ``widths[0]``."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1)
        self.blocks = len(widths)
        for number, (before, width) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True)):
            self.add_module(f"block{number + 1}", SmallBlock(before, width))
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(n, channels, h, w)`` to logits ``(n, classes)``."""
        x = functional.relu(self.conv1(x))
        for number in range(self.blocks):
            x = self.get_submodule(f"block{number + 1}")(x)
        logits: torch.Tensor = self.linear(x.mean((2, 3)))
        return logits


class ExpandingBlock(nn.Module):
    """``shortcut(x) + bn2(project(relu(bn1(expand(x)))))``: a 3x3 convolution to many channels, a 1x1 one to few."""

    normed: ClassVar[Pairs] = (("expand", "bn1"), ("project", "bn2"))

    def __init__(self, channels: int, width: int, stride: int, expanded: int) -> None:
        """A block from ``channels`` to ``width`` channels over ``expanded``; a shortcut only where the shape stays."""
        super().__init__()
        self.expand = nn.Conv2d(channels, expanded, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(expanded)
        self.project = nn.Conv2d(expanded, width, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(width)
        self.adds = channels == width and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, channels, h, w) -> (n, width, h / stride, w / stride)``."""
        y: torch.Tensor = self.bn2(self.project(functional.relu(self.bn1(self.expand(x)))))
        return x + y if self.adds else y


class ExpandingNet(_StagedNet):
    """The same frame with expanding blocks, ``expanded`` channels inside every one."""

    def __init__(
        self, channels: int, widths: Sequence[int], blocks: Sequence[int], expanded: int, classes: int
    ) -> None:
        """See `_StagedNet`."""
        super().__init__(channels, widths, blocks, classes, partial(ExpandingBlock, expanded=expanded))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(n, channels, h, w)`` to logits ``(n, classes)``."""
        return self._logits(self.bn1(self.conv1(x)))


def fold_batch_norms(network: Network) -> Network:
    """A copy in evaluation mode whose batch-norms are folded into the convolutions before them.

    The modules of this file tell the pairs (``normed``); other modules stay as they are.
    """
    folded = deepcopy(network).eval()
    for module in folded.modules():
        for convolution, norm in getattr(module, "normed", ()):
            before, after = module.get_submodule(convolution), module.get_submodule(norm)
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(module, convolution, fuse_conv_bn_eval(before, after))
                setattr(module, norm, nn.Identity())
    return folded
