"""Convolutions on tiles whose DACs have one range for all vectors: the image is quantised once, not every window.

With a static range, or none, an input has the same code in every window that holds it. So a row split's products are
the digital convolution of the image's codes with the programmed weights, which onnxruntime computes about as fast as
the digital layer; noise, rounding and scaling follow on all samples of a unit. A row split takes whole rows of the
unfolded matrix: where it begins or ends inside a channel, the channel's other weights are zero.

That is for machines that quantise and do not read a saturating vector again; the others, and the parity gate, unfold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from lhc.conductances import Floats
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.kernels import quantise_channels, scale_planes
from lhc.runtime.ort import create_session
from lhc.runtime.rowsplit import Noise, RowSplit
from lhc.runtime.stream import Unit
from lhc.runtime.unfold import padded
from lhc.runtime.vectors import windows

__all__ = ["FixedRangeConv"]

Flags = npt.NDArray[np.bool_]

_ALIGNED = 4
"""onnxruntime's fast convolution wants a multiple of so many input channels."""


@dataclass(frozen=True, eq=False)
class _Part:
    """What one row split takes of the image.

    Attributes:
        split: its tiles.
        first, stop: channels of a group whose codes are computed.
        whole_first, whole_stop: those of which it takes every tap.
        factor: from inputs to codes.
        limit: greatest magnitude of a code.
    """

    split: RowSplit
    first: int
    stop: int
    whole_first: int
    whole_stop: int
    factor: np.float32
    limit: np.float32

    @classmethod
    def of(cls, split: RowSplit, channels: int, taps: int, groups: int) -> "_Part":
        """The part of a row split, of an image of so many channels a group."""
        first, stop = split.start // taps, -(-split.stop // taps)
        if groups == 1 and channels % _ALIGNED == 0:
            first, stop = first // _ALIGNED * _ALIGNED, -(-stop // _ALIGNED) * _ALIGNED
        return cls(split, first, stop, -(-split.start // taps), split.stop // taps, *split.input_codes(1.0))

    def kernel(self, geometry: ConvGeometry, taps: int) -> Floats:
        """Weights, ``(groups · chips · outputs of a group, channels, *kernel)``."""
        weights = self.split.weights.numpy()
        result = np.zeros((*weights.shape[:2], (self.stop - self.first) * taps), np.float32)
        begin = self.split.start - self.first * taps
        result[:, :, begin : begin + weights.shape[2]] = weights
        return result.reshape(-1, self.stop - self.first, *geometry.kernel)

    def codes(self, x: Floats) -> tuple[Floats, Flags]:
        """Codes of ``(samples, groups, channels, places)``, and which samples have no zero in all whole channels."""
        samples, groups, _, places = x.shape
        codes = np.empty((samples, groups, self.stop - self.first, places), np.float32)
        driven = np.empty(samples, np.bool_)
        numbers = (self.factor, self.split.io.input_shift, self.limit)
        quantise_channels(x, self.first, self.whole_first, self.whole_stop, *numbers, codes, driven)
        return codes, driven


class FixedRangeConv:
    """A convolution's matrix as several chips hold it, for images of any size."""

    def __init__(self, splits: Sequence[RowSplit], geometry: ConvGeometry, noise: Callable[[Unit], Noise]) -> None:
        """Prepare one onnxruntime session for all row splits.

        Args:
            splits: tiles of all chips.
            geometry: of the convolution.
            noise: of a unit.
        """
        self._noise = noise
        self._geometry = geometry
        self._taps = prod(geometry.kernel)
        self._channels = splits[-1].stop // self._taps
        self._parts = [_Part.of(split, self._channels, self._taps, geometry.groups) for split in splits]
        kernels = [part.kernel(geometry, self._taps) for part in self._parts]
        self._session = create_session(_model(kernels, geometry), "convolution of codes")

    def outputs(self, items: torch.Tensor, unit: Unit, out: Floats) -> None:
        """See `Convolution`."""
        samples, groups, sizes = out.shape[1], self._geometry.groups, tuple(items.shape[2:])
        positions = prod(out.shape[3:])
        first = unit.wanted.start // positions
        x = items.numpy()[first : first + samples]
        channels = x.reshape(samples, groups, self._channels, -1)
        driven, noise = [part.codes(channels) for part in self._parts], self._noise(unit)
        feeds = {f"x{n}": self._fed(codes.reshape(samples, -1, *sizes)) for n, (codes, _) in enumerate(driven)}
        results: list[Floats] = self._session.run(None, feeds)
        for part, z, (_, flags) in zip(self._parts, results, driven, strict=True):
            split, planes = part.split, z.reshape(samples * groups, -1, positions)
            if split.offsets is not None:
                grouped = planes.reshape(samples, groups, -1, positions)
                grouped += split.offsets[..., None]
            if noise.read(planes, split, first * groups):
                np.clip(planes, -split.io.output_clip, split.io.output_clip, out=planes)
            mask = self._mask(x, part, flags & _reach_image(self._geometry, sizes))
            rows = split.scales.shape[1] // split.chips
            for chip, target in enumerate(out.reshape(split.chips, samples * groups, rows, positions)):
                scales = split.scales[:, chip * rows : (chip + 1) * rows]
                scale_planes(planes, chip * rows, scales, mask, split.number > 0, target)

    def _fed(self, codes: Floats) -> Floats:
        """With the padding that the size of the image decides; onnxruntime pads by itself where it is given."""
        return codes if self._geometry.explicit else padded(torch.from_numpy(codes), self._geometry).numpy()

    def _mask(self, x: Floats, part: _Part, driven: Flags) -> Floats | None:
        """0 for vectors of zeros, 1 for others, ``(samples · groups, positions)``; None where there are none."""
        if driven.all():
            return None
        geometry, sizes = self._geometry, x.shape[2:]
        image = padded(torch.from_numpy(x[~driven]), geometry)
        peaks = windows(image, geometry, geometry.groups).peaks(part.split.start, part.split.stop)
        out = geometry.output_sizes(sizes)
        mask = np.ones((len(x), geometry.groups, prod(out)), np.float32)
        mask[~driven] = (peaks != 0).reshape(geometry.groups, -1, prod(out)).swapaxes(0, 1)
        return mask.reshape(-1, prod(out))


@lru_cache(maxsize=512)
def _reach_image(geometry: ConvGeometry, sizes: tuple[int, ...]) -> bool:
    """Whether no window lies wholly in the padding."""
    peaks = windows(padded(torch.ones(1, 1, *sizes), geometry), geometry, 1).peaks(0, prod(geometry.kernel))
    return bool(peaks.all())


def _model(kernels: Sequence[Floats], geometry: ConvGeometry) -> onnx.ModelProto:
    """One Conv per row split, from ``x0``, ``x1``, … ."""
    before, after = zip(*geometry.pads, strict=True)
    pads = (*before, *after) if geometry.explicit else (0,) * 2 * len(before)
    attributes: dict[str, Any] = {"strides": geometry.strides, "dilations": geometry.dilations}
    attributes |= {"pads": pads, "group": geometry.groups}
    names = range(len(kernels))
    nodes = [onnx.helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"z{n}"], **attributes) for n in names]
    kind = onnx.TensorProto.FLOAT
    shape = [None] * (2 + len(geometry.kernel))
    graph = onnx.helper.make_graph(
        nodes,
        "codes",
        [onnx.helper.make_tensor_value_info(f"x{n}", kind, shape) for n in names],
        [onnx.helper.make_tensor_value_info(f"z{n}", kind, shape) for n in names],
        [onnx.numpy_helper.from_array(kernel, f"w{n}") for n, kernel in enumerate(kernels)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
