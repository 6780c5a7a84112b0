"""Normal deviates for output noise, from a generator that can be asked for any place of its stream.

Bits come from Threefry-2x32 with 13 rounds (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011): a bijection of a counter under a key, which passes BigCrush and vectorises. The key of a place is made by the
same function from the stream's key and the place's address, as JAX splits its keys.

A deviate is one of 16,384 levels, chosen by 14 bits (output noise of products: 8,192, by 13): the means of the normal
distribution between its quantiles k / 16,384, scaled to unit variance. Its distribution function differs from the
normal one by at most 2^-15 (2^-14), and no deviate lies beyond 4.1 (3.9) standard deviations; output noise is rounded
to ADC codes of about that deviation afterwards. Where it is so much smaller than a code that only its tails are seen,
the three bits that are left of a deviate's 16 divide the outermost level, and deviates end at 4.4.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from lhc.conductances import Floats
from lhc.runtime.compiled_code import compiled
from lhc.runtime.lanes import LANES, numbered, spread_word
from lhc.runtime.spans import span, stored

__all__ = [
    "COUNTERS",
    "LEVEL_SHIFT",
    "TAIL",
    "NoiseStream",
    "Words",
    "fill_words",
    "half_levels",
    "normal_levels",
    "tailed_levels",
    "threefry",
    "threefry_lanes",
]

Words = npt.NDArray[np.uint32]

_WORD = 0xFFFFFFFF
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_LEVELS = 2**14
LEVEL_SHIFT = 2
"""Of the 16 bits drawn for a deviate, the lowest ones are left out."""
TAIL = 8
"""Parts of the outermost level of output noise, where its tails matter."""
COUNTERS = 1024
"""Counters that are used up together: their words stay in the first-level cache."""


@lru_cache(maxsize=64)
def normal_levels(std: float, count: int = _LEVELS) -> Floats:
    """The levels of a standard deviation, ``(count,)``."""
    quantiles = scipy.special.ndtri(np.linspace(0, 1, count + 1))
    # The mean between two quantiles is the difference of the densities there over the share between them.
    means = -np.diff(np.exp(-(quantiles**2) / 2)) * count / np.sqrt(2 * np.pi)
    return np.asarray(means * (std / np.sqrt(np.mean(means**2))), np.float32)


def half_levels(std: float) -> Floats:
    """Those of 8,192 levels that are above 0, ``(4096,)``: few enough for the first-level cache."""
    return normal_levels(std, _LEVELS // 2)[_LEVELS // 4 :]


def tailed_levels(std: float) -> Floats:
    """The same with the outermost one in `TAIL` parts, ``(4095 + TAIL,)``."""
    return np.append(half_levels(std)[:-1], normal_levels(std, _LEVELS // 2 * TAIL)[-TAIL:])


def _mixed(x: Any, y: Any, bits: int) -> tuple[Any, Any]:
    """One round of Threefry."""
    x = (x + y) & _WORD
    return x, ((y << bits | y >> (32 - bits)) & _WORD) ^ x


def threefry(k0: int, k1: int, x: int, y: int) -> tuple[int, int]:
    """Threefry-2x32-13 of the counter ``(x, y)`` under the key ``(k0, k1)``."""
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x, y = (x + k0) & _WORD, (y + k1) & _WORD
    for round_ in range(13):
        x, y = _mixed(x, y, _ROTATIONS[round_ % 8])
        if round_ % 4 == 3:
            step = round_ // 4 + 1
            x, y = (x + keys[step % 3]) & _WORD, (y + keys[(step + 1) % 3] + step) & _WORD
    return x, y


@compiled(inline="always")
def _mixed_lanes(x: Any, y: Any, bits: int) -> tuple[Any, Any]:
    x = x + y
    return x, ((y << spread_word(np.uint32(bits))) | (y >> spread_word(np.uint32(32 - bits)))) ^ x


@compiled(inner=True)
def threefry_lanes(k0: Any, k1: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """`lhc.runtime.normals.threefry` of a key and a counter in every lane."""
    k2 = k0 ^ k1 ^ spread_word(np.uint32(0x1BD11BDA))
    x, y = x + k0, y + k1
    x, y = _mixed_lanes(x, y, 13)
    x, y = _mixed_lanes(x, y, 15)
    x, y = _mixed_lanes(x, y, 26)
    x, y = _mixed_lanes(x, y, 6)
    x, y = x + k1, y + k2 + spread_word(np.uint32(1))
    x, y = _mixed_lanes(x, y, 17)
    x, y = _mixed_lanes(x, y, 29)
    x, y = _mixed_lanes(x, y, 16)
    x, y = _mixed_lanes(x, y, 24)
    x, y = x + k2, y + k0 + spread_word(np.uint32(2))
    x, y = _mixed_lanes(x, y, 13)
    x, y = _mixed_lanes(x, y, 15)
    x, y = _mixed_lanes(x, y, 26)
    x, y = _mixed_lanes(x, y, 6)
    x, y = x + k0, y + k1 + spread_word(np.uint32(3))
    return _mixed_lanes(x, y, 17)


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
    k0, k1, y = spread_word(key[0]), spread_word(key[1]), spread_word(np.uint32(line))
    target, few = span(words), np.empty(LANES, np.uint32)
    for n in range(0, count, LANES):
        # The last ones overlap those before them.
        place = max(min(n, count - LANES), 0)
        w0, w1 = threefry_lanes(k0, k1, numbered(np.uint32(first + place)), y)
        if count >= LANES:
            stored(target, place, w0)
            stored(target, count + place, w1)
        else:
            # One by one: numba takes a second to compile an assignment of a slice.
            stored(span(few), 0, w0)
            for i in range(count):
                words[i] = few[i]
            stored(span(few), 0, w1)
            for i in range(count):
                words[count + i] = few[i]


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
