"""Vectors in registers, against numpy."""

from typing import Any

import numba
import numpy as np
import pytest

from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.numba_simd import vectors as simd
from lhc.runtime.engines.compiled.numba_simd.pointers import (
    RUNS,
    gathered,
    item,
    joined,
    joined_runs,
    loaded,
    loaded_run,
    looked_up,
    number,
    put,
    span,
    stored,
    stored_packed,
    stored_run,
    unpacked,
)
from lhc.runtime.engines.compiled.numba_simd.vectors import (
    LANES,
    beyond,
    bits,
    chosen,
    clipped,
    every_other,
    floats,
    fused,
    greater,
    larger,
    lesser,
    magnitude,
    numbered,
    signed,
    spread,
    spread_word,
    unless_zero,
)
from lhc.runtime.engines.counter_rng import Words

pytestmark = pytest.mark.analog

rng = np.random.default_rng(0)
NUMBERS = rng.normal(size=200).astype(np.float32)
NUMBERS[9] = 0
WORDS = rng.integers(0, 2**32, LANES, dtype=np.uint32)
STEPS = (7 * np.arange(LANES, dtype=np.uint32)) % 90
MASKS = np.array([0b00000111, 0b01110000, 0xFF, 0, 0b00110000, 0b10000001, 0, 0], np.uint32)


def _all(numbers: Floats, drawn: Words, places: Words, lanes: Words, target: Floats) -> int:
    a, words, steps, masks, out = span(numbers), span(drawn), span(places), span(lanes), span(target)
    x, y, one = loaded(a, 3), item(a, 50), spread(np.float32(1))
    results = (
        x * y + one,
        x - y,
        x / y,
        fused(x, y, one),
        greater(x, y),
        magnitude(x),
        clipped(x, spread(np.float32(0.5))),
        unless_zero(x, x, one),
        signed(magnitude(x), loaded(words, 0)),
        gathered(a, 11, loaded(steps, 0)),
        joined(a, 5, steps, 0),
        joined_runs(a, 5, steps, masks, 0, 2),
        chosen(x, y, one, magnitude(x)),
        loaded_run(a, 20, 3, 9),
        looked_up(a, 30, loaded(words, 0)),
        floats(bits(magnitude(x)) >> spread_word(np.uint32(23))),
    )
    for n in range(len(results)):
        stored(out, n * LANES, results[n])
    w = loaded(words, 0)
    w = ((w << spread_word(np.uint32(3))) | (w >> spread_word(np.uint32(29)))) ^ numbered(np.uint32(9))
    stored(words, 0, (w & spread_word(np.uint32(0xFFFF))) + spread_word(np.uint32(5)))
    put(out, 0, number(out, 0) + np.float32(1))
    count: int = beyond(x, y)
    return count


def test_lanes_compute_what_numpy_does() -> None:
    words, out = WORDS.copy(), np.zeros((16, LANES), np.float32)
    compiled: Any = numba.njit(_all)
    count = compiled(NUMBERS, words, STEPS, MASKS, out.reshape(-1))
    x, y = NUMBERS[3 : 3 + LANES], NUMBERS[50]
    out[0, 0] -= 1
    runs = np.zeros(LANES, np.float32)
    for half in range(2):
        for entry in (RUNS * half, RUNS * half + 1):
            for lane in range(LANES // 2):
                if MASKS[entry] >> lane & 1:
                    runs[half * LANES // 2 + lane] = NUMBERS[5 + STEPS[entry] + lane]
    expected = [
        x * y + 1,
        x - y,
        x / y,
        x * y + 1,
        np.maximum(x, y),
        np.abs(x),
        np.clip(x, -0.5, 0.5),
        np.where(x == 0, 1, x),
        np.where(WORDS >> 31, -np.abs(x), np.abs(x)),
        NUMBERS[11 + STEPS],
        np.concatenate([NUMBERS[5 + STEPS[n] :][:8] for n in range(0, LANES, 8)]),
        runs,
        np.where(x > y, 1, np.abs(x)),
        np.where((np.arange(LANES) >= 3) & (np.arange(LANES) < 9), NUMBERS[17 : 17 + LANES], 0),
        NUMBERS[30 + WORDS % 16],
        np.where(x == 0, 0, np.frexp(np.abs(x))[1] + 126),
    ]
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    assert (out[4:] == np.stack(expected[4:])).all()
    assert count == (x > y).sum()
    turned = (WORDS << 3 | WORDS >> 29) ^ (9 + np.arange(LANES, dtype=np.uint32))
    assert (words == (turned & 0xFFFF) + 5).all()


def _alone(numbers: Floats, words: Words, target: Words, whole: int) -> tuple[Any, ...]:
    a, b = numbers[0], numbers[1]
    stored_run(span(target), 1, loaded(span(words), 0), 0, 3)
    return lesser(a, b), larger(a, b), lesser(whole, 3), larger(whole, 3)


def test_numbers_alone_are_compared_as_python_does() -> None:
    compiled: Any = numba.njit(_alone)
    for pair in ((1, 2), (2, 1), (np.nan, 1), (1, np.nan), (0.0, -0.0)):
        numbers, target = np.array(pair, np.float32), np.zeros(LANES, np.uint32)
        a, b = numbers
        found = compiled(numbers, WORDS, target, -7)
        assert np.array(found[:2], np.float32).tobytes() == np.array((min(a, b), max(a, b)), np.float32).tobytes()
        assert found[2:] == (-7, 3)
        assert target[1:4].tolist() == WORDS[:3].tolist()
        assert not target[4:].any()


def _run(numbers: Floats, target: Floats, place: int, first: int, last: int) -> None:
    stored_run(span(target), place, loaded(span(numbers), 0), first, last)


@pytest.mark.parametrize(("first", "last"), [(0, LANES), (0, 1), (LANES - 1, LANES), (2, 7), (5, 5)])
def test_a_run_of_lanes_is_stored_and_nothing_beside_it(first: int, last: int) -> None:
    """The first number of the target is the first lane of the run: what would lie before it is not memory of ours."""
    target = np.full(LANES, -7, np.float32)
    compiled: Any = numba.njit(_run)
    compiled(NUMBERS, target, 0, first, last)
    assert (target[: last - first] == NUMBERS[first:last]).all()
    assert (target[last - first :] == -7).all()


def _sorted_out(numbers: Floats, target: Floats) -> None:
    x, out, limit = loaded(span(numbers), 3), span(target), spread(np.float32(0.25))
    even, odd = every_other(x, loaded(span(numbers), 3 + LANES))
    stored(out, 0, even)
    stored(out, LANES, odd)
    stored_packed(out, 2 * LANES, x, x, limit)
    stored(out, 4 * LANES, unpacked(out, 2 * LANES, x, limit, magnitude(x)))


def test_lanes_are_sorted_out_and_put_back() -> None:
    out = np.zeros((5, LANES), np.float32)
    compiled: Any = numba.njit(_sorted_out)
    compiled(NUMBERS, out.reshape(-1))
    x = NUMBERS[3 : 3 + LANES]
    assert (out[:2] == NUMBERS[3 : 3 + 2 * LANES].reshape(LANES, 2).T).all()
    assert (out[2, : (x > 0.25).sum()] == x[x > 0.25]).all()
    assert (out[4] == np.where(x > 0.25, x, np.abs(x))).all()


def test_blocks_fit_the_registers() -> None:
    assert (LANES == 32) == simd.WIDE
