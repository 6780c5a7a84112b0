"""Convolutions in one pass, of any kind and cut, against aihwkit's own tiles."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier, get_ident
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from lhc.hardware import Adc, Hardware, Tiles
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.engines.compiled import matrix as compiled_matrix
from lhc.runtime.engines.compiled.conv.layout import ImageCut, ImageMemory, image_memory
from lhc.runtime.engines.compiled.kernels.adc_noise_and_currents import PackedTiles
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor

pytestmark = pytest.mark.analog

Array = npt.NDArray[np.float32]

STATIC = Hardware.load("static-range")
LIONHEART = Hardware.load("lionheart")
RANGE = 1.5
DAY = 86400.0


def _silent(hardware: Hardware) -> Hardware:
    return hardware.model_copy(update={"adc": hardware.adc.model_copy(update={"noise": 0.0})})


def _with_rows(hardware: Hardware, rows: int) -> Hardware:
    return hardware.model_copy(update={"tiles": Tiles(rows=rows, cols=6)})


def _without_ranges(hardware: Hardware) -> Hardware:
    """Inputs are clipped to the DAC's own bound."""
    dac = hardware.dac.model_copy(update={"scaling": "none", "bound": RANGE})
    return hardware.model_copy(update={"dac": dac})


@dataclass(frozen=True)
class _Conv:
    """One convolution, its hardware and its images."""

    model: onnx.ModelProto
    hardware: Hardware
    x: Array
    inputs: int

    @classmethod
    def of(cls, hardware: Hardware, x: Array, weight: Array, rows: int | None = None, **attributes: object) -> "_Conv":
        node = helper.make_node("Conv", ["x", "W"], ["y"], name="conv", **attributes)  # type: ignore[arg-type]
        kind = onnx.TensorProto.FLOAT
        shape = ["n", *x.shape[1:]]
        graph = helper.make_graph(
            [node],
            "conv",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", kind, [None] * x.ndim)],
            [numpy_helper.from_array(weight, "W")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        machine = hardware if rows is None else _with_rows(hardware, rows)
        return cls(model, machine, x, int(np.prod(weight.shape[1:])))

    def executor(self, engine: Literal["fast", "aihwkit"] = "fast") -> HybridExecutor:
        loaded = load_model(self.model)
        ranges = {"conv": (RANGE,) * -(-self.inputs // self.hardware.tiles.rows)}
        return HybridExecutor(loaded, read_graph(loaded), ["conv"], ranges, engine=engine)

    def outputs(self, engine: str, chips: int = 1, cuts: Sequence[int] = (), first: int = 0) -> Array:
        """``(chips, samples, outputs, ...)`` of the images in calls that are cut there."""
        executor = self.executor("fast" if engine == "fast" else "aihwkit")
        states = [executor.states(self.hardware, 0, draw, DAY) for draw in range(chips)]
        layers = executor.on_chips(states, self.hardware, 0, range(chips))
        results, start = [], first
        for part in np.split(self.x, list(cuts)):
            results.append([chip[0] for chip in executor.finish({"x": part}, layers, Position(start, len(part)))])
            start += len(part)
        return np.concatenate(results, axis=1)

    def steps(self) -> Array:
        """What one ADC code is worth in every output, summed over row splits, ``(outputs,)``."""
        (state,) = self.executor().states(self.hardware, 0, 0, DAY).values()
        adc = self.hardware.adc
        assert adc.bits is not None
        assert adc.bound is not None
        scales = [np.concatenate([tile.scales * tile.gain for tile in row]) for row in state.tiles]
        total: Array = np.sum(scales, axis=0) * np.float32(2 * adc.bound / (2**adc.bits - 2))
        if (
            self.hardware.dac.scaling == "abs_max"
        ):  # codes are worth their vector's scale, twice as much when read again
            total *= 2 * np.abs(self.x).max()
        return total


@st.composite
def convolutions(draw: st.DrawFn) -> _Conv:
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = draw(st.sampled_from([1, 2, 3, 4, 8, 12]))
    kernel, strides, dilations, pads = (
        draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))
        for low, high in ((1, 3), (1, 3), (1, 2), (0, 4))
    )
    after = draw(st.lists(st.integers(0, 2), min_size=axes, max_size=axes))
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes |= {"pads": [*pads, *after]} if auto == "NOTSET" else {"auto_pad": auto}
    sizes = [(k - 1) * d + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilations, strict=True)]
    sizes[-1] += draw(st.sampled_from([0, 0, 3, 8, 13, 24, 40]))  # blocks of whole lines, and of parts of few
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(0.3, 1, size=(draw(st.integers(1, 5)), groups * channels, *sizes)).astype(np.float32)
    if draw(st.booleans()):
        x[0, :, : max(1, sizes[0] // 2)] = 0  # so that some vectors are zero
    weight = rng.normal(size=(groups * draw(st.integers(1, 4)), channels, *kernel)).astype(np.float32)
    inputs = channels * int(np.prod(kernel))
    rows = draw(st.sampled_from([inputs, max(2, inputs // 2), max(2, inputs // 3)]))
    hardware = draw(st.sampled_from([LIONHEART, STATIC, _without_ranges(STATIC)]))
    return _Conv.of(hardware, x, weight, rows, **attributes)


@settings(max_examples=40)
@given(convolutions())
def test_equals_the_reference_without_noise(case: _Conv) -> None:
    """To float rounding, and where a product lies on a rounding edge by one ADC step."""
    silent = _Conv(case.model, _silent(case.hardware), case.x, case.inputs)
    fast, reference = silent.outputs("fast"), silent.outputs("aihwkit")
    difference = np.abs(fast - reference)
    steps = silent.steps().reshape(-1, *(1,) * (difference.ndim - 3))
    rounding = 1e-5 * max(1.0, float(np.abs(reference).max()))
    assert (difference <= 1.001 * steps + rounding).all()
    assert (difference > rounding).sum() <= 1 + 0.003 * difference.size
    assert (fast[reference == 0] == 0).mean() > 0.99 if (reference == 0).any() else True


def test_groups_whose_sums_saturate_are_read_again_as_the_reference_does() -> None:
    """Every channel by itself, 49 taps: sums far beyond the ADC's bound, beside vectors that fit."""
    rng = np.random.default_rng(2)
    x = rng.uniform(0.8, 1, size=(5, 3, 9, 11)).astype(np.float32)
    x[:, :, :, 6:] *= rng.uniform(-1, 1, size=(5, 3, 9, 5))
    weight = rng.uniform(0.8, 1, size=(3, 1, 7, 7)).astype(np.float32)
    case = _Conv.of(_silent(LIONHEART), x, weight, 49, pads=[3, 3, 3, 3], group=3)
    fast, reference = case.outputs("fast"), case.outputs("aihwkit")
    difference, step = np.abs(fast - reference), case.steps().reshape(-1, 1, 1)
    assert (difference <= 1.001 * step + 1e-4).all()
    assert (difference > 1e-4).mean() < 0.01, "on a rounding edge"
    assert (np.abs(fast) > 1.2 * 127 * step / 2).mean() > 0.1, "sums beyond the ADC's bound"


@settings(max_examples=15)
@given(convolutions(), st.data())
def test_noise_does_not_depend_on_batching(case: _Conv, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(case.x)), max_size=3)))
    assert case.outputs("fast", 2, cuts, first=62).tobytes() == case.outputs("fast", 2, first=62).tobytes()


def _noisy() -> _Conv:
    """Two row splits that end inside a channel; nothing saturates."""
    rng = np.random.default_rng(1)
    x = np.repeat(rng.uniform(-1, 1, size=(1, 6, 10, 10)), 192, axis=0).astype(np.float32)
    weight = rng.uniform(-1, 1, size=(8, 6, 3, 3)).astype(np.float32)
    return _Conv.of(STATIC, x, weight, 32, pads=[1, 1, 1, 1])


def _spread(outputs: Array) -> float:
    """Standard deviation over equal samples, pooled over all outputs and positions."""
    return float(np.sqrt(outputs[0].astype(np.float64).var(axis=0, ddof=1).mean()))


def test_noise_is_that_of_the_reference() -> None:
    """800 outputs, 192 reads each: a pooled deviation is known to 0.18 %, the ratio of two to 0.26 %."""
    case = _noisy()
    fast = case.outputs("fast")
    reference = np.concatenate([case.outputs("aihwkit", first=first)[:, :64] for first in (0, 192, 384)], axis=1)
    assert abs(np.log(_spread(fast) / _spread(reference))) < 3.3 * 0.0026
    errors = (fast[0].mean(axis=0) - reference[0].mean(axis=0)) / (_spread(reference) * np.sqrt(2 / 192))
    assert abs(errors.mean()) < 3.3 / np.sqrt(errors.size)
    assert (errors**2).mean() < 1 + 3.3 * np.sqrt(2 / errors.size) + 0.02


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_a_noise_wrong_by_three_percent_is_found(factor: float) -> None:
    case = _noisy()
    adc = case.hardware.adc
    wrong = case.hardware.model_copy(update={"adc": adc.model_copy(update={"noise": adc.noise * factor})})
    ratio = _spread(_Conv(case.model, wrong, case.x, case.inputs).outputs("fast")) / _spread(case.outputs("fast"))
    assert abs(np.log(ratio)) > 3.3 * 0.0026


def test_noise_of_chips_samples_channels_positions_and_row_splits_is_independent() -> None:
    """Equal weights and inputs on perfect devices: only the noise tells outputs apart."""
    adc = Adc(bits=None, bound=None, noise=0.06, bound_management="none")
    hardware = STATIC.model_copy(update={"adc": adc, "devices": None})
    case = _Conv.of(hardware, np.ones((40, 4, 8, 8), np.float32), np.full((6, 4, 1, 1), 0.5, np.float32), 2)
    noise = case.outputs("fast", chips=2) / (0.06 * RANGE * 0.5)
    noise -= noise.mean()
    assert noise.std() == pytest.approx(np.sqrt(2), rel=0.02), "two row splits, each with noise of its own"
    for axis in range(5):
        others = np.roll(noise, 1, axis=axis)
        assert abs((noise * others).mean() / 2) < 3.7 / np.sqrt(noise.size)


@pytest.mark.parametrize(("channels", "outputs", "side"), [(240, 64, 3), (1, 2700, 7)])
def test_blocks_that_meet_a_large_matrix_together_are_as_each_by_itself(channels: int, outputs: int, side: int) -> None:
    """More than 131,072 weights; 245 vectors in one call, in two blocks of blocks, of which some are read again."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, size=(5, channels, 7, 7)).astype(np.float32)
    weight = rng.uniform(0, 1, size=(outputs, channels, side, side)).astype(np.float32)
    case = _Conv.of(LIONHEART, x, weight, pads=[side // 2] * 4)
    assert case.outputs("fast", 2, [1, 3], first=62).tobytes() == case.outputs("fast", 2, first=62).tobytes()
    exact = _silent(LIONHEART).model_copy(update={"devices": None})
    same = _Conv(case.model, exact, case.x, case.inputs)
    fast, reference, step = same.outputs("fast"), same.outputs("aihwkit"), same.steps().reshape(-1, 1, 1)
    difference = np.abs(fast - reference)
    assert (difference <= 1.001 * step + 1e-3).all()
    assert (difference > 1e-3).mean() < 0.01 * -(-case.inputs // 256), "on a rounding edge of a row of tiles"
    assert (np.abs(fast) > 1.2 * 127 * step / 2).any(), "sums beyond the ADC's bound"


def test_vectors_are_read_again_together_as_each_by_itself() -> None:
    """63 inputs, 40 outputs on two tiles; some vectors of most blocks saturate, a few twice."""
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 1, size=(9, 7, 11, 11)) ** np.linspace(0, 4, 11)
    weight = rng.uniform(0.5, 1, size=(40, 7, 3, 3))
    case = _Conv.of(LIONHEART, x.astype(np.float32), weight.astype(np.float32), 63, pads=[1] * 4)
    case = replace(case, hardware=case.hardware.model_copy(update={"tiles": Tiles(rows=63, cols=20)}))
    together = case.outputs("fast", 2, first=62)
    for cuts in ([1, 3, 8], range(1, 9)):
        assert case.outputs("fast", 2, list(cuts), first=62).tobytes() == together.tobytes()
    exact = replace(case, hardware=_silent(case.hardware).model_copy(update={"devices": None}))
    fast, reference, step = exact.outputs("fast"), exact.outputs("aihwkit"), exact.steps().reshape(-1, 1, 1)
    difference = np.abs(fast - reference)
    assert (difference <= 4 * 1.001 * step + 1e-3).all()
    assert (difference > 1e-3).mean() < 0.02, "on a rounding edge, of outputs or of being read again"
    worst = (np.abs(fast) / (127 * step / 2)).max(axis=(0, 2))
    assert 0.1 < (worst > 1.2).mean() < 0.9, "some of most blocks"
    assert (worst > 2.4).mean() > 0.02, "twice"


def test_outputs_written_past_the_caches_are_as_others() -> None:
    """8.6 MB in one call, half of it in each of two; lines of the cache are filled by the first weights alone."""
    rng = np.random.default_rng(4)
    for width in (256, 255):
        x = rng.normal(size=(2, 3, 128, width)).astype(np.float32)
        case = _Conv.of(LIONHEART, x, rng.normal(size=(30, 3, 1, 1)).astype(np.float32))
        assert case.outputs("fast", 1, [1]).tobytes() == case.outputs("fast").tobytes()


def test_what_saturates_is_clipped() -> None:
    """All inputs and weights at full scale: 36 units, more than the ADC's 12."""
    adc = Adc(bits=8, bound=12.0, noise=0.0, bound_management="none")
    hardware = STATIC.model_copy(update={"adc": adc, "devices": None})
    case = _Conv.of(hardware, np.full((2, 4, 3, 3), 9.0, np.float32), np.ones((5, 4, 3, 3), np.float32))
    assert case.outputs("fast") == pytest.approx(12.0 * RANGE)


def test_a_thread_finds_the_memory_of_its_last_call_and_of_no_other_thread() -> None:
    """Compiled loops run without Python's lock."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8, 3, 3)).astype(np.float32)
    conv = _Conv.of(LIONHEART, rng.normal(size=(3, 8, 16, 16)).astype(np.float32), weight, pads=[1, 1, 1, 1])
    executor = conv.executor()
    chips = executor.on_chips([executor.states(LIONHEART, 0, 0, 0.0)], LIONHEART, 0, (0,))
    together, found = Barrier(2), []

    def call(_: int) -> None:
        together.wait()  # both threads live
        for _ in range(2):
            assert next(executor.finish({"x": conv.x}, chips, Position(0, 3)))[0].any()

    def memory(geometry: ConvGeometry, shape: tuple[int, ...], cut: ImageCut, tiles: PackedTiles) -> ImageMemory:
        found.append((get_ident(), image_memory(geometry, shape, cut, tiles)))
        return found[-1][1]

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(compiled_matrix, "image_memory", memory)
        list(pool.map(call, range(2)))

    assert len({thread for thread, _ in found}) == 2
    for thread, one in found:
        for other, another in found:
            assert np.shares_memory(one.padded, another.padded) == (thread == other)
