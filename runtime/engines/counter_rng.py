"""Normal deviates for output noise, from a generator that can be asked for any place of its stream.

Bits come from Threefry-2x32 with 13 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011): a bijection of a counter under a key, which passes BigCrush and vectorises. The key of a place is made by the
same function from the stream's key and the place's address, as JAX splits its keys.

A deviate is one of 65,536 levels, chosen by 16 bits: the means of the normal distribution between its quantiles
k / 65,536, scaled to unit variance. None lies beyond 4.4 standard deviations. The levels come from polynomials, one of
degree 4 for every octave of the share of the distribution that lies further out, whose coefficients are 16 numbers in a
register. They go through some levels, and lie within 4e-5 standard deviations of the others; the distribution function
differs from the normal one by at most 2^-15.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from lhc.programmed_matrix import Floats

__all__ = [
    "LEVELS",
    "OCTAVES",
    "NoiseStream",
    "Words",
    "deviate_table",
    "deviate_terms",
    "normal_levels",
    "threefry",
]

Words = npt.NDArray[np.uint32]

_WORD = 0xFFFFFFFF
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
LEVELS = 2**16
OCTAVES, _TERMS = 16, 5
"""Parts of the half of a distribution, and coefficients of the polynomial of each."""


@lru_cache(maxsize=64)
def normal_levels(std: float, count: int = LEVELS) -> Floats:
    """The levels of a standard deviation, ``(count,)``."""
    quantiles = scipy.special.ndtri(np.linspace(0, 1, count + 1))
    # The mean between two quantiles is the difference of the densities there over the share between them.
    means = -np.diff(np.exp(-(quantiles**2) / 2)) * count / np.sqrt(2 * np.pi)
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
