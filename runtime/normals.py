"""Normal deviates for output noise, from a generator that can be asked for any place of its stream.

Bits come from Threefry-2x32 with 13 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011): a bijection of a counter under a key, which passes BigCrush and vectorises. The key of a place is made by the
same function from the stream's key and the place's address, as JAX splits its keys.

A deviate is one of 16,384 levels, chosen by 14 bits: the means of the normal distribution between its quantiles
k / 16,384, scaled to unit variance. Its distribution function differs from the normal one by at most 2^-15, and no
deviate lies beyond 4.1 standard deviations; noise is rounded to ADC codes of about that deviation afterwards. A deviate
takes 0.8 ns on one core; Box and Muller's transform in vectorised torch operations took 4.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from lhc.conductances import Floats
from lhc.runtime.compiled_code import compiled

__all__ = ["COUNTERS", "LEVEL_SHIFT", "NoiseStream", "Words", "fill_words", "normal_levels", "threefry"]

Words = npt.NDArray[np.uint32]

_LEVELS = 2**14
LEVEL_SHIFT = 2
"""Of the 16 bits drawn for a deviate, the lowest ones are left out."""
COUNTERS = 1024
"""Counters that are used up together: their words stay in the first-level cache."""


@lru_cache(maxsize=64)
def normal_levels(std: float) -> Floats:
    """The levels of a standard deviation, ``(16384,)``."""
    quantiles = ndtri(np.linspace(0, 1, _LEVELS + 1))
    # The mean between two quantiles is the difference of the densities there over the share between them.
    means = -np.diff(np.exp(-(quantiles**2) / 2)) * _LEVELS / np.sqrt(2 * np.pi)
    return np.asarray(means * (std / np.sqrt(np.mean(means**2))), np.float32)


@compiled(inline="always")
def _mixed(x: np.uint32, y: np.uint32, bits: int) -> tuple[np.uint32, np.uint32]:
    """One round of Threefry; the casts keep numba from computing in 64 bits."""
    x = np.uint32(x + y)
    rotated = np.uint32(np.uint32(y << np.uint32(bits)) | np.uint32(y >> np.uint32(32 - bits)))
    return x, np.uint32(rotated ^ x)


@compiled(inline="always")
def threefry(k0: np.uint32, k1: np.uint32, x: np.uint32, y: np.uint32) -> tuple[np.uint32, np.uint32]:
    """Threefry-2x32-13 of the counter ``(x, y)`` under the key ``(k0, k1)``."""
    k2 = np.uint32(k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x, y = np.uint32(x + k0), np.uint32(y + k1)
    x, y = _mixed(x, y, 13)
    x, y = _mixed(x, y, 15)
    x, y = _mixed(x, y, 26)
    x, y = _mixed(x, y, 6)
    x, y = np.uint32(x + k1), np.uint32(y + np.uint32(k2 + np.uint32(1)))
    x, y = _mixed(x, y, 17)
    x, y = _mixed(x, y, 29)
    x, y = _mixed(x, y, 16)
    x, y = _mixed(x, y, 24)
    x, y = np.uint32(x + k2), np.uint32(y + np.uint32(k0 + np.uint32(2)))
    x, y = _mixed(x, y, 13)
    x, y = _mixed(x, y, 15)
    x, y = _mixed(x, y, 26)
    x, y = _mixed(x, y, 6)
    x, y = np.uint32(x + k0), np.uint32(y + np.uint32(k1 + np.uint32(3)))
    return _mixed(x, y, 17)


@compiled()
def fill_words(key: Words, line: int, first: int, words: Words) -> None:
    """Random words of the counters ``(first, line)`` to ``(first + n - 1, line)``.

    Args:
        key: ``(2,)``.
        line: second half of the counters.
        first: of the first halves.
        words: the result, ``(2 n,)``: first words of all counters, then second words.
    """
    count = len(words) // 2
    firsts, seconds = words[:count], words[count:]
    k0, k1, y = key[0], key[1], np.uint32(line)
    for n in range(count):
        firsts[n], seconds[n] = threefry(k0, k1, np.uint32(np.uint32(first) + np.uint32(n)), y)


@compiled()
def _derived(key: Words, a: int, b: int, c: int, d: int) -> Words:
    x, y = threefry(key[0], key[1], np.uint32(a), np.uint32(b))
    x, y = threefry(x, y, np.uint32(c), np.uint32(d))
    return np.array([x, y], np.uint32)


class NoiseStream:
    """A stream of random words."""

    def __init__(self, entropy: np.random.SeedSequence) -> None:
        """``entropy`` fixes all of them."""
        self._key = entropy.generate_state(2, np.uint32).astype(np.uint32)

    def key(self, address: int) -> Words:
        """The key of one place, ``(2,)``; ``address`` has up to 128 bits."""
        high, low = address >> 64, address & 0xFFFFFFFFFFFFFFFF
        return np.asarray(_derived(self._key, high >> 32, high & 0xFFFFFFFF, low >> 32, low & 0xFFFFFFFF))
