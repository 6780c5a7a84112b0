"""Products of a block of codes with a block of weights; sums stay in registers."""

from typing import Any, NamedTuple

import numpy as np

from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import deviates, threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import item, loaded, stored
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, WIDE, fused, spread, spread_word

ROWS = 8
"""Rows of a block of products: with `LANES` they fill half of the registers."""

_PARTS = 6
"""Of the inputs of a block, between which noise is drawn."""


class Drawn(NamedTuple):
    """Keys and counters of the noise of a block of products, and where it is stored.

    Attributes:
        terms: `lhc.runtime.engines.counter_rng.deviate_terms`.
        k0, k1: keys of the vectors in the lanes.
        counters: of the vectors.
        words: for words of four rows, ``(2, LANES)``.
        noise: takes deviates, ``(ROWS, LANES)``.
    """

    terms: Any
    k0: Any
    k1: Any
    counters: Any
    words: Any
    noise: Any


@compiled(inner=True, within=True)
def _added(a: Any, a0: int, step: int, row: int, b: Any, b0: int, inputs: int, sums: Any) -> Any:
    """Sums of eight rows, and products with some inputs."""
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    for _ in range(inputs):
        v = loaded(b, b0)
        s0 = fused(item(a, a0), v, s0)
        s1 = fused(item(a, a0 + row), v, s1)
        s2 = fused(item(a, a0 + 2 * row), v, s2)
        s3 = fused(item(a, a0 + 3 * row), v, s3)
        s4 = fused(item(a, a0 + 4 * row), v, s4)
        s5 = fused(item(a, a0 + 5 * row), v, s5)
        s6 = fused(item(a, a0 + 6 * row), v, s6)
        s7 = fused(item(a, a0 + 7 * row), v, s7)
        a0 += step
        b0 += LANES
    return s0, s1, s2, s3, s4, s5, s6, s7


@compiled(inner=True, within=True)
def _stored_rows(z: Any, z0: int, pitch: int, sums: Any) -> None:
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    stored(z, z0, s0)
    stored(z, z0 + pitch, s1)
    stored(z, z0 + 2 * pitch, s2)
    stored(z, z0 + 3 * pitch, s3)
    stored(z, z0 + 4 * pitch, s4)
    stored(z, z0 + 5 * pitch, s5)
    stored(z, z0 + 6 * pitch, s6)
    stored(z, z0 + 7 * pitch, s7)


@compiled(inner=True)
def _eight_rows(
    a: Any, a0: int, step: int, row: int, b: Any, b0: int, inputs: int, z: Any, z0: int, pitch: int
) -> None:
    none = spread(np.float32(0))
    sums = _added(a, a0, step, row, b, b0, inputs, (none, none, none, none, none, none, none, none))
    _stored_rows(z, z0, pitch, sums)


@compiled(inner=True)
def _four_rows(a: Any, a0: int, step: int, row: int, b: Any, b0: int, inputs: int, z: Any, z0: int, pitch: int) -> None:
    s0 = s1 = s2 = s3 = spread(np.float32(0))
    for _ in range(inputs):
        v = loaded(b, b0)
        s0 = fused(item(a, a0), v, s0)
        s1 = fused(item(a, a0 + row), v, s1)
        s2 = fused(item(a, a0 + 2 * row), v, s2)
        s3 = fused(item(a, a0 + 3 * row), v, s3)
        a0 += step
        b0 += LANES
    stored(z, z0, s0)
    stored(z, z0 + pitch, s1)
    stored(z, z0 + 2 * pitch, s2)
    stored(z, z0 + 3 * pitch, s3)


@compiled(inner=True)
def _twice_four_rows(
    a: Any, a0: int, step: int, row: int, b: Any, b0: int, inputs: int, z: Any, z0: int, pitch: int
) -> None:
    _four_rows(a, a0, step, row, b, b0, inputs, z, z0, pitch)
    _four_rows(a, a0 + 4 * row, step, row, b, b0, inputs, z, z0 + 4 * pitch, pitch)


@compiled(inner=True, within=True)
def one_row(a: Any, a0: int, step: int, b: Any, b0: int, inputs: int, z: Any, z0: int) -> None:
    """The first row of `multiply`, with the same bits."""
    sums = spread(np.float32(0))
    for _ in range(inputs):
        sums = fused(item(a, a0), loaded(b, b0), sums)
        a0 += step
        b0 += LANES
    stored(z, z0, sums)


multiply = _eight_rows if WIDE else _twice_four_rows


@compiled(inner=True, within=True)
def draw_words(drawn: Drawn, counter: Any) -> None:
    """Random words of four rows, whose number is ``counter``."""
    w0, w1 = threefry_lanes(drawn.k0, drawn.k1, drawn.counters, spread_word(np.uint32(counter)))
    stored(drawn.words, 0, w0)
    stored(drawn.words, LANES, w1)


@compiled(inner=True, within=True)
def draw_pair(drawn: Drawn, row: int | np.int64) -> None:
    """Deviates of two of these four, from upper or lower halves of the words; ``row`` is the first of both."""
    for word in range(2):
        bits = loaded(drawn.words, word * LANES)
        if row & 2 != 0:
            bits = bits << spread_word(np.uint32(16))
        stored(drawn.noise, (row + word) * LANES, deviates(drawn.terms, bits))


@compiled(inner=True)
def _eight_rows_drawing(
    a: Any, a0: int, b: Any, b0: int, inputs: int, z: Any, z0: int, drawn: Drawn, counter: int
) -> None:
    none, part = spread(np.float32(0)), inputs // _PARTS
    a_step, b_step = ROWS * part, LANES * part
    sums = _added(a, a0, ROWS, 1, b, b0, part, (none, none, none, none, none, none, none, none))
    draw_words(drawn, counter)
    sums = _added(a, a0 + a_step, ROWS, 1, b, b0 + b_step, part, sums)
    draw_pair(drawn, np.int64(0))
    sums = _added(a, a0 + 2 * a_step, ROWS, 1, b, b0 + 2 * b_step, part, sums)
    draw_pair(drawn, np.int64(2))
    sums = _added(a, a0 + 3 * a_step, ROWS, 1, b, b0 + 3 * b_step, part, sums)
    draw_words(drawn, counter + 1)
    sums = _added(a, a0 + 4 * a_step, ROWS, 1, b, b0 + 4 * b_step, part, sums)
    draw_pair(drawn, np.int64(4))
    sums = _added(a, a0 + 5 * a_step, ROWS, 1, b, b0 + 5 * b_step, inputs - 5 * part, sums)
    draw_pair(drawn, np.int64(6))
    _stored_rows(z, z0, LANES, sums)


@compiled(inner=True)
def _draw_and_multiply(
    a: Any, a0: int, b: Any, b0: int, inputs: int, z: Any, z0: int, drawn: Drawn, counter: int
) -> None:
    for four in range(2):
        draw_words(drawn, counter + four)
        draw_pair(drawn, 4 * four)
        draw_pair(drawn, 4 * four + 2)
    _twice_four_rows(a, a0, ROWS, 1, b, b0, inputs, z, z0, LANES)


multiply_drawing = _eight_rows_drawing if WIDE else _draw_and_multiply
