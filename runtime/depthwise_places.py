"""Where one channel of an image lies, so that all inputs of neighbouring vectors of a convolution lie side by side.

A channel is padded and cut into *phases*: with strides s, place p of an axis becomes place ``p // s`` of phase
``p % s``. The inputs that a tap of the kernel gives to the vectors of a line then follow each other, whatever the
strides. A vector is numbered by where its first input lies in the first phase; numbers at the ends of lines stand for
no vector.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.lanes import LANES
from lhc.runtime.normals import Words
from lhc.runtime.tile_kernels import PackedTiles

__all__ = ["QUEUE", "DepthwiseMemory", "DepthwisePlaces", "depthwise_memory", "depthwise_places"]

Integers = npt.NDArray[np.int64]

QUEUE = 2 * LANES
"""Vectors that have a place in a queue of repeated reads."""


class DepthwisePlaces(NamedTuple):
    """Places in one channel; spatial axes are one.

    Attributes:
        size: of the channel with its padding, in phases.
        offsets: of every input of a vector from its number, ``(taps,)``.
        lines: where the first phase of each line of the image's last axis begins, ``(lines,)``.
        width: of such a line.
        before: places of padding in front of it.
        stride: along it, and so its phases.
        phase: numbers from one of its phases to the next.
        positions: of every number its place among the outputs, ``(numbers,)``, whole blocks of `LANES`.
        out_lines: number of the first vector of each line of the output, ``(lines,)``.
        out_width: of such a line.
        queued: as offsets, in a queue of repeated reads.
    """

    size: int
    offsets: Integers
    lines: Integers
    width: int
    before: int
    stride: int
    phase: int
    positions: Words
    out_lines: Integers
    out_width: int
    queued: Integers


class DepthwiseMemory(NamedTuple):
    """Memory of a call.

    Attributes:
        channel: of one image; zeros in the padding.
        found: outputs by number, ``(numbers,)``.
        z: products of a block, ``(LANES,)``.
        queue: inputs and scale of the vectors that are read again, by round, ``(rounds, taps + 1, QUEUE)``.
        words: their numbers and counters of noise, ``(rounds, 2, QUEUE)``.
        counts: how many they are, ``(rounds,)``.
        keys: of an image's noise, ``(chips, rounds, 2, LANES)``.
    """

    channel: Floats
    found: Floats
    z: Floats
    queue: Floats
    words: Words
    counts: Integers
    keys: Words


@lru_cache(maxsize=256)
def depthwise_places(geometry: ConvGeometry, sizes: tuple[int, ...]) -> DepthwisePlaces:
    """Places in a channel of these sizes; ``geometry`` crops nothing."""
    pads, out, strides = geometry.padding(sizes), geometry.output_sizes(sizes), geometry.strides
    spans = [size + before + after for size, (before, after) in zip(sizes, pads, strict=True)]
    phase = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]

    def placed(axes: Sequence[npt.NDArray[np.int64]]) -> Integers:
        """Of all combinations of places along the axes."""
        of_phase, inside = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for places, stride, size in zip(axes, strides, phase, strict=True):
            of_phase = (of_phase[:, None] * stride + places % stride).reshape(-1)
            inside = (inside[:, None] * size + places // stride).reshape(-1)
        return of_phase * prod(phase) + inside

    taps = [np.arange(k) * d for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    lines = [np.arange(size) + before for size, (before, _) in zip(sizes, pads, strict=True)]
    vectors = placed([np.arange(size) * stride for size, stride in zip(out, strides, strict=True)])
    positions = np.zeros(-(-(int(vectors[-1]) + 1) // LANES) * LANES, np.uint32)
    positions[vectors] = np.arange(len(vectors))
    count = prod(geometry.kernel)
    return DepthwisePlaces(
        size=prod(strides) * prod(phase),
        offsets=placed(taps),
        lines=placed([*lines[:-1], np.zeros(1, np.int64)]),
        width=sizes[-1],
        before=pads[-1][0],
        stride=strides[-1],
        phase=prod(phase),
        positions=positions,
        out_lines=vectors[:: out[-1]].copy(),
        out_width=out[-1],
        queued=np.arange(count) * QUEUE,
    )


def depthwise_memory(places: DepthwisePlaces, tiles: PackedTiles) -> DepthwiseMemory:
    """For one call."""
    chips, rounds, taps = tiles.places.shape[0], tiles.factors.shape[1], len(places.offsets)
    return DepthwiseMemory(
        # Blocks of vectors end behind it.
        np.zeros(places.size + LANES, np.float32),
        np.empty(len(places.positions), np.float32),
        np.empty(LANES, np.float32),
        np.zeros(rounds * (taps + 1) * QUEUE, np.float32),
        np.zeros(rounds * 2 * QUEUE, np.uint32),
        np.zeros(rounds, np.int64),
        np.empty(chips * rounds * 2 * LANES, np.uint32),
    )
