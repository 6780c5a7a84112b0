r"""im2col: the input vectors of a convolution, for any number of spatial axes.

A Conv with kernel k, stride s, dilation d and pads p is one product per output position; its vector holds the
inputs under the kernel, channels first, as the weight (O, I/groups, \*k) is flattened.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lhc.onnx_io.operators.matrix_product import ConvGeometry

_TOGETHER = 16
"""Samples whose magnitudes are taken together."""


def shared(values: npt.NDArray[Any]) -> Tensor:
    """Values as a tensor in the same memory, which is not to be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(np.asarray(values))


def turned(x: Tensor, columns: bool) -> Tensor:
    """A matrix with its vectors in the rows, which perhaps are its columns; and back."""
    return x.transpose(-1, -2) if columns else x


def padded(x: Tensor, geometry: ConvGeometry) -> Tensor:
    """The input ``(N, C, *spatial)`` of a convolution with its padding, contiguous."""
    pads = [p for axis in reversed(geometry.padding(tuple(x.shape[2:]))) for p in axis]
    return functional.pad(x, pads).contiguous() if any(pads) else x.contiguous()


def window_layout(image: Tensor, geometry: ConvGeometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All kernel windows as a view of a padded input: its shape ``(C, *kernel, N, *positions)`` and its strides."""
    batch, channel, *spatial = image.stride()
    steps = [stride * s for stride, s in zip(spatial, geometry.strides, strict=True)]
    taps = [stride * d for stride, d in zip(spatial, geometry.dilations, strict=True)]
    spans = [(k - 1) * d for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    axes = zip(image.shape[2:], spans, geometry.strides, strict=True)
    positions = [(size - span - 1) // stride + 1 for size, span, stride in axes]
    return (image.shape[1], *geometry.kernel, image.shape[0], *positions), (channel, *taps, batch, *steps)


def window_peaks(x: Tensor, geometry: ConvGeometry) -> Tensor:
    """Greatest magnitude in every window of an input, ``(N, groups, *positions)``."""
    grouped = x.reshape(len(x), geometry.groups, -1, *x.shape[2:])
    # The magnitudes of a few samples stay in the processor's cache.
    peaks = padded(torch.cat([some.abs().amax(2) for some in torch.split(grouped, _TOGETHER)]), geometry)
    for axis, (taps, step, stride) in enumerate(
        zip(geometry.kernel, geometry.dilations, geometry.strides, strict=True), 2
    ):
        peaks = _greatest(peaks, axis, taps, step)
        peaks = peaks[(*(slice(None),) * axis, slice(None, None, stride))]
    return peaks


def _greatest(values: Tensor, axis: int, taps: int, step: int) -> Tensor:
    """Greatest of ``taps`` values ``step`` apart, from every position along an axis, by doubling windows."""
    reach = 1
    while reach < taps:
        more = min(reach, taps - reach)
        size = values.shape[axis] - more * step
        values = torch.maximum(values.narrow(axis, 0, size), values.narrow(axis, more * step, size))
        reach += more
    return values
