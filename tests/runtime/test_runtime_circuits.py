"""Circuits of tiles: products by every engine against plain numpy, bit for bit of the converters."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lhc.hardware import Adc, Dac, Hardware, Mapping, Pcm, Tiles
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.hardware.tile_geometry import split_sizes
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


def driven_in_slices(x: Array, matrix: Array, hardware: Hardware, ranges: list[float] | None = None) -> Array:
    """Bit by bit of the inputs' codes, each read converted by itself; tile by tile, in float64."""
    bits, size = hardware.dac.bits, hardware.dac.slice_bits
    assert bits is not None
    assert size is not None
    assert hardware.adc.bits is not None
    assert hardware.adc.bound is not None
    y = np.zeros((len(x), len(matrix)))
    most = 2 ** (bits - 1) - 1
    for number, (outputs, inputs) in enumerate(tiles_of(matrix, hardware)):
        part, block = x[:, inputs].astype(np.float64), matrix[outputs, inputs].astype(np.float64)
        peaks = np.abs(part).max(axis=1, keepdims=True) if ranges is None else np.array([[ranges[number % 3]]])
        codes = np.rint(np.clip(part / peaks, -1, 1) * most).astype(int)
        full = np.abs(block).max(axis=1, keepdims=True)
        for low in range(0, bits - 1, size):
            digits = np.sign(codes) * (np.abs(codes) // 2**low % 2**size)
            z = digits / (2**size - 1) @ (block / full).T
            worth = (2**size - 1) * 2**low / most
            y[:, outputs] += converted(z, hardware.adc.bits, hardware.adc.bound) * worth * full.T * peaks
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


@pytest.mark.parametrize("cell", [{"pairs_per_weight": 3}, {"pair": "reference-column", "g_min_us": 2.0}], ids=str)
def test_unit_cells_are_the_same_in_both_engines(cell: dict[str, Any]) -> None:
    matrix = programmed(MATRIX, machine(devices=Pcm(**cell), compensation=Compensation()), 86400.0)
    found = [product(matrix, torch.from_numpy(X), engine=engine).numpy() for engine in ENGINES]
    np.testing.assert_allclose(found[0], found[1], atol=8.3 / 126 * np.abs(MATRIX).max() * np.abs(X).max())
    assert np.mean(np.abs(found[0] - found[1]) > 1e-4) < 0.01
    assert 0.01 < np.abs(matrix.programmed().weights() - MATRIX).mean() < 0.4


@pytest.mark.parametrize("by_rows", [False, True], ids=["windows", "rows"])
@pytest.mark.parametrize("static", [False, True], ids=["scaled", "static"])
@pytest.mark.parametrize(("bits", "size"), [(6, 2), (9, 1), (5, 4), (17, 5)])
def test_slices_of_inputs_are_read_shifted_and_added(
    bits: int, size: int, static: bool, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lhc.runtime.engines.counter_rng.LEAST_BY_ROWS", 0 if by_rows else 2**16)
    hardware = machine(dac=Dac(bits=bits, slice_bits=size, scaling="static" if static else "abs_max"))
    ranges = [1.3, 2.1, 0.9] if static else None
    tiles = programmed(MATRIX, hardware, ranges=ranges)
    found = product(tiles, torch.from_numpy(X)).numpy()
    equal(found, driven_in_slices(X, MATRIX, hardware, ranges), 8.3 / (2**7 - 2) * 10)


def test_noise_of_every_read_adds_up() -> None:
    """Reads count 1/15, 2/15, ...: their noise adds as squares, in the model of sensitivities and training too."""
    noisy = machine(dac=Dac(bits=5, slice_bits=1), adc=Adc(bits=None, bound=None, noise=0.3, bound_management="none"))
    x = np.repeat(X[:1], 20_000, axis=0)
    tiles = programmed(MATRIX[:4, :8], noisy)
    found = product(tiles, torch.from_numpy(np.ascontiguousarray(x[:, :8]))).numpy()
    worth = np.abs(MATRIX[:4, :8]).max(axis=1) * np.abs(x[0, :8]).max()
    expected = 0.3 * np.sqrt(1 + 4 + 16 + 64) / 15
    np.testing.assert_allclose(found.std(axis=0) / worth, expected, rtol=0.03)
    assert noisy.output_variance == pytest.approx(expected**2)
