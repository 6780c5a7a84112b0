"""Noise on lines of values: its distribution and size, and gradients that draw it again."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lhc.runtime.engines.compiled.kernels.deviates import add_noise_to_lines, noise_gradients
from lhc.runtime.engines.counter_rng import deviate_table, deviate_terms, threefry

pytestmark = pytest.mark.analog

KEY = np.array([3, 4], np.uint32)


def noise(lines: np.ndarray, places: np.ndarray, key: np.ndarray = KEY) -> np.ndarray:
    values = np.zeros((len(lines), places.shape[1]), np.float32)
    add_noise_to_lines(values, lines, places, key, deviate_terms(1.0))
    return values


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("width", [1, 31, 32, 200])
def test_deviates_are_normal_and_independent(width: int) -> None:
    lines = 200_000 // width
    drawn = noise(ones(lines), ones(1, width))
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.001
    flat = drawn.ravel()
    for shift in (1, 2, 16, 32, 64, 128, width):
        assert abs(np.mean(flat[shift:] * flat[:-shift])) < 4 / np.sqrt(flat.size)
    other = noise(ones(lines), ones(1, width), np.array([3, 5], np.uint32))
    assert abs(np.mean(other * drawn)) < 4 / np.sqrt(flat.size)


@pytest.mark.parametrize(("rows", "share", "width"), [(1, 6, 5), (3, 2, 70), (4, 1, 300), (2, 3, 1)])
def test_factors_and_gradients_are_those_of_the_formula(rows: int, share: int, width: int) -> None:
    """Sums of float32: to 1e-4 of the greatest."""
    rng = np.random.default_rng(0)
    lines = rng.normal(size=rows * share).astype(np.float32)
    places = rng.normal(size=(rows, width)).astype(np.float32)
    unit = noise(ones(len(lines)), ones(rows, width))
    spread = np.repeat(places, share, axis=0)
    np.testing.assert_allclose(noise(lines, places), lines[:, None] * spread * unit, rtol=1e-6)
    start = rng.normal(size=unit.shape).astype(np.float32)
    moved = start.copy()
    add_noise_to_lines(moved, lines, places, KEY, deviate_terms(1.0))
    np.testing.assert_allclose(moved - start, lines[:, None] * spread * unit, atol=1e-6)
    gradient = rng.normal(size=unit.shape).astype(np.float32)
    of_lines, of_places = np.empty_like(lines), np.zeros_like(places)
    noise_gradients(gradient, lines, places, KEY, deviate_terms(1.0), of_lines, of_places)
    np.testing.assert_allclose(of_lines, (gradient * spread * unit).sum(1), atol=1e-4)
    by_place = (gradient * lines[:, None] * unit).reshape(rows, share, width).sum(1)
    np.testing.assert_allclose(of_places, by_place, atol=1e-4)


WIDTH = 200
NOISE_OF_ONE_LINE = f"""
import sys
import numpy as np
from lhc.runtime.engines.compiled.kernels.deviates import add_noise_to_lines
from lhc.runtime.engines.counter_rng import deviate_terms

values, one = np.zeros((1, {WIDTH}), np.float32), np.ones((1, {WIDTH}), np.float32)
add_noise_to_lines(values, one[0, :1], one, np.array({KEY.tolist()}, np.uint32), deviate_terms(1.0))
sys.stdout.buffer.write(values.tobytes())
"""


def test_deviates_of_places_do_not_depend_on_the_width_of_the_processors_vectors(tmp_path: Path) -> None:
    """Four of a counter are 32 places apart; without its extensions every processor has vectors of 16."""
    place = np.arange(WIDTH)
    words = threefry(int(KEY[0]), int(KEY[1]), place // 128 * 128 + place % 32, np.zeros_like(place))
    quarters = np.stack([*(word >> 16 for word in words), *(word & 0xFFFF for word in words)])
    expected = deviate_table(deviate_terms(1.0))[quarters[place // 32 % 4, place]]
    np.testing.assert_allclose(noise(ones(1), ones(1, WIDTH))[0], expected, atol=1e-6)
    root = str(Path(__file__).resolve().parents[5])
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "LHC_CACHE": str(tmp_path), "PYTHONPATH": root}
    printed = subprocess.run(
        [sys.executable, "-c", NOISE_OF_ONE_LINE], env=environment, capture_output=True, check=True
    )
    np.testing.assert_allclose(np.frombuffer(printed.stdout, np.float32), expected, atol=1e-6)
