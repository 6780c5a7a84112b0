"""Noise and rounding of read-outs: one pass over what a core's cache holds, compiled by numba."""

import numpy as np
import numpy.typing as npt

from lhc.runtime.compiled_code import compiled
from lhc.runtime.normals import COUNTERS, LEVEL_SHIFT, Words, fill_words

__all__ = ["ROUNDS", "add_noise", "round_codes"]

Floats = npt.NDArray[np.float32]

ROUNDS = np.float32(1.5 * 2**23)
"""Added and taken away again in float32, this rounds half to even below 2^22, as the processor's rounding mode does."""


@compiled()
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
    words = np.empty(2 * COUNTERS, np.uint32)
    noise = np.empty(4 * COUNTERS, np.float32)
    beyond = 0
    for line in range(len(z)):
        for start in range(begin, end, 4 * COUNTERS):
            values = z[line, start : min(start + 4 * COUNTERS, end)]
            counters = (len(values) + 3) // 4
            drawn = words[: 2 * counters]
            fill_words(key, first + line, (start - begin) // 4, drawn)
            numbers = drawn.view(np.uint16)[: len(values)]
            # Looking levels up and adding them in one loop would keep the compiler from vectorising the rest.
            for n in range(len(values)):
                noise[n] = levels[numbers[n] >> LEVEL_SHIFT]
            beyond += _rounded(values, noise[: len(values)], shift, limit)
    return beyond


@compiled(inner=True)
def _rounded(values: Floats, noise: Floats, shift: np.float32, limit: np.float32) -> int:
    # 32 bits fill the same registers as the values.
    beyond = np.int32(0)
    for n in range(len(values)):
        value = (values[n] + noise[n] + shift) - shift
        values[n] = value
        beyond += np.int32(1) if abs(value) > limit else np.int32(0)
    return int(beyond)


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
