"""The counter-based generator of `lhc.runtime.engines.counter_rng` in every lane of a vector, compiled."""

from typing import Any

import numpy as np

from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import looked_up
from lhc.runtime.engines.compiled.numba_simd.vectors import bits, floats, fused, mixed, signed, spread_word
from lhc.runtime.engines.counter_rng import OCTAVES


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
