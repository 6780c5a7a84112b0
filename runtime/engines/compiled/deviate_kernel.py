"""Deviates of the counters of many vectors at once, for the engine that computes in PyTorch, on a processor."""

import numpy as np
import numpy.typing as npt

from lhc.conductances import Floats
from lhc.runtime.engines.compiled.counter_rng import deviates, threefry_lanes
from lhc.runtime.engines.compiled.jit import compiled
from lhc.runtime.engines.compiled.pointers import loaded, number, span, stored, stored_run
from lhc.runtime.engines.compiled.simd import LANES, lesser, spread_word
from lhc.runtime.engines.counter_rng import Words

__all__ = ["PITCH", "fill_deviates"]

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
        counters: `lhc.runtime.engines.noise_addresses.OutputPlaces`.
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
