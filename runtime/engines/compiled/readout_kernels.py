"""Noise and rounding of read-outs: one pass over what a core's cache holds, compiled by numba."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.runtime.engines.compiled.counter_rng import COUNTERS, draw_levels
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import number, put, span
from lhc.runtime.engines.compiled.simd import lesser
from lhc.runtime.engines.counter_rng import Words

__all__ = ["ROUNDS", "add_noise", "round_codes"]

Floats = npt.NDArray[np.float32]

ROUNDS = np.float32(1.5 * 2**23)
"""Added and taken away again in float32, this rounds half to even below 2^22, as the processor's rounding mode does."""


def add_noise(
    z: Floats, key: Words, levels: Floats, first: int, begin: int, end: int, shift: np.float32, limit: np.float32
) -> int:
    """Add noise to some values of every line, and round.

    Args:
        z: ``(lines, values)``, changed in place.
        key: of the random words, ``(2,)``.
        levels: of noise.
        first: number of the first line, by which its noise is drawn.
        begin: first value of a line that noise is added to.
        end: behind the last one.
        shift: `ROUNDS`, or 0 to leave values as they are.
        limit: greatest magnitude that is not counted.

    Returns:
        How many values lie beyond the limit; those that are not finite numbers do not count.
    """
    memory = np.empty(2 * COUNTERS, np.uint32), np.empty(4 * COUNTERS, np.float32)
    return _add_noise(z, key, levels, first, begin, end, shift, limit, *memory)


@compiled()
def _add_noise(
    z: Floats,
    key: Words,
    levels: Floats,
    first: int,
    begin: int,
    end: int,
    shift: np.float32,
    limit: np.float32,
    words: Words,
    noise: Floats,
) -> int:
    keys, steps, drawn, deviates = span(key), span(levels), span(words), span(noise)
    beyond = 0
    for line in range(len(z)):
        for start in range(begin, end, 4 * COUNTERS):
            count = lesser(end - start, 4 * COUNTERS)
            draw_levels(keys, first + line, (start - begin) // 4, steps, drawn, (count + 3) // 4, deviates, count)
            beyond += _rounded(span(z), line * z.shape[1] + start, deviates, count, shift, limit)
    return beyond


@compiled(inner=True)
def _rounded(values: Any, place: int, noise: Any, count: int, shift: np.float32, limit: np.float32) -> Any:
    # 32 bits fill the same registers as the values.
    beyond = np.int32(0)
    for n in range(count):
        value = (number(values, place + n) + number(noise, n) + shift) - shift
        put(values, place + n, value)
        beyond += np.int32(1) if abs(value) > limit else np.int32(0)
    return np.int64(beyond)


@compiled()
def round_codes(z: Floats, shift: np.float32, limit: np.float32) -> int:
    """The same without noise, for all values of all lines."""
    beyond = 0
    for line in range(len(z)):
        row, some = z[line], np.int32(0)
        for n in range(len(row)):
            value = (row[n] + shift) - shift
            row[n] = value
            some += np.int32(1) if abs(value) > limit else np.int32(0)
        beyond += int(some)
    return beyond
