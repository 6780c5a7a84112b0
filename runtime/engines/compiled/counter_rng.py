"""The counter-based generator of `lhc.runtime.engines.counter_rng` in every lane of a vector, compiled."""

from typing import Any

import numpy as np

from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import looked_up, number, put, seen_as, stored, stored_run
from lhc.runtime.engines.compiled.simd import LANES, bits, floats, fused, mixed, numbered, signed, spread_word
from lhc.runtime.engines.counter_rng import LEVEL_SHIFT, OCTAVES

__all__ = ["COUNTERS", "deviates", "draw_levels", "fill_words", "threefry_lanes"]

COUNTERS = 1024
"""Counters that are used up together: their words stay in the first-level cache."""


@compiled(inner=True)
def threefry_lanes(k0: Any, k1: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """`lhc.runtime.engines.counter_rng.threefry` of a key and a counter in every lane."""
    k2 = k0 ^ k1 ^ spread_word(np.uint32(0x1BD11BDA))
    x, y = x + k0, y + k1
    x, y = mixed(x, y, 13)
    x, y = mixed(x, y, 15)
    x, y = mixed(x, y, 26)
    x, y = mixed(x, y, 6)
    x, y = x + k1, y + k2 + spread_word(np.uint32(1))
    x, y = mixed(x, y, 17)
    x, y = mixed(x, y, 29)
    x, y = mixed(x, y, 16)
    x, y = mixed(x, y, 24)
    x, y = x + k2, y + k0 + spread_word(np.uint32(2))
    x, y = mixed(x, y, 13)
    x, y = mixed(x, y, 15)
    x, y = mixed(x, y, 26)
    x, y = mixed(x, y, 6)
    x, y = x + k0, y + k1 + spread_word(np.uint32(3))
    x, y = mixed(x, y, 17)
    return x, y


@compiled(inner=True, within=True)
def deviates(terms: Any, word: Any) -> Any:
    """Normal deviates from the upper 16 bits of words: the sign, and 15 bits for one of the levels above 0.

    Args:
        terms: `deviate_terms`.
        word: in every lane.
    """
    odd = ((word >> spread_word(np.uint32(15))) & spread_word(np.uint32(0xFFFE))) | spread_word(np.uint32(1))
    tail = floats(odd)
    octave = bits(tail) >> spread_word(np.uint32(23))
    value = looked_up(terms, 4 * OCTAVES, octave)
    value = fused(value, tail, looked_up(terms, 3 * OCTAVES, octave))
    value = fused(value, tail, looked_up(terms, 2 * OCTAVES, octave))
    value = fused(value, tail, looked_up(terms, OCTAVES, octave))
    return signed(fused(value, tail, looked_up(terms, 0, octave)), word)


@compiled(inner=True)
def fill_words(key: Any, line: int, first: int | np.int64, words: Any, count: int) -> None:
    """Random words of the counters ``(first, line)`` to ``(first + count - 1, line)``.

    Args:
        key: of 2 words.
        line: second half of the counters.
        first: of the first halves.
        words: takes first words of all counters, then second words.
        count: of counters.
    """
    k0, k1, y = spread_word(number(key, 0)), spread_word(number(key, 1)), spread_word(np.uint32(line))
    for n in range(0, count, LANES):
        w0, w1 = threefry_lanes(k0, k1, numbered(np.uint32(first + n)), y)
        if n + LANES <= count:
            stored(words, n, w0)
            stored(words, count + n, w1)
        else:
            stored_run(words, n, w0, 0, count - n)
            stored_run(words, count + n, w1, 0, count - n)


@compiled(inner=True)
def draw_levels(
    key: Any, line: int, first: int | np.int64, levels: Any, words: Any, counters: int, noise: Any, count: int
) -> None:
    """Deviates of the words of some counters, see `fill_words`: up to four of a counter.

    Looked up and used in one loop they would keep the compiler from vectorising the rest.

    Args:
        levels: of their distribution.
        words: memory of two words a counter.
        noise: takes so many deviates.
    """
    fill_words(key, line, first, words, counters)
    halves = seen_as(words, np.uint16)
    n = 0
    while n + 4 <= count:
        _draw(levels, halves, n, noise)
        _draw(levels, halves, n + 1, noise)
        _draw(levels, halves, n + 2, noise)
        _draw(levels, halves, n + 3, noise)
        n += 4
    while n < count:
        _draw(levels, halves, n, noise)
        n += 1


@compiled(inner=True, within=True)
def _draw(levels: Any, halves: Any, n: int, noise: Any) -> None:
    put(noise, n, number(levels, np.int64(number(halves, n) >> LEVEL_SHIFT)))
