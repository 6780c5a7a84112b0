"""What lies under the fast engine: unfolded vectors, greatest magnitudes and noise, against plain numpy and torch."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.kernels import ROUNDS, add_noise
from lhc.runtime.normals import NoiseStream, Words, fill_words, normal_levels, threefry
from lhc.runtime.unfold import padded, window_layout
from lhc.runtime.vectors import INFINITE, Vectors, rows_of_matrix, windows

pytestmark = pytest.mark.analog


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[torch.Tensor, ConvGeometry]:
    """Inputs ``(samples, groups · channels, *spatial)`` of 1 to 3 axes and a convolution that fits them."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(1, 7), min_size=axes, max_size=axes))

    def per_axis(most: int) -> list[int]:
        return draw(st.lists(st.integers(1, most), min_size=axes, max_size=axes))

    kernel, dilations, strides = per_axis(3), per_axis(2), per_axis(3)
    pads = [max(0, (k - 1) * d + 1 - size) for k, d, size in zip(kernel, dilations, sizes, strict=True)]
    node = onnx.helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=strides, dilations=dilations, pads=[*pads, *pads], group=groups
    )
    shape = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 4)), *sizes)
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(np.float32)
    return torch.from_numpy(values), ConvGeometry.of(node, tuple(kernel))


def _unfolded(x: torch.Tensor, geometry: ConvGeometry) -> tuple[Vectors, np.ndarray]:
    """Vectors, and the same by torch's view of the windows, ``(groups, inputs, vectors)``."""
    image = padded(x, geometry)
    shape, strides = window_layout(image, geometry)
    axes = len(geometry.kernel)
    expected = image.as_strided(shape, strides).numpy()
    inputs = int(np.prod(shape[: 1 + axes])) // geometry.groups
    return windows(image, geometry, geometry.groups), expected.reshape(geometry.groups, inputs, -1)


@settings(max_examples=60)
@given(convolutions(), st.data())
def test_unfolding_is_the_view_of_all_windows(case: tuple[torch.Tensor, ConvGeometry], data: st.DataObject) -> None:
    vectors, expected = _unfolded(*case)
    assert (vectors.rows().numpy() == expected).all()
    start = data.draw(st.integers(0, expected.shape[1] - 1))
    stop = data.draw(st.integers(start + 1, expected.shape[1]))
    assert (vectors.peaks(start, stop) == np.abs(expected[:, start:stop]).max(axis=1)).all()
    first = data.draw(st.integers(0, vectors.count - 1))
    count = data.draw(st.integers(1, vectors.count - first))
    factors = np.full((vectors.groups, count), 10, np.float32)
    codes = np.empty((vectors.groups, stop - start, count), np.float32)
    vectors.unfold(start, stop, first, factors, codes, ROUNDS, np.float32(7))
    wanted = np.clip(np.rint(expected[:, start:stop, first : first + count] * np.float32(10)), -7, 7)
    assert (codes == wanted).all()


def test_rows_of_a_matrix() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    vectors = rows_of_matrix(torch.from_numpy(x))
    assert (vectors.rows().numpy()[0] == x.T).all()
    assert (vectors.peaks(1, 3)[0] == np.abs(x[:, 1:]).max(axis=1)).all()


def test_rounding_is_half_to_even_and_keeps_what_is_not_finite() -> None:
    x = np.array([[0.5], [1.5], [-2.5], [126.49999], [np.nan], [np.inf]], np.float32)
    vectors = rows_of_matrix(torch.from_numpy(x))
    codes = np.empty((1, 1, 6), np.float32)
    vectors.unfold(0, 1, 0, np.ones((1, 6), np.float32), codes, ROUNDS, INFINITE)
    assert codes[0, 0].tolist() == pytest.approx([0, 2, -2, 126, np.nan, np.inf], nan_ok=True)


def _deviates(key: Words, lines: int, values: int, first: int = 0) -> np.ndarray:
    """Noise of unit variance, ``(lines, values)``."""
    z = np.zeros((lines, values), np.float32)
    add_noise(z, key, normal_levels(1.0), first, 0, values, np.float32(0), INFINITE)
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
    assert tuple(int(word) for word in threefry(*np.array([*key, *counter], np.uint32))) == expected
    words = np.empty(8, np.uint32)
    fill_words(np.array(key, np.uint32), counter[1], counter[0], words)
    assert (int(words[0]), int(words[4])) == expected


def test_a_place_of_the_stream_holds_the_same_numbers_whenever_it_is_asked_for() -> None:
    stream = NoiseStream(np.random.SeedSequence(1))
    places = (0, 1, 2**32, 2**64, 2**99)
    keys = [stream.key(place).tolist() for place in places]
    assert [stream.key(place).tolist() for place in places[::-1]] == keys[::-1]
    assert len({tuple(key) for key in keys}) == len(places)
    lines = _deviates(stream.key(1), 3, 5000)
    assert (_deviates(stream.key(1), 2, 5000, first=1) == lines[1:]).all()
    z = np.zeros((3, 9000), np.float32)
    add_noise(z, stream.key(1), normal_levels(1.0), 0, 3000, 8000, np.float32(0), INFINITE)
    assert (z[:, 3000:8000] == lines).all()
    assert not z[:, :3000].any()
    assert not z[:, 8000:].any()
