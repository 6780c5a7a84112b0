"""The engine computes what aihwkit's own tiles do, vector by vector, with noise off; bound management included."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from aihwkit.simulator.tiles.array import TileModuleArray

from lhc.hardware import Compensation, Hardware
from lhc.programmed_matrix import Floats, ProgrammedMatrix, ProgrammedTile
from lhc.runtime.engines.aihwkit.matrix import AihwkitMatrix
from lhc.runtime.engines.protocol import Position
from lhc.runtime.torch_settings import isolated

pytestmark = pytest.mark.analog

RANGE = 1.7


def _quiet(preset: str, **adc: object) -> Hardware:
    """A preset without devices and without noise, on small tiles."""
    machine = Hardware.load(preset)
    return machine.model_copy(
        update={
            "devices": None,
            "compensation": Compensation(drift="none", outputs="none"),
            "adc": machine.adc.model_copy(update={"noise": 0.0, **adc}),
            "tiles": machine.tiles.model_copy(update={"rows": 24, "cols": 17}),
        }
    )


MACHINES = {
    "lionheart": _quiet("lionheart"),
    "a narrow ADC": _quiet("lionheart", bound=1.0),
    "a narrow ADC that clips": _quiet("lionheart", bound=1.0, bound_management="none"),
    "static-range": _quiet("static-range"),
    "standard-pcm-torch": _quiet("standard-pcm-torch"),
    "afm": _quiet("afm"),
}


def _oracle(weight: Floats, x: Floats, hardware: Hardware) -> tuple[Floats, ProgrammedMatrix]:
    """What aihwkit's tiles give for every vector alone, and what they hold."""
    array = TileModuleArray(*weight.shape, hardware.to_rpu_config(), bias=False)
    array.set_weights(torch.from_numpy(weight.copy()))
    array.eval()
    rows, start, starts = [], 0, []
    for size, tiles in zip(array.in_sizes, array.array, strict=True):
        held = []
        for tile in tiles:
            if hardware.needs_calibration:
                tile.set_input_range(RANGE)
            scales = np.full(len(tile.tile.weight), tile.get_mapping_scales().detach().numpy(), np.float32)
            reach = RANGE if hardware.needs_calibration else None
            scales = scales * np.float32(reach or 1.0)
            weights = tile.tile.weight.detach().numpy().copy()
            held.append(ProgrammedTile(weights, scales, np.ones(len(scales)), reach))
        rows.append(tuple(held))
        starts.append(start)
        start += size
    with torch.no_grad():
        found = torch.cat([array(torch.from_numpy(one[None])) for one in x])
    return found.numpy(), ProgrammedMatrix(tuple(rows), tuple(starts), 1, "abc")


def _found(matrix: ProgrammedMatrix, x: Floats, hardware: Hardware) -> Floats:
    with isolated():
        one = AihwkitMatrix([matrix], [0], 0, hardware, False, torch.device("cpu"))
        return one.multiply(torch.from_numpy(x), Position(0, len(x)), 0)[0].numpy()


def _cases() -> Iterator[tuple[Floats, Floats]]:
    rng = np.random.default_rng(5)
    for _ in range(8):
        outputs, inputs = (int(n) for n in rng.integers(1, 60, 2))
        weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
        yield weight, rng.normal(0.2, 1, size=(12, inputs)).astype(np.float32)


@pytest.mark.parametrize("name", MACHINES)
def test_products_are_those_of_aihwkits_tiles(name: str) -> None:
    for weight, x in _cases():
        expected, matrix = _oracle(weight, x, MACHINES[name])
        # Sums in another order: one of thousands may fall on the other side of an edge of the ADC.
        greatest = np.abs(expected).max()
        differs = np.abs(_found(matrix, x, MACHINES[name]) - expected) > 1e-6 * greatest
        assert differs.sum() <= 1


def test_vectors_are_read_again_as_aihwkit_does() -> None:
    """Else the comparison above says nothing of bound management."""
    weight, x = next(iter(_cases()))
    managed, matrix = _oracle(weight, x, MACHINES["a narrow ADC"])
    clipped = _found(matrix, x, MACHINES["a narrow ADC that clips"])
    assert np.mean(np.abs(managed - clipped) > 1e-3 * np.abs(managed).max()) > 0.1


def test_a_column_that_is_two_percent_off_is_found() -> None:
    weight, x = next(iter(_cases()))
    expected, matrix = _oracle(weight, x, MACHINES["lionheart"])
    gain = np.ones(len(weight), np.float32)
    gain[0] = 1.02
    assert np.abs(_found(matrix.with_gain(gain), x, MACHINES["lionheart"]) - expected).max() > 1e-3
