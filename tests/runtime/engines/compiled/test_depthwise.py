"""Convolutions of every channel by itself, against the kernel that takes all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lhc.hardware import Hardware
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.protocol import Digital, Position
from lhc.runtime.tiles.analog_matrix import AnalogMatrix

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")
STATIC = Hardware.load("static-range")


def _matrix(weight: Floats, hardware: Hardware, chips: int = 1, copies: int = 1) -> CompiledMatrix:
    """Of a group for every channel."""
    ranges = (1.5,) if hardware.dac.scaling != "abs_max" else None
    mapped = AnalogMatrix(weight, len(weight), hardware, "0", ranges, copies)
    states = [mapped.read(0, chip, 86400.0) for chip in range(chips)]
    return CompiledMatrix(states, range(chips), 0, hardware).lay_out(convolves=True)


def _both(
    matrix: CompiledMatrix, x: Tensor, geometry: ConvGeometry, position: Position, digital: Digital | None = None
) -> list[bytes]:
    """What the kernel for single channels finds, and the one for all convolutions."""
    found = []
    for name, other in (("convolve", None), ("takes_channels", lambda *_: False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"lhc.runtime.engines.compiled.matrix.{name}", other)
            found.append(matrix.convolve(x, geometry, position, 0, digital).numpy().tobytes())
    return found


@st.composite
def geometries(draw: st.DrawFn) -> tuple[ConvGeometry, tuple[int, ...]]:
    """A geometry, and the sizes of an image."""
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([2, 3, 7]))
    kernel, strides, dilations, before, after, more = (
        tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))
        for low, high in ((1, 3), (1, 3), (1, 2), (0, 2), (0, 2), (0, 5))
    )
    sizes = [(k - 1) * d + 1 + some for k, d, some in zip(kernel, dilations, more, strict=True)]
    if draw(st.booleans()):
        sizes[-1] += 70  # lines of more than a block
    pads = tuple(zip(before, after, strict=True))
    return ConvGeometry(kernel, strides, dilations, pads, "NOTSET", groups), tuple(sizes)


@settings(max_examples=25)
@given(geometries(), st.data())
def test_bytes_are_those_of_the_kernel_for_all_convolutions(
    case: tuple[ConvGeometry, tuple[int, ...]], data: st.DataObject
) -> None:
    geometry, sizes = case
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    hardware = data.draw(st.sampled_from([LIONHEART, STATIC]))
    copies, chips = data.draw(st.sampled_from([1, 6])), data.draw(st.integers(1, 2))
    weight = rng.uniform(-0.3, 1, size=(geometry.groups, int(np.prod(geometry.kernel)))).astype(np.float32)
    matrix = _matrix(weight, hardware, chips, copies)
    x = rng.uniform(-0.2, 1, size=(3, geometry.groups, *sizes)).astype(np.float32)
    x[0, :, : sizes[0] // 2] = 0
    x[2, 0].flat[-1] = np.nan
    after = Digital(rng.normal(size=chips * 3 * geometry.groups).astype(np.float32), True, data.draw(st.booleans()))
    position = Position(61, data.draw(st.sampled_from([3, 1])))
    found, expected = _both(matrix, torch.from_numpy(x), geometry, position, after)
    assert found == expected


@pytest.mark.parametrize("size", [9, 40])
def test_vectors_that_saturate_in_many_rounds_are_read_until_they_do_not(size: int) -> None:
    """Sums beyond the ADC's bound by all factors, of which the queue of every round holds some."""
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 1, size=(5, 49)).astype(np.float32)
    x = rng.uniform(0, 1, size=(2, 5, size, size)) ** np.linspace(0, 8, size)
    geometry = ConvGeometry((7, 7), (1, 1), (1, 1), ((3, 3), (3, 3)), "NOTSET", 5)
    matrix = _matrix(weight, LIONHEART, copies=5)
    images = torch.from_numpy(x.astype(np.float32))
    found, expected = _both(matrix, images, geometry, Position(0, 2))
    assert found == expected
    once = _matrix(
        weight,
        LIONHEART.model_copy(update={"adc": LIONHEART.adc.model_copy(update={"bound_management": "none"})}),
        copies=5,
    )
    clipped = once.convolve(images, geometry, Position(0, 2), 0).numpy()
    assert (np.frombuffer(found, np.float32) > 4 * clipped.ravel()).any(), "at least three rounds"


def test_queues_hold_what_a_channel_leaves_in_those_before_them() -> None:
    """At a channel's end three queues may hold nearly a block each, all of which wait for the next round."""
    rng = np.random.default_rng(0)
    channels = 100
    weight = rng.uniform(0.5, 1, size=(channels, 9)).astype(np.float32)
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "NOTSET", channels)
    sizes = (1, channels, 6, 20)
    images = torch.from_numpy((rng.uniform(size=sizes) ** rng.uniform(size=sizes)).astype(np.float32))
    found, expected = _both(_matrix(weight, LIONHEART, copies=28), images, geometry, Position(0, 1))
    assert found == expected


@pytest.mark.parametrize("width", [128, 127])
def test_outputs_written_past_the_caches_and_long_lines_in_phases_are_as_others(width: int) -> None:
    """4.4 MB of outputs; only those of channels of the even width are whole lines of the cache."""
    rng = np.random.default_rng(3)
    weight = rng.uniform(-0.3, 1, size=(34, 9)).astype(np.float32)
    geometry = ConvGeometry((3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)), "NOTSET", 34)
    matrix = _matrix(weight, LIONHEART, copies=6)
    x = torch.from_numpy(rng.uniform(-0.2, 1, size=(8, 34, 128, width)).astype(np.float32))
    found, expected = _both(matrix, x, geometry, Position(0, 8))
    assert len(found) >= 2**22
    assert found == expected
