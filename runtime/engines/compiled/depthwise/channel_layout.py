"""Where one channel of an image lies, so that all inputs of neighbouring vectors of a convolution lie side by side.

A channel is padded and cut into *phases*: with strides s, place p of an axis becomes place ``p // s`` of phase
``p % s``; phases that no tap of the kernel reads are left out. The inputs that a tap gives to the vectors of a line
then follow each other, whatever the strides. A vector is numbered by where its first input lies in the first phase.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.onnx_io.operators.matrix_product import ConvGeometry

__all__ = ["ChannelPlaces", "channel_places"]

Integers = npt.NDArray[np.int64]


class ChannelPlaces(NamedTuple):
    """Places in one channel; spatial axes are one.

    Attributes:
        moved: whether it lies otherwise than in the image: padded, or in phases.
        size: of the channel.
        offsets: of every input of a vector from its number, ``(taps,)``.
        vectors: their numbers, ``(positions,)``.
        lines: where the first phase of each line of the image's last axis begins, ``(lines,)``; -1 where no tap reads
            the line.
        width: of such a line.
        before: places of padding in front of it.
        phases: number of every phase of that axis, ``(stride,)``; -1 where no tap reads it.
        phase: places from one of them to the next.
    """

    moved: bool
    size: int
    offsets: Integers
    vectors: Integers
    lines: Integers
    width: int
    before: int
    phases: Integers
    phase: int


@lru_cache(maxsize=256)
def channel_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> ChannelPlaces:
    """Places in a channel of these sizes; ``geometry`` crops nothing."""
    pads, out, strides = geometry.padding(sizes), geometry.output_sizes(sizes), geometry.strides
    taps = [np.arange(k) * d for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    numbers = [_numbers(places % stride, stride) for places, stride in zip(taps, strides, strict=True)]
    spans = [size + before + after for size, (before, after) in zip(sizes, pads, strict=True)]
    phase = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]

    def placed(axes: Sequence[Integers]) -> Integers:
        """Offsets of all combinations of places along the axes."""
        of_phase, inside, read = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.bool_)
        for places, stride, number, size in zip(axes, strides, numbers, phase, strict=True):
            found = number[places % stride]
            of_phase = (of_phase[:, None] * (number.max() + 1) + found).reshape(-1)
            inside = (inside[:, None] * size + places // stride).reshape(-1)
            read = (read[:, None] & (found >= 0)).reshape(-1)
        return np.where(read, of_phase * prod(phase) + inside, -1)

    lines = [np.arange(size) + before for size, (before, _) in zip(sizes, pads, strict=True)]
    return ChannelPlaces(
        moved=any(map(any, pads)) or any(stride > 1 for stride in strides),
        size=prod(int(number.max()) + 1 for number in numbers) * prod(phase),
        offsets=placed(taps),
        vectors=placed([np.arange(size) * stride for size, stride in zip(out, strides, strict=True)]),
        lines=placed([*lines[:-1], np.zeros(1, np.int64)]),
        width=sizes[-1],
        before=pads[-1][0],
        phases=numbers[-1],
        phase=prod(phase),
    )


def _numbers(read: Integers, stride: int) -> Integers:
    """Number of every phase of an axis; -1 for those that are not read."""
    found, some = np.full(stride, -1), np.unique(read)
    found[some] = np.arange(len(some))
    return found
