"""Deviates of the counter-based generator outside fused kernels: for training and for the engine ``aihwkit``.

Normal noise on lines of values, and the gradients of its size, are for training.

Value w of line l gets ``a_l b_c,w n``: a number of its line, one of its place in a row c that as many lines share, and
a deviate of `counter_rng`. Deviates follow from key and place, so gradients draw them again. Which deviate a place has,
and the order of sums, do not depend on the width of the processor's vectors: both go by `COUNTERS`.
"""

import numpy as np
import numpy.typing as npt

from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import deviates, threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.jit import compiled
from lhc.runtime.engines.compiled.numba_simd.pointers import loaded, loaded_run, number, span, stored, stored_run
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES, fused, lesser, numbered, spread, spread_word
from lhc.runtime.engines.counter_rng import COUNTERS, Words

_BLOCK = 4 * COUNTERS
"""Deviates of the counters of a block; the four of each are `COUNTERS` apart."""


@compiled()
def add_noise_to_lines(values: Floats, lines: Floats, places: Floats, key: Words, terms: Floats) -> None:
    """Add the noise, in place.

    Args:
        values: ``(lines, width)``.
        lines: ``(lines,)``.
        places: ``(rows, width)``; the lines of a row follow each other.
        key: of the random words, ``(2,)``.
        terms: `lhc.runtime.engines.counter_rng.deviate_terms` of deviation 1.
    """
    width, share = values.shape[1], len(lines) // len(places)
    k0, k1, half = spread_word(key[0]), spread_word(key[1]), spread_word(np.uint32(16))
    target, factors, steps = span(values), span(places), span(terms)
    for line in range(len(lines)):
        start, row, size = line * width, line // share * width, spread(lines[line])
        for lanes in range(0, COUNTERS, LANES):
            for block in range(lanes, width, _BLOCK):
                w0, w1 = threefry_lanes(k0, k1, numbered(np.uint32(block)), spread_word(np.uint32(line)))
                for at in range(block, lesser(block - lanes + _BLOCK, width), COUNTERS):
                    few = lesser(LANES, width - at)
                    noise = size * deviates(steps, w0)
                    sums = fused(loaded_run(factors, row + at, 0, few), noise, loaded_run(target, start + at, 0, few))
                    stored_run(target, start + at, sums, 0, few)
                    w0, w1 = w1, w0 << half


def noise_gradients(
    gradient: Floats,
    lines: Floats,
    places: Floats,
    key: Words,
    terms: Floats,
    of_lines: Floats,
    of_places: Floats,
) -> None:
    """Gradients with respect to the numbers of lines and places, given that of the values.

    Args:
        gradient: ``(lines, width)``; the other arguments as those of `add_noise_to_lines`.
        of_lines: a result, ``(lines,)``.
        of_places: a result, ``(rows, width)``; zeros.
    """
    _noise_gradients(gradient, lines, places, key, terms, of_lines, of_places, np.empty(COUNTERS, np.float32))


@compiled()
def _noise_gradients(
    gradient: Floats,
    lines: Floats,
    places: Floats,
    key: Words,
    terms: Floats,
    of_lines: Floats,
    of_places: Floats,
    totals: Floats,
) -> None:
    width, share = gradient.shape[1], len(lines) // len(places)
    k0, k1, half = spread_word(key[0]), spread_word(key[1]), spread_word(np.uint32(16))
    source, factors, steps = span(gradient), span(places), span(terms)
    found, sums = span(of_places), span(totals)
    for line in range(len(lines)):
        start, row, size = line * width, line // share * width, spread(lines[line])
        for lanes in range(0, COUNTERS, LANES):
            total = spread(np.float32(0))
            for block in range(lanes, width, _BLOCK):
                w0, w1 = threefry_lanes(k0, k1, numbered(np.uint32(block)), spread_word(np.uint32(line)))
                for at in range(block, lesser(block - lanes + _BLOCK, width), COUNTERS):
                    few = lesser(LANES, width - at)
                    moved = loaded_run(source, start + at, 0, few) * deviates(steps, w0)
                    total = fused(moved, loaded_run(factors, row + at, 0, few), total)
                    stored_run(found, row + at, fused(moved, size, loaded_run(found, row + at, 0, few)), 0, few)
                    w0, w1 = w1, w0 << half
            stored(sums, lanes, total)
        of_lines[line] = np.float32(0)
        for counter in range(COUNTERS):
            of_lines[line] += number(sums, counter)


PITCH = LANES
"""Vectors whose keys and places are read together."""


@compiled()
def fill_deviates(
    k0: Words,
    k1: Words,
    places: Words,
    counters: Words,
    outputs: npt.NDArray[np.int64],
    terms: Floats,
    vectors: int,
    out: Floats,
) -> None:
    """Standard deviates of all outputs for all vectors.

    Args:
        k0: first words of the keys of every vector, ``(chips, pitch)``, the pitch a multiple of `PITCH`.
        k1: second words.
        places: of vectors in their samples, ``(pitch,)``.
        counters: `lhc.runtime.engines.counter_rng.OutputPlaces`.
        outputs: likewise, ``(counters · 4,)``.
        terms: `lhc.runtime.engines.counter_rng.deviate_terms` of deviation 1.
        vectors: how many.
        out: takes them, ``(chips, outputs, vectors)``.
    """
    chips, pitch, total = k0.shape[0], k0.shape[1], out.shape[1]
    first, second, at, numbers, rows = span(k0), span(k1), span(places), span(counters), span(outputs)
    steps, target, half = span(terms), span(out), spread_word(np.uint32(16))
    for chip in range(chips):
        for n in range(0, vectors, LANES):
            count = lesser(LANES, vectors - n)
            key0, key1 = loaded(first, chip * pitch + n), loaded(second, chip * pitch + n)
            where = loaded(at, n)
            for c in range(len(counters)):
                w0, w1 = threefry_lanes(key0, key1, where, spread_word(number(numbers, c)))
                for quarter in range(4):
                    row = number(rows, 4 * c + quarter)
                    if row >= 0:
                        place = (chip * total + row) * vectors + n
                        if count == LANES:
                            stored(target, place, deviates(steps, w0))
                        else:
                            stored_run(target, place, deviates(steps, w0), 0, count)
                    w0, w1 = w1, w0 << half
