"""Deviates and the generator that they come from, against the normal distribution and the published words."""

from typing import Any

import numba
import numpy as np
import pytest
import torch
from scipy import stats

from lhc.runtime.engines.compiled.numba_simd.counter_rng_in_lanes import deviates, threefry_lanes
from lhc.runtime.engines.compiled.numba_simd.pointers import loaded, span, stored
from lhc.runtime.engines.compiled.numba_simd.vectors import LANES
from lhc.runtime.engines.counter_rng import (
    NoiseStream,
    OutputPlaces,
    Words,
    deviate_terms,
    normal_levels,
    row_address,
    threefry,
)
from lhc.runtime.engines.noise import standard_deviates

pytestmark = pytest.mark.analog


def _deviates(key: Words, vectors: int, lines: int = 4) -> np.ndarray:
    """Noise of unit variance, ``(lines, vectors)``."""
    keys = np.repeat(key[:, None], vectors, 1)
    outputs = OutputPlaces(
        np.arange(-(-lines // 4)), np.arange(-(-lines // 4) * 4).reshape(-1, 4), np.zeros((0, 0, 0), np.float32)
    )
    places = np.arange(vectors, dtype=np.uint32)
    found = standard_deviates(keys[:1], keys[1:], places, outputs, 4 * len(outputs.counters), torch.device("cpu"))
    return found[0].numpy()


def test_rows_of_tiles_have_noise_of_their_own_however_many_there_are() -> None:
    uses, rows = range(3), [0, 1, 4095, 4096, 4097, 8192, 2**20]
    addresses = {(use, row): row_address(use, row) for use in uses for row in rows}
    assert len(set(addresses.values())) == len(addresses)
    stream = NoiseStream(np.random.SeedSequence(0))
    assert len({stream.key(one).tobytes() for one in addresses.values()}) == len(addresses)
    assert [row_address(*one) for one in ((0, 4095), (1, 0), (2, 5))] == [4095, 4096, 8197]


def test_levels_of_noise_are_normal() -> None:
    levels = normal_levels(0.06) / 0.06
    assert levels.mean() == pytest.approx(0, abs=1e-6)
    assert levels.std() == pytest.approx(1, abs=1e-6)
    assert np.mean(levels.astype(float) ** 4) == pytest.approx(3, abs=0.005)
    drawn = _deviates(NoiseStream(np.random.SeedSequence(0)).key(3), 100_000)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.001
    for shift in (1, 2, 4, 1024, 4096):
        assert abs(np.mean(drawn[:, shift:] * drawn[:, :-shift])) < 4 / np.sqrt(drawn.size)
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 4 / np.sqrt(drawn.shape[1])


def _every(words: Words, terms: np.ndarray, out: np.ndarray) -> None:
    for n in range(0, len(words), LANES):
        stored(span(out), n, deviates(span(terms), loaded(span(words), n)))


def test_deviates_of_output_noise_are_normal_out_to_their_tails() -> None:
    """All of them: what the lower half of a word holds does not count."""
    words, out = (np.arange(2**16, dtype=np.uint32) << 16) | np.uint32(0xABCD), np.empty(2**16, np.float32)
    compiled: Any = numba.njit(_every)
    compiled(words, deviate_terms(0.5), out)
    half, exact = 2 * out[: 2**15], -normal_levels(1.0)[: 2**15]
    assert (2 * out[2**15 :] == -half).all()
    assert (np.diff(half) < 0).all()  # word by word from the tail to the middle, none twice
    np.testing.assert_allclose(half, exact, atol=4e-5)
    assert half[:3] == pytest.approx(exact[:3], rel=1e-6)
    exactly = half.astype(float)
    assert np.mean(exactly**2) == pytest.approx(1, abs=2e-6)
    assert np.mean(exactly**4) == pytest.approx(3, abs=3e-4)
    assert stats.kstest(2 * out, "norm").statistic < 2**-15
    planted = np.where(np.abs(out) > 1.75, 1.03, 1) * out  # what the comparison with the levels must find
    assert np.abs(2 * planted[: 2**15] - exact).max() > 0.1


def _words(k0: Words, k1: Words, x: Words, y: Words, out: Words) -> None:
    w0, w1 = threefry_lanes(loaded(span(k0), 0), loaded(span(k1), 0), loaded(span(x), 0), loaded(span(y), 0))
    stored(span(out), 0, w0)
    stored(span(out), LANES, w1)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0xFD36D048, 0x2D17272C)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_threefry_gives_the_published_words(
    counter: tuple[int, int], key: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Known answers of Random123, the authors' own library, for 13 rounds."""
    assert threefry(*key, *counter) == expected
    compiled: Any = numba.njit(_words)
    out, first = np.empty(2 * LANES, np.uint32), (counter[0] + np.arange(LANES)) % 2**32
    lanes = [np.full(LANES, word, np.uint32) for word in (*key, counter[1])]
    compiled(lanes[0], lanes[1], first.astype(np.uint32), lanes[2], out)
    expected_words = [threefry(*key, int(one), counter[1]) for one in first]
    assert list(zip(out[:LANES].tolist(), out[LANES:].tolist(), strict=True)) == expected_words


def test_a_place_of_the_stream_holds_the_same_numbers_whenever_it_is_asked_for() -> None:
    stream = NoiseStream(np.random.SeedSequence(1))
    places = (0, 1, 2**32, 2**64, 2**99)
    keys = [stream.key(place).tolist() for place in places]
    assert [stream.key(place).tolist() for place in places[::-1]] == keys[::-1]
    assert len({tuple(key) for key in keys}) == len(places)
    assert (_deviates(stream.key(1), 70)[:, :33] == _deviates(stream.key(1), 33)).all()
    assert (_deviates(stream.key(1), 70, 12)[:4] == _deviates(stream.key(1), 70)).all()
