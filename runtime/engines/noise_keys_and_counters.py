"""Key and counter of every output's noise, which make a chip the same chip under every engine.

The key of a matrix on a chip follows from seed, devices, draw and read (`noise_streams`), that of a row of tiles from
`row_address`, that of a sample in a round of bound management from both (`sample_keys`). A counter has the place of the
vector in its sample, and the number of four outputs: words have quarters, the upper halves of both, then the lower
ones, and every output has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime.engines.counter_rng import NoiseStream, threefry
from lhc.seeds import device_entropy

__all__ = [
    "COUNTERS",
    "LEAST_BY_ROWS",
    "OutputPlaces",
    "by_rows",
    "counters_of",
    "noise_streams",
    "row_address",
    "sample_keys",
    "segments_of",
]

Integers = npt.NDArray[np.int64]

LEAST_BY_ROWS = 2**16
"""Weights of a matrix from which on products with rows number their outputs in blocks of `COUNTERS`."""
COUNTERS = 32
"""Counters of such a block: the four outputs of each are so many apart."""
_SEGMENT = 2**16
"""Counters of a segment of such a matrix."""
_LOW = 0xFFFFFFFF


def by_rows(weights: int) -> bool:
    """Whether a matrix of so many weights has its outputs in blocks where it multiplies rows."""
    return weights >= LEAST_BY_ROWS


def noise_streams(matrix: ProgrammedMatrix, seed: int, draws: Sequence[int]) -> list[NoiseStream]:
    """The noise of a matrix on some chips."""
    reads = (matrix.read,) if matrix.read else ()
    return [NoiseStream(device_entropy(seed, matrix.devices, draw, "noise", *reads)) for draw in draws]


def row_address(use: int, row: int) -> int:
    """Address of a row of tiles in a stream, and of its read where inputs are sliced: 12 bits each."""
    return (use << 12) + row


def sample_keys(k0: Any, k1: Any, round_: int, low: Any, high: Any) -> tuple[Any, Any]:
    """Keys of samples in a round of bound management, from that of a row of tiles; arrays or tensors of 64 bits.

    Args:
        low, high: words of the samples' numbers.
    """
    return threefry(*threefry(k0, k1, round_, high), low & _LOW, 0)


def segments_of(matrix: ProgrammedMatrix) -> Integers:
    """First output of every group's segments and the number of its outputs behind, ``(groups, segments + 1)``.

    A segment is what a group has on one column of tiles.
    """
    ends = np.cumsum([0, *(len(tile.weights) for tile in matrix.tiles[0])])
    starts = np.arange(matrix.groups)[:, None] * matrix.outputs
    return np.asarray(np.clip(ends - starts, 0, matrix.outputs))


def counters_of(segments: Integers, blocks: bool) -> Integers:
    """First counter of every segment, ``(groups, segments)``; ``blocks``: see `by_rows`."""
    counts = np.diff(segments)
    used = np.full_like(counts, _SEGMENT) if blocks else -(-counts // 4)
    return np.asarray((np.cumsum(used) - used.reshape(-1)).reshape(used.shape))


@dataclass(frozen=True, eq=False)
class OutputPlaces:
    """Addresses of the noise of a matrix's outputs, and the columns of tiles that they lie on.

    Attributes:
        counters: all that are drawn from, ``(counters,)``.
        outputs: of every counter those whose noise its quarters are, ``(counters, 4)``; -1: of none.
        held: whether a segment holds an output, ``(groups, outputs, segments)``.
    """

    counters: Integers
    outputs: Integers
    held: npt.NDArray[np.float32]

    @classmethod
    def of(cls, matrix: ProgrammedMatrix, blocks: bool) -> "OutputPlaces":
        """Output places of a matrix; ``blocks`` as in `by_rows`."""
        segments = segments_of(matrix)
        group, segment = np.nonzero(np.diff(segments))
        pairs = list(zip(group, segment, strict=True))
        output = np.concatenate([np.arange(segments[g, s], segments[g, s + 1]) for g, s in pairs])
        sizes = np.diff(segments)[group, segment]
        group, segment = np.repeat(group, sizes), np.repeat(segment, sizes)
        apart, place = COUNTERS if blocks else 1, output - segments[group, segment]
        counter = counters_of(segments, blocks)[group, segment] + place // (4 * apart) * apart + place % apart
        counters, which = np.unique(counter, return_inverse=True)
        outputs = np.full((len(counters), 4), -1)
        outputs[which, place // apart % 4] = group * matrix.outputs + output
        held = np.zeros((matrix.groups, matrix.outputs, segments.shape[1] - 1), np.float32)
        held[group, output, segment] = 1
        return cls(counters, outputs, held)
