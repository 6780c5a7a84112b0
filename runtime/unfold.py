r"""im2col: the input vectors of a convolution, for any number of spatial axes.

A Conv with kernel k, stride s, dilation d and pads p is one product per output position; its vector holds the
inputs under the kernel, channels first, as the weight (O, I/groups, \*k) is flattened.
"""

import math
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor

__all__ = ["ConvGeometry"]


@dataclass(frozen=True)
class ConvGeometry:
    """Attributes of a Conv, one number per spatial axis (two for pads: before and after)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str
    groups: int

    @classmethod
    def of(cls, node: onnx.NodeProto, kernel: tuple[int, ...]) -> "ConvGeometry":
        """Attributes of a Conv node, with ONNX's defaults; ``kernel`` is the weight's spatial shape."""
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        axes = len(kernel)
        pads = list(values.get("pads", [0] * 2 * axes))
        return cls(
            kernel,
            tuple(values.get("strides", [1] * axes)),
            tuple(values.get("dilations", [1] * axes)),
            tuple(zip(pads[:axes], pads[axes:], strict=True)),
            values.get("auto_pad", b"NOTSET").decode(),
            values.get("group", 1),
        )

    @property
    def explicit(self) -> bool:
        """Whether the padding is that of `pads`, whatever the size of the input."""
        return self.auto_pad in ("NOTSET", "")

    def padding(self, sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Zeros before and after every spatial axis, for inputs of these sizes (ONNX Conv, auto_pad)."""
        if self.explicit:
            return self.pads
        if self.auto_pad == "VALID":
            return tuple((0, 0) for _ in sizes)
        result = []
        for size, k, s, d in zip(sizes, self.kernel, self.strides, self.dilations, strict=True):
            total = max(0, (math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size)
            less, more = total // 2, total - total // 2
            result.append((less, more) if self.auto_pad == "SAME_UPPER" else (more, less))
        return tuple(result)

    def output_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        return tuple(
            (size + before + after - (k - 1) * d - 1) // s + 1
            for size, (before, after), k, s, d in zip(
                sizes, self.padding(sizes), self.kernel, self.strides, self.dilations, strict=True
            )
        )

    def padded(self, x: Tensor) -> Tensor:
        """The input ``(N, C, *spatial)`` with its padding, contiguous."""
        pads = [p for axis in reversed(self.padding(tuple(x.shape[2:]))) for p in axis]
        return torch.nn.functional.pad(x, pads).contiguous() if any(pads) else x.contiguous()

    def windows(self, padded: Tensor, out: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Every kernel window as a view of the padded input, ``(C, *kernel, N, *out)``: its shape and its strides."""
        batch, channel, *spatial = padded.stride()
        steps = [stride * s for stride, s in zip(spatial, self.strides, strict=True)]
        taps = [stride * d for stride, d in zip(spatial, self.dilations, strict=True)]
        return (padded.shape[1], *self.kernel, padded.shape[0], *out), (channel, *taps, batch, *steps)
