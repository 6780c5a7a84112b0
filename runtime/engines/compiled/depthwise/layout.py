"""How the vectors of one channel of a convolution are numbered, and the memory that a call of its kernel works in.

A vector has the number that `channel_layout` gives; numbers at the ends of lines stand for no vector.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.engines.compiled.depthwise.channel_layout import ChannelPlaces, channel_places
from lhc.runtime.engines.compiled.kernels.tile import PackedTiles
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.counter_rng import Words

__all__ = ["QUEUE", "DepthwiseMemory", "DepthwisePlaces", "depthwise_memory", "depthwise_places"]

Integers = npt.NDArray[np.int64]

QUEUE = 2 * LANES
"""Vectors that have a place in a queue of repeated reads."""


class DepthwisePlaces(NamedTuple):
    """Vectors of one channel; spatial axes are one.

    Attributes:
        channel: where it lies.
        positions: of every number its place among the outputs, ``(numbers,)``, whole blocks of `LANES`.
        out_lines: number of the first vector of each line of the output, ``(lines,)``.
        out_width: of such a line.
        queued: of every input in a queue of repeated reads, as offsets in a channel, ``(taps,)``.
    """

    channel: ChannelPlaces
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
    channel, out = channel_places(geometry, sizes), geometry.output_sizes(sizes)
    positions = np.zeros(-(-(int(channel.vectors[-1]) + 1) // LANES) * LANES, np.uint32)
    positions[channel.vectors] = np.arange(len(channel.vectors))
    return DepthwisePlaces(
        channel=channel,
        positions=positions,
        out_lines=channel.vectors[:: out[-1]].copy(),
        out_width=out[-1],
        queued=np.arange(len(channel.offsets)) * QUEUE,
    )


def depthwise_memory(places: DepthwisePlaces, tiles: PackedTiles) -> DepthwiseMemory:
    """For one call."""
    chips, rounds, taps = tiles.places.shape[0], tiles.factors.shape[1], len(places.channel.offsets)
    return DepthwiseMemory(
        # Blocks of vectors end behind it.
        np.zeros(places.channel.size + LANES, np.float32),
        np.empty(len(places.positions), np.float32),
        np.empty(LANES, np.float32),
        np.zeros(rounds * (taps + 1) * QUEUE, np.float32),
        np.zeros(rounds * 2 * QUEUE, np.uint32),
        np.zeros(rounds, np.int64),
        np.empty(chips * rounds * 2 * LANES, np.uint32),
    )
