"""Noise and rounding under both engines, against plain numpy and the published generator."""

from typing import Any

import numba
import numpy as np
import pytest
from scipy import stats

from lhc.runtime.engines.compiled.counter_rng import deviates, fill_words
from lhc.runtime.engines.compiled.pointers import loaded, span, stored
from lhc.runtime.engines.compiled.readout_kernels import ROUNDS, add_noise, round_codes
from lhc.runtime.engines.compiled.simd import LANES
from lhc.runtime.engines.counter_rng import NoiseStream, Words, deviate_terms, normal_levels, threefry

pytestmark = pytest.mark.analog


def test_rounding_is_half_to_even_and_keeps_what_is_not_finite() -> None:
    z = np.array([[0.5, 1.5, -2.5, 126.49999, np.nan, np.inf]], np.float32)
    assert round_codes(z, ROUNDS, np.float32(100)) == 2
    assert z[0].tolist() == pytest.approx([0, 2, -2, 126, np.nan, np.inf], nan_ok=True)


def _deviates(key: Words, lines: int, values: int, first: int = 0) -> np.ndarray:
    """Noise of unit variance, ``(lines, values)``."""
    z = np.zeros((lines, values), np.float32)
    add_noise(z, key, normal_levels(1.0), first, 0, values, np.float32(0), np.float32(np.inf))
    return z


def test_levels_of_noise_are_normal() -> None:
    levels = normal_levels(0.06) / 0.06
    assert levels.mean() == pytest.approx(0, abs=1e-6)
    assert levels.std() == pytest.approx(1, abs=1e-6)
    assert np.mean(levels.astype(float) ** 4) == pytest.approx(3, abs=0.005)
    drawn = _deviates(NoiseStream(np.random.SeedSequence(0)).key(3), 4, 100_000)
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
    half, exact = 2 * out[: 2**15], -normal_levels(1.0, 2**16)[: 2**15]
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


def _fill(key: Words, line: int, first: int, words: Words) -> None:
    fill_words(span(key), line, first, span(words), len(words) // 2)


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
    compiled: Any = numba.njit(_fill)
    for count in (1, 4, 32, 50, 97):  # compiled, many at once, and what is left over
        words = np.empty(2 * count, np.uint32)
        compiled(np.array(key, np.uint32), counter[1], counter[0], words)
        for n in {0, count // 2, count - 1}:
            pair = threefry(*key, (counter[0] + n) % 2**32, counter[1])
            assert (int(words[n]), int(words[count + n])) == pair


def test_a_place_of_the_stream_holds_the_same_numbers_whenever_it_is_asked_for() -> None:
    stream = NoiseStream(np.random.SeedSequence(1))
    places = (0, 1, 2**32, 2**64, 2**99)
    keys = [stream.key(place).tolist() for place in places]
    assert [stream.key(place).tolist() for place in places[::-1]] == keys[::-1]
    assert len({tuple(key) for key in keys}) == len(places)
    lines = _deviates(stream.key(1), 3, 5000)
    assert (_deviates(stream.key(1), 2, 5000, first=1) == lines[1:]).all()
    z = np.zeros((3, 9000), np.float32)
    add_noise(z, stream.key(1), normal_levels(1.0), 0, 3000, 8000, np.float32(0), np.float32(np.inf))
    assert (z[:, 3000:8000] == lines).all()
    assert not z[:, :3000].any()
    assert not z[:, 8000:].any()
