"""Circuits of tiles: products by every engine against plain numpy, bit for bit of the converters."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lhc.hardware import Adc, Dac, Hardware, Mapping, Pcm, Tiles
from lhc.hardware.geometry import split_sizes
from lhc.hardware.sections import Compensation
from tests.runtime.products import ENGINES, Engine, product, programmed

pytestmark = pytest.mark.analog

RNG = np.random.default_rng(20261126)
Array = npt.NDArray[Any]
MATRIX = RNG.normal(size=(7, 23)).astype(np.float32)
X = RNG.normal(size=(40, 23)).astype(np.float32)


def machine(**fields: object) -> Hardware:
    """Small tiles that hold what is mapped: 2 x 3 of them hold the matrix."""
    base = {
        "name": "x",
        "tiles": Tiles(rows=10, cols=4),
        "dac": Dac(bits=6),
        "adc": Adc(bits=7, bound=4.137, bound_management="none"),
        "devices": None,
        "compensation": Compensation(drift="none"),
    }
    return Hardware.model_validate(base | fields)


def converted(values: Array, bits: int, bound: float) -> Array:
    """What a converter makes of values."""
    step = 2 * bound / (2**bits - 2)
    return np.asarray(np.clip(np.rint(values / step) * step, -bound, bound))


def tiles_of(matrix: Array, hardware: Hardware) -> list[tuple[slice, slice]]:
    """Outputs and inputs of every tile."""
    spans = []
    for size, most in zip(matrix.shape, (hardware.tiles.cols, hardware.tiles.rows), strict=True):
        edges = np.cumsum([0, *split_sizes(size, most)])
        spans.append([slice(*pair) for pair in pairwise(edges)])
    return [(outputs, inputs) for outputs in spans[0] for inputs in spans[1]]


def sliced_products(x: Array, matrix: Array, hardware: Hardware) -> Array:
    """Tile by tile and slice by slice, in float64, the codes of a weight taken apart bit by bit."""
    bits, count = hardware.mapping.cell_bits, hardware.mapping.slices
    assert bits is not None
    assert hardware.adc.bits is not None
    assert hardware.adc.bound is not None
    assert hardware.dac.bits is not None
    y = np.zeros((len(x), len(matrix)))
    for outputs, inputs in tiles_of(matrix, hardware):
        peaks = np.abs(x[:, inputs]).max(axis=1, keepdims=True)
        q = converted(x[:, inputs] / peaks, hardware.dac.bits, 1.0)
        block = matrix[outputs, inputs].astype(np.float64)
        full = np.abs(block).max(axis=1 if hardware.mapping.columnwise else None, keepdims=True)
        most = 2 ** (bits * count) - 1
        codes = [[format(int(n), f"0{bits * count}b") for n in row] for row in np.rint(np.abs(block) / full * most)]
        for k in range(count):
            digits = np.array([[int(code[k * bits : (k + 1) * bits], 2) for code in row] for row in codes])
            z = q @ (np.sign(block) * digits / (2**bits - 1)).T
            worth = (2**bits - 1) * 2 ** (bits * (count - 1 - k)) / most
            y[:, outputs] += converted(z, hardware.adc.bits, hardware.adc.bound) * worth * (full * peaks.T).T
    return y


def equal(found: Array, wanted: Array, step: float) -> None:
    """All but what lies on a rounding edge of a converter, which may be one step off."""
    off = np.abs(found - wanted)
    assert np.mean(off > 1e-5 * np.abs(wanted).max()) < 0.01
    assert off.max() <= 1.01 * step


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("bits", "slices", "columnwise"), [(3, 2, True), (2, 4, False), (4, 1, True)])
def test_slices_are_read_shifted_and_added(bits: int, slices: int, columnwise: bool, engine: Engine) -> None:
    hardware = machine(mapping=Mapping(cell_bits=bits, slices=slices, columnwise=columnwise))
    found = product(programmed(MATRIX, hardware), torch.from_numpy(X), engine=engine).numpy()
    wanted = sliced_products(X, MATRIX, hardware)
    step = 8.3 / (2**7 - 2) * np.abs(MATRIX).max() * np.abs(X).max()
    equal(found, wanted, step)
    # Without slices the same weights are read by one ADC: other numbers.
    whole = machine(mapping=Mapping(columnwise=columnwise))
    other = product(programmed(MATRIX, whole), torch.from_numpy(X), engine=engine).numpy()
    assert np.abs(other - wanted).mean() > 10 * np.abs(found - wanted).mean()


def test_programmed_slices_are_the_same_in_both_engines() -> None:
    """With devices that err and drift, each slice on its own."""
    fields = {"devices": Pcm(), "compensation": Compensation(), "mapping": Mapping(cell_bits=3, slices=2)}
    matrix = programmed(MATRIX, machine(**fields), 86400.0)
    found = [product(matrix, torch.from_numpy(X), engine=engine).numpy() for engine in ENGINES]
    np.testing.assert_allclose(found[0], found[1], atol=8.3 / 126 * np.abs(MATRIX).max() * np.abs(X).max())
    assert np.mean(np.abs(found[0] - found[1]) > 1e-4) < 0.01
    state = matrix.programmed()
    assert state.starts == (0, 0, 8, 8, 16, 16)
    assert 0.02 < np.abs(state.weights() - MATRIX).mean() < 0.4


def test_large_matrices_are_sliced_alike() -> None:
    from lhc.runtime.large_matrix import LargeMatrix
    from lhc.runtime.matrix import AnalogMatrix

    hardware = machine(mapping=Mapping(cell_bits=3, slices=2), adc=Adc())
    states = []
    for kind in (LargeMatrix, AnalogMatrix):
        matrix = kind(MATRIX, 1, hardware, "abc")
        matrix.program(0, 0)
        states.append(matrix.programmed())
    assert states[0].starts == states[1].starts
    for rows in zip(states[0].tiles, states[1].tiles, strict=True):
        for large, small in zip(*rows, strict=True):
            np.testing.assert_allclose(large.weights, small.weights, atol=1e-6)
            np.testing.assert_allclose(large.scales, small.scales, rtol=1e-6)
