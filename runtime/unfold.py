r"""im2col: the input vectors of a convolution, for any number of spatial axes.

A Conv with kernel k, stride s, dilation d and pads p is one product per output position; its vector holds the
inputs under the kernel, channels first, as the weight (O, I/groups, \*k) is flattened.
"""

import torch
from torch import Tensor

from lhc.onnx_io.product import ConvGeometry

__all__ = ["padded", "turned", "window_layout"]


def turned(x: Tensor, columns: bool) -> Tensor:
    """A matrix with its vectors in the rows, which perhaps are its columns; and back."""
    return x.transpose(-1, -2) if columns else x


def padded(x: Tensor, geometry: ConvGeometry) -> Tensor:
    """The input ``(N, C, *spatial)`` of a convolution with its padding, contiguous."""
    pads = [p for axis in reversed(geometry.padding(tuple(x.shape[2:]))) for p in axis]
    return torch.nn.functional.pad(x, pads).contiguous() if any(pads) else x.contiguous()


def window_layout(image: Tensor, geometry: ConvGeometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All kernel windows as a view of a padded input: its shape ``(C, *kernel, N, *positions)`` and its strides."""
    batch, channel, *spatial = image.stride()
    steps = [stride * s for stride, s in zip(spatial, geometry.strides, strict=True)]
    taps = [stride * d for stride, d in zip(spatial, geometry.dilations, strict=True)]
    spans = [(k - 1) * d for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    axes = zip(image.shape[2:], spans, geometry.strides, strict=True)
    positions = [(size - span - 1) // stride + 1 for size, span, stride in axes]
    return (image.shape[1], *geometry.kernel, image.shape[0], *positions), (channel, *taps, batch, *steps)
