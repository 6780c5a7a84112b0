"""Products of 16-bit integers, two at a time: what the engine ``fast16`` multiplies instead of single precision.

A *pair* is a word that holds the codes, or the weights, of two inputs that follow each other. Processors multiply both
at once and add the products in 32 bits (`lhc.runtime.lane_pairs`), which is twice as fast as single precision, and
exact: results are the same bytes in any order of summation. `lhc.runtime.paired_weights` keeps sums within 32 bits.
"""

from typing import Any

import numpy as np

from lhc.runtime.compiled_code import compiled
from lhc.runtime.lane_pairs import are_pairs, paired, stored_halves
from lhc.runtime.lanes import LANES, fused, spread
from lhc.runtime.spans import loaded, number, put, stored

__all__ = ["pair_lanes", "pair_lines", "taken"]


@compiled(inner=True, within=True)
def taken(numbers: Any, inputs: int) -> int:
    """Numbers, or pairs, that products with so many inputs take of a span's kind."""
    return (inputs + 1) // 2 if are_pairs(numbers) else inputs


@compiled(inner=True, within=True)
def pair_lines(codes: Any, place: Any, inputs: int, pairs: Any) -> Any:
    """Pair codes of a block's vectors, a line of `LANES` for every input, and put them at the same place.

    Returns:
        0 for every vector, and what is no number for those that have such a code: integers have none.
    """
    none = spread(np.float32(0))
    spoilt = none
    for k in range(0, inputs - 1, 2):
        one = place + k * LANES
        first, second = loaded(codes, one), loaded(codes, one + LANES)
        spoilt = fused(first, none, fused(second, none, spoilt))
        stored(pairs, place + k // 2 * LANES, paired(first, second))
    if inputs % 2 == 1:
        last = loaded(codes, place + (inputs - 1) * LANES)
        spoilt = fused(last, none, spoilt)
        stored(pairs, place + inputs // 2 * LANES, paired(last, none))
    return spoilt


@compiled(inner=True, within=True)
def pair_lanes(codes: Any, place: int, inputs: int, pairs: Any, line: Any) -> np.float32:
    """Pair codes of a vector that lie side by side, and put them at the same place.

    The codes' memory reaches as far as a multiple of `LANES`. What lies behind them there becomes 0.

    Args:
        line: memory of `LANES` numbers.

    Returns:
        0, and what is no number where such a code is.
    """
    none = spread(np.float32(0))
    spoilt = none
    for k in range(inputs, (inputs + LANES - 1) // LANES * LANES):
        put(codes, place + k, np.float32(0))
    for k in range(0, inputs, LANES):
        numbers = loaded(codes, place + k)
        spoilt = fused(numbers, none, spoilt)
        stored_halves(pairs, place + k // 2, numbers)
    stored(line, 0, spoilt)
    total = np.float32(0)
    for lane in range(LANES):
        total += number(line, lane)
    return total
