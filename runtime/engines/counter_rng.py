"""Normal deviates for output noise, from a generator that can be asked for any place of its stream.

Bits come from Threefry-2x32 with 13 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011): a bijection of a counter under a key, which passes BigCrush and vectorises. The key of a place is made by the
same function from the stream's key and the place's address, as JAX splits its keys.

A deviate is one of 65,536 levels, chosen by 16 bits: the means of the normal distribution between its quantiles
k / 65,536, scaled to unit variance. None lies beyond 4.4 standard deviations. The levels come from polynomials, one of
degree 4 for every octave of the share of the distribution that lies further out, whose coefficients are 16 numbers in a
register. They go through some levels, and lie within 4e-5 standard deviations of the others; the distribution function
differs from the normal one by at most 2^-15.

Key and counter of every output's noise make a chip the same chip under every engine. The key of a matrix on a chip
follows from seed, devices, draw and read (`noise_streams`), that of a row of tiles from `row_address`, that of a sample
in a round of bound management from both (`sample_keys`). A counter has the place of the vector in its sample, and the
number of four outputs: words have quarters, the upper halves of both, then the lower ones, and every output has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from lhc.programmed_matrix import Floats, ProgrammedMatrix
from lhc.seeds import device_entropy

Words = npt.NDArray[np.uint32]

_WORD = 0xFFFFFFFF
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
LEVELS = 2**16
OCTAVES, _TERMS = 16, 5
"""Parts of the half of a distribution, and coefficients of the polynomial of each."""


@lru_cache(maxsize=64)
def normal_levels(std: float) -> Floats:
    """The levels of a standard deviation, ``(LEVELS,)``."""
    quantiles = scipy.special.ndtri(np.linspace(0, 1, LEVELS + 1))
    # The mean between two quantiles is the difference of the densities there over the share between them.
    means = -np.diff(np.exp(-(quantiles**2) / 2)) * LEVELS / np.sqrt(2 * np.pi)
    return np.asarray(means * (std / np.sqrt(np.mean(means**2))), np.float32)


@lru_cache(maxsize=64)
def deviate_terms(std: float) -> Floats:
    """Coefficients of the polynomials of `deviates` for a standard deviation, ``(5 · 16,)``."""
    levels = -normal_levels(1.0)[: 2**15].astype(np.float64)
    terms = np.zeros((_TERMS, OCTAVES))
    for octave in range(OCTAVES):
        size, count = 2**octave, min(_TERMS, max(1, 2**octave // 2))
        # Where Chebyshev's polynomial is 0, the error of one that goes through them is nearly the least.
        ends = np.cos((np.arange(count) + 0.5) * np.pi / count)
        places = size // 2 + np.rint((size - size // 2 - 1) * (1 - ends) / 2).astype(np.int64)
        powers = np.vander((2 * places + 1) / size, count, increasing=True)
        # The exponent of a number is written with 127 added to it.
        terms[:count, (octave + 127) % OCTAVES] = np.linalg.solve(powers, levels[places]) / size ** np.arange(count)
    return np.asarray(std * terms, np.float32).reshape(-1)


def _mixed(x: Any, y: Any, bits: int) -> tuple[Any, Any]:
    """One round of Threefry."""
    x = (x + y) & _WORD
    return x, ((y << bits | y >> (32 - bits)) & _WORD) ^ x


def threefry(k0: Any, k1: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Threefry-2x32-13 of the counter ``(x, y)`` under the key ``(k0, k1)``: integers, or tensors of 64-bit ones."""
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x, y = (x + k0) & _WORD, (y + k1) & _WORD
    for round_ in range(13):
        x, y = _mixed(x, y, _ROTATIONS[round_ % 8])
        if round_ % 4 == 3:
            step = round_ // 4 + 1
            x, y = (x + keys[step % 3]) & _WORD, (y + keys[(step + 1) % 3] + step) & _WORD
    return x, y


def deviate_table(terms: Floats) -> Floats:
    """Deviates for all upper halves of a word, ``(65536,)``."""
    upper = np.arange(2**16)
    tail = np.asarray((upper & 0x7FFF) << 1 | 1, np.float32)
    octave = tail.view(np.uint32) >> 23 & (OCTAVES - 1)
    value = terms[4 * OCTAVES + octave]
    for term in range(_TERMS - 2, -1, -1):  # a product of single precision is exact in double: rounded once, as there
        value = (value.astype(np.float64) * tail + terms[term * OCTAVES + octave]).astype(np.float32)
    return np.asarray(np.where(upper >> 15, -value, value), np.float32)


class NoiseStream:
    """A stream of random words."""

    def __init__(self, entropy: np.random.SeedSequence) -> None:
        """``entropy`` fixes all of them."""
        first, second = entropy.generate_state(2, np.uint32).tolist()
        self._key = (first, second)

    def key(self, address: int) -> Words:
        """The key of one place, ``(2,)``; ``address`` has up to 128 bits."""
        high, low = address >> 64, address & 0xFFFFFFFFFFFFFFFF
        x, y = threefry(*self._key, high >> 32, high & _WORD)
        return np.array(threefry(x, y, low >> 32, low & _WORD), np.uint32)


Integers = npt.NDArray[np.int64]

LEAST_BY_ROWS = 2**16
"""Weights of a matrix from which on products with rows number their outputs in blocks of `COUNTERS`."""
COUNTERS = 32
"""Counters of such a block: the four outputs of each are so many apart."""
_SEGMENT = 2**16
"""Counters of a segment of such a matrix."""


def by_rows(weights: int) -> bool:
    """Whether a matrix of so many weights has its outputs in blocks where it multiplies rows."""
    return weights >= LEAST_BY_ROWS


def noise_streams(matrix: ProgrammedMatrix, seed: int, draws: Sequence[int]) -> list[NoiseStream]:
    """The noise of a matrix on some chips."""
    reads = (matrix.read,) if matrix.read else ()
    return [NoiseStream(device_entropy(seed, matrix.devices, draw, "noise", *reads)) for draw in draws]


def row_address(use: int, row: int) -> int:
    """Address of a row of tiles in a stream, and of its read where inputs are sliced, for a use of the devices.

    The lower 12 bits of the row stand below the use, the others above the 64 bits of both.
    """
    return (row >> 12 << 64) + (use << 12) + (row & 0xFFF)


def sample_keys(k0: Any, k1: Any, round_: int, low: Any, high: Any) -> tuple[Any, Any]:
    """Keys of samples in a round of bound management, from that of a row of tiles; arrays or tensors of 64 bits.

    Args:
        low, high: words of the samples' numbers.
    """
    return threefry(*threefry(k0, k1, round_, high), low & _WORD, 0)


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
