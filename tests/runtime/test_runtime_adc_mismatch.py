"""Products by ADCs whose capacitors differ: both engines against conversion value by value."""

from typing import Any

import numpy as np
import pytest
import torch

from lhc.hardware import Adc, Dac, Hardware, Pcm, Tiles
from lhc.hardware.ablations import without
from lhc.hardware.converters import found_codes
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.protocol import Position
from lhc.runtime.torch_settings import isolated
from tests.runtime.products import product, programmed

pytestmark = pytest.mark.analog

RNG = np.random.default_rng(20261128)
MATRIX = RNG.normal(size=(7, 23)).astype(np.float32)
X = RNG.normal(size=(60, 23)).astype(np.float32)


def adc(**fields: Any) -> Adc:  # noqa: ANN401
    return Adc(**{"bits": 7, "bound": 4.137, "bound_management": "none", "kind": "sar", **fields})


def machine(**fields: object) -> Hardware:
    """Tiles of 10 x 4 that hold what is mapped."""
    base = {
        "name": "x",
        "tiles": Tiles(rows=10, cols=4),
        "dac": Dac(bits=6, scaling="none"),
        "adc": adc(capacitor_mismatch=0.06),
        "devices": None,
        "compensation": Compensation(drift="none", outputs="none"),
    }
    return Hardware.model_validate(base | fields)


@pytest.mark.parametrize(
    "fields",
    [{}, {"kind": "ramp", "capacitor_mismatch": 0.03}, {"columns_per_adc": 2}, {"bound_management": "iterative"}],
    ids=str,
)
def test_products_are_converted_by_the_capacitors_of_their_columns(fields: dict[str, Any]) -> None:
    hardware = machine(adc=adc(**{"capacitor_mismatch": 0.06, **fields}))
    matrix, x = programmed(MATRIX, hardware), np.clip(X / 3, -1, 1)
    found, wanted = product(matrix, torch.from_numpy(x)).numpy(), np.zeros((60, 7))
    step, q = 2 * 4.137 / 126, np.rint(x * 31) / 31
    state = matrix.programmed()
    for start, row in zip(state.starts, state.tiles, strict=True):
        first = 0
        for tile in row:
            outputs, inputs = tile.weights.shape
            assert tile.levels is not None
            assert tile.levels.shape == (6, outputs)
            z = q[:, start : start + inputs] @ tile.weights.T.astype(np.float64)
            wanted[:, first : first + outputs] += (
                step * found_codes((z / step).astype(np.float32), tile.levels) * tile.scales
            )
            first += outputs
    off = np.abs(found - wanted)
    assert np.mean(off > 1e-5) < 0.01
    assert off.max() <= 1.1 * step * np.abs(MATRIX).max()
    alike = product(programmed(MATRIX, without(hardware, ["adc"])), torch.from_numpy(x)).numpy()
    assert np.mean(np.abs(alike - wanted) > 1e-5) > 0.5


def test_vectors_that_saturate_are_read_again() -> None:
    """Whether a vector saturates is told as if steps were alike."""
    fields = {"bound": 0.6, "bound_management": "iterative", "capacitor_mismatch": 0.06}
    x, exact = torch.from_numpy(X), X @ MATRIX.T
    managed = product(programmed(MATRIX, machine(adc=adc(**fields), dac=Dac(bits=None))), x).numpy()
    once = machine(adc=adc(**fields | {"bound_management": "none"}), dac=Dac(bits=None))
    clipped = product(programmed(MATRIX, once), x).numpy()
    assert np.abs(managed - exact).mean() < 0.5 * np.abs(clipped - exact).mean()
    assert np.mean(np.abs(clipped - managed) > 0.1) > 0.5


def test_every_chip_has_capacitors_of_its_own_the_same_at_every_read() -> None:
    """With devices, noise off, of a matrix that numbers its outputs in blocks."""
    weight, x = RNG.normal(size=(300, 256)), torch.from_numpy(RNG.normal(size=(9, 256)).astype(np.float32))
    quiet = Pcm(read_noise_scale=0, drift_scale=0)
    hardware = machine(
        tiles=Tiles(rows=128, cols=100), devices=quiet, adc=adc(bits=8, bound=20.0, capacitor_mismatch=0.05)
    )
    hardware = hardware.model_copy(update={"dac": Dac(bits=8)})
    chips = [programmed(weight, hardware, 3600.0, draw=draw) for draw in (0, 1)]
    states = [chip.programmed() for chip in chips]
    with isolated():
        both = AihwkitMatrix(states, [0, 1], 0, hardware, False, torch.device("cpu"))
        found = both.multiply(x, Position(0, 9), 0).numpy()
        alone = both.alone(1).multiply(x, Position(0, 9), 0).numpy()
    np.testing.assert_allclose(alone[0], found[1], rtol=1e-4, atol=1e-4)
    for draw, chip in enumerate(chips):
        wanted = product(chip, x, draw=draw).numpy()
        assert np.mean(np.abs(found[draw] - wanted) > 1e-3) < 0.01
    first, second = states[0].tiles[0][0].levels, states[1].tiles[0][0].levels
    assert first is not None
    assert second is not None
    assert (first != second).all()
    later = programmed(weight, hardware, 86400.0).programmed().tiles[0][0].levels
    np.testing.assert_array_equal(first, later)
