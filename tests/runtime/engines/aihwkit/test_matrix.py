"""Both engines output by output, with noise on: they differ by the order in which products are summed, and no more."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import lhc
from lhc.errors import DataError, UsageError
from lhc.hardware import Adc, Hardware, preset_names
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.circuits.faults import Faults
from lhc.hardware.description.tiles_and_converters import Dac, Mapping, Section
from lhc.models import zoo_entry
from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.programmed_matrix import Floats
from lhc.runtime import HybridSession
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.compiled.matrix import CompiledMatrix
from lhc.runtime.engines.counter_rng import deviate_table, deviate_terms, normal_levels, threefry
from lhc.runtime.engines.protocol import Position, Products
from lhc.runtime.engines.registry import ENGINES, choose_engine
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.runtime.torch_settings import isolated
from tests.runtime.pretended_gpu import GPU, GpuTensor, pretended_gpu

pytestmark = pytest.mark.analog

CPU = torch.device("cpu")
LIONHEART = Hardware.load("lionheart")


def _with(**sections: Section | None) -> Hardware:
    return LIONHEART.model_copy(update=sections)


MACHINES = {name: Hardware.load(name) for name in preset_names()} | {
    "offsets": _with(faults=Faults(column_offset=0.05)),
    "currents": _with(currents=Currents(read_noise=0.05, ir_drop=1.0)),
    "constant read noise": _with(currents=Currents(read_noise=0.05, read_noise_kind="constant")),
    "mismatch of cells": _with(adc=Adc(cell_mismatch=0.3, noise=0.04)),
    "mismatch of capacitors": _with(adc=Adc(kind="sar", capacitor_mismatch=0.02, noise=0.04)),
    "bits of inputs": _with(dac=Dac(bits=5, slice_bits=2)),
    "unsigned bits": _with(dac=Dac(bits=5, slice_bits=2, code="unsigned", scaling="static")),
    "two's complement": _with(dac=Dac(bits=5, slice_bits=2, code="twos-complement")),
    "sums from zero": _with(adc=Adc(polarity="unipolar")),
    "zeros are read": _with(adc=Adc(zero_skipping=False)),
    "slices of weights": _with(devices=None, mapping=Mapping(cell_bits=2, slices=3)),
    "no converters": _with(adc=Adc(bits=None, bound=None, noise=0.04), dac=Dac(bits=None, bound=None)),
    "a DAC of 24 bits": _with(dac=Dac(bits=24)),
    "an ADC of 24 bits": _with(adc=Adc(bits=24, noise=0.04)),
    "a narrow ADC": _with(adc=Adc(bound=1.0, noise=0.04)),
}

ORDINARY = [name for name, machine in MACHINES.items() if ENGINES["fast"].unsupported(machine) is None]
"""Those that the engine fast takes."""


def _states(
    weight: Floats, hardware: Hardware, groups: int = 1, copies: int = 1, chips: int = 1, read: int = 0
) -> list[Any]:
    """What tiles hold on some chips."""
    splits = -(-weight.shape[1] // hardware.tiles.rows)
    mapped = AnalogMatrix(
        weight, groups, hardware, "abc", [1.5] * splits if hardware.needs_calibration else None, copies
    )
    return [mapped.read(0, chip, 86400.0, read) for chip in range(chips)]


def _small_tiles(hardware: Hardware, rows: int, cols: int) -> Hardware:
    return hardware.model_copy(update={"tiles": hardware.tiles.model_copy(update={"rows": rows, "cols": cols})})


def _engines(states: list[Any], hardware: Hardware, convolves: bool, device: torch.device = CPU) -> list[Products]:
    draws = range(len(states))
    with isolated():
        fast = CompiledMatrix(states, draws, 0, hardware).lay_out(convolves)
        return [fast, AihwkitMatrix(states, draws, 0, hardware, convolves, device)]


def _assert_alike(found: Tensor, expected: Tensor) -> None:
    """Equal to float rounding, but for few outputs on a rounding edge; what is no number is none in both."""
    assert found.shape == expected.shape
    assert torch.equal(found.isnan(), expected.isnan())
    greatest = float(expected.nan_to_num().abs().max())
    differs = ((found - expected).nan_to_num().abs() > 1e-5 * greatest).numpy()
    assert differs.sum() <= 1 + 0.003 * differs.size


@pytest.mark.parametrize("name", ORDINARY)
@settings(max_examples=4)
@given(data=st.data())
def test_products_of_rows_are_those_of_fast(name: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    machine = _small_tiles(MACHINES[name], data.draw(st.integers(3, 60)), data.draw(st.integers(2, 300)))
    outputs, inputs, chips = data.draw(st.integers(1, 280)), data.draw(st.integers(2, 50)), data.draw(st.integers(1, 3))
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    weight[0] = 0
    x = rng.normal(0.4, 1, size=(data.draw(st.sampled_from([1, 8])), 6, inputs)).astype(np.float32)
    x[0, 0], x[0, 1], x[-1, -1, 0] = 0, 50, np.nan
    try:
        states = _states(
            weight, machine, 1, data.draw(st.sampled_from([1, 5])), chips, data.draw(st.sampled_from([0, 2]))
        )
    except lhc.LhcError:  # a tile of equal weights on devices that are not defined for it
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lhc.runtime.engines.counter_rng.LEAST_BY_ROWS", data.draw(st.sampled_from([0, 2**30])))
        fast, mine = _engines(states, machine, convolves=False)
        position, use = Position(2**33 + 5, data.draw(st.sampled_from([1, len(x)]))), data.draw(st.integers(0, 2))
        with isolated():
            _assert_alike(*(one.multiply(torch.from_numpy(x), position, use) for one in (mine, fast)))


@pytest.mark.parametrize("name", ORDINARY)
@settings(max_examples=4)
@given(data=st.data())
def test_convolutions_are_those_of_fast(name: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    axes, groups = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 1, 3]))
    kernel, strides, dilations, before, after, more = (
        tuple(data.draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))
        for low, high in ((1, 3), (1, 2), (1, 2), (0, 2), (0, 2), (0, 5))
    )
    sizes = [(k - 1) * d + 1 + some for k, d, some in zip(kernel, dilations, more, strict=True)]
    geometry = ConvGeometry(kernel, strides, dilations, tuple(zip(before, after, strict=True)), "NOTSET", groups)
    channels, outputs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    machine = _small_tiles(MACHINES[name], data.draw(st.integers(3, 60)), data.draw(st.integers(2, 20)))
    weight = rng.normal(size=(groups * outputs, channels * int(np.prod(kernel)))).astype(np.float32)
    if weight.shape[1] < 2:
        return
    x = rng.normal(0.4, 1, size=(6, groups * channels, *sizes)).astype(np.float32)
    x[0], x[1] = 0, 50
    try:
        states = _states(weight, machine, groups, data.draw(st.sampled_from([1, 5])), data.draw(st.integers(1, 3)))
    except lhc.LhcError:
        return
    fast, mine = _engines(states, machine, convolves=True)
    position = Position(7, data.draw(st.sampled_from([6, 3, 1])))
    with isolated():
        _assert_alike(*(one.convolve(torch.from_numpy(x), geometry, position, 1) for one in (mine, fast)))


def test_one_of_some_chips_multiplies_as_if_it_were_the_only_one() -> None:
    machine = _small_tiles(MACHINES["offsets"], 17, 9)
    weight = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    states = _states(weight, machine, chips=3)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32))
    with isolated():
        together = AihwkitMatrix(states, [0, 1, 2], 0, machine, False, CPU)
        expected = together.multiply(x, Position(3, 5), 1)
        for draw, state in enumerate(states):
            for one in (together.alone(draw), AihwkitMatrix([state], [draw], 0, machine, False, CPU)):
                torch.testing.assert_close(one.multiply(x, Position(3, 5), 1)[0], expected[draw], rtol=1e-5, atol=1e-5)


def test_answers_do_not_depend_on_how_samples_are_cut_into_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), "NOTSET", 1)
    weight = np.random.default_rng(0).normal(size=(4, 27)).astype(np.float32)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 3, 6, 5)).astype(np.float32))
    with isolated():
        matrix = AihwkitMatrix(_states(weight, LIONHEART), [0], 0, LIONHEART, True, CPU)
        whole = matrix.convolve(x, geometry, Position(2, 7), 0)
        halves = [matrix.convolve(x[a:b], geometry, Position(2 + a, b - a), 0) for a, b in ((0, 3), (3, 7))]
        monkeypatch.setattr("lhc.runtime.engines.aihwkit.matrix._VALUES", {"cpu": 1})
        in_blocks = matrix.convolve(x, geometry, Position(2, 7), 0)
    torch.testing.assert_close(torch.cat(halves, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(in_blocks, whole, rtol=1e-5, atol=1e-5)


def test_vectors_of_another_length_are_refused() -> None:
    matrix = AihwkitMatrix(_states(np.eye(4, 6, dtype=np.float32), LIONHEART), [0], 0, LIONHEART, False, CPU)
    with pytest.raises(DataError, match="vectors of 5 inputs do not fit a matrix that takes 6"):
        matrix.multiply(torch.zeros(2, 5), Position(0, 2), 0)


def test_words_of_tensors_are_those_of_integers() -> None:
    k, x, y = 2**32 - 5, torch.tensor([0, 7, 2**32 - 1]), 123_456_789
    found = threefry(k, k // 3, x, y)
    assert [(int(a), int(b)) for a, b in zip(*found, strict=True)] == [threefry(k, k // 3, n, y) for n in x.tolist()]


def test_deviates_of_the_table_are_the_levels_of_the_distribution() -> None:
    found = deviate_table(deviate_terms(2.0))
    assert np.abs(np.sort(found) - 2 * np.sort(normal_levels(1.0))).max() < 2 * 4e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_on_a_gpu_no_tensor_meets_one_of_the_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tensors lie is tested, and what they become, by the processor's arithmetic: this machine has no GPU."""
    machine = _small_tiles(MACHINES[name], 20, 9)
    weight = np.random.default_rng(0).normal(size=(24, 27)).astype(np.float32)
    states = _states(weight, machine, groups=2, chips=2)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 6, 6, 5)).astype(np.float32))
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), ((1, 1), (1, 0)), "NOTSET", 2)
    with isolated():
        expected = AihwkitMatrix(states, [0, 1], 0, machine, True, CPU).convolve(x, geometry, Position(0, 3), 0)
        with pretended_gpu(monkeypatch):
            matrix = AihwkitMatrix(states, [0, 1], 0, machine, True, GPU)
            found = matrix.convolve(x, geometry, Position(0, 3), 0)
            alone = matrix.alone(1).convolve(x, geometry, Position(0, 3), 0)
    assert not isinstance(found, GpuTensor)
    assert torch.equal(found, expected)
    torch.testing.assert_close(alone[0], expected[1], rtol=1e-5, atol=1e-5)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
    model = zoo_entry("digits-narrow").model()
    expected = HybridSession(model, "lionheart", "all-analog", engine="aihwkit").run(None, {"x": images})[0]
    with pretended_gpu(monkeypatch) as multiplied:
        found = HybridSession(model, "lionheart", "all-analog", engine="aihwkit").run(None, {"x": images})[0]
    assert multiplied["matmul"] > 0
    np.testing.assert_array_equal(found, expected)
    fast = HybridSession(model, "lionheart", "all-analog", engine="fast").run(None, {"x": images})[0]
    # A code that lies on an edge in one layer moves the answer by what the later layers make of it.
    assert np.median(np.abs(found - fast)) < 1e-5 * np.abs(fast).max()


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_a_noise_wrong_by_three_percent_is_found(factor: float) -> None:
    weight = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    states = _states(weight, LIONHEART)
    adc = LIONHEART.adc
    wrong = LIONHEART.model_copy(update={"adc": adc.model_copy(update={"noise": adc.noise * factor})})
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(40, 60)).astype(np.float32))
    fast, _ = _engines(states, LIONHEART, convolves=False)
    _, mine = _engines(states, wrong, convolves=False)
    with isolated(), pytest.raises(AssertionError):
        _assert_alike(*(one.multiply(x, Position(0, 40), 0) for one in (mine, fast)))


@pytest.mark.parametrize("wrong", ["a column 2 % off", "another seed"])
def test_a_planted_error_is_found(wrong: str) -> None:
    weight = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    states, x = _states(weight, LIONHEART), torch.from_numpy(np.random.default_rng(1).normal(size=(40, 60)))
    fast, _ = _engines(states, LIONHEART, convolves=False)
    gain = np.ones(20, np.float32)
    gain[3] = 1.02 if wrong == "a column 2 % off" else 1
    seed = 1 if wrong == "another seed" else 0
    with isolated():
        mine = AihwkitMatrix([states[0].with_gain(gain)], [0], seed, LIONHEART, False, CPU)
        found, expected = (one.multiply(x.to(torch.float32), Position(0, 40), 0) for one in (mine, fast))
    with pytest.raises(AssertionError):
        _assert_alike(found, expected)


def test_of_the_presets_two_have_effects_that_the_engine_fast_leaves_out() -> None:
    chosen = {name: choose_engine("auto", Hardware.load(name)) for name in preset_names()}
    assert {name for name, choice in chosen.items() if choice.name == "aihwkit"} == {"neurram", "sram-asim"}
    assert "senses voltages (adc.sensing)" in str(chosen["neurram"].why)


@pytest.mark.parametrize("name", [name for name in MACHINES if name not in ORDINARY])
def test_a_machine_with_rare_effects_is_refused_by_name(name: str) -> None:
    what = ENGINES["fast"].unsupported(MACHINES[name])
    assert what is not None
    with pytest.raises(UsageError, match=re.escape(what)):
        choose_engine("fast", MACHINES[name])


def test_converters_of_24_bits_take_the_engine_that_rounds_to_all_of_their_codes() -> None:
    """The engine fast rounds by a sum in single precision, which holds the codes of 23 bits."""
    for section in ({"dac": Dac(bits=24)}, {"adc": Adc(bits=24)}):
        choice = choose_engine("auto", _with(**section))
        assert choice.name == "aihwkit"
        assert "more than 23 bits (dac.bits, adc.bits)" in str(choice.why)
    for section in ({"dac": Dac(bits=23)}, {"adc": Adc(bits=23)}, {"adc": Adc(bits=24, bound=None)}):
        assert choose_engine("auto", _with(**section)).name == "fast"
