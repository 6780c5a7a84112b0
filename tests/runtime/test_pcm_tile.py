"""Phase-change devices in fewer calls hold the very bytes of aihwkit's."""

import numpy as np
import pytest

from lhc.hardware import Hardware

pytestmark = pytest.mark.analog
pytest.importorskip("aihwkit", reason="it is compared with aihwkit's")

from lhc.runtime.large_matrix import computed  # noqa: E402  # needs aihwkit
from lhc.runtime.matrix import AnalogMatrix  # noqa: E402

LIONHEART = Hardware.load("lionheart")


def _with(section: str, **values: object) -> Hardware:
    part = getattr(LIONHEART, section)
    return LIONHEART.model_copy(update={section: type(part).model_validate(part.model_dump() | values)})


MACHINES = {
    "lionheart": LIONHEART,
    "static-range": Hardware.load("static-range"),
    "by tile": _with("mapping", columnwise=False, omega=0.7),
    "global": _with("compensation", drift="global"),
    "global-exact": _with("compensation", drift="global-exact"),
    "per-column": _with("compensation", drift="per-column"),
    "no compensation": _with("compensation", drift="none"),
    "other scales": _with(
        "devices",
        programming_noise_scale=1.3,
        drift_scale=0.7,
        read_noise_scale=1.1,
        programming_coefficients_us=(1, 2, -0.7, 0.3),
    ),
    "no noise": _with("devices", programming_noise_scale=0.0, drift_scale=0.0, read_noise_scale=0.0),
    "coarse ADC": _with("adc", bits=3, bound=2.0, noise=0.3),
    "ADC without noise": _with("adc", noise=0.0),
    "ADC of one sign": _with("adc", polarity="unipolar"),
    "ADC of unlike steps": _with("adc", kind="sar", capacitor_mismatch=0.05),
    "coarse DAC": _with("dac", bits=3),
    "faults": _with("faults", stuck_low=0.05, stuck_high=0.02, dead_rows=0.1, column_gain=0.1, column_offset=0.1),
    "tiles that differ": _with("faults", tile_noise=(0.5, 1.5, 2.0, 1.0), tiles=(3, 1, 0, 2)),
    "remapped faults": _with("faults", stuck_low=0.05, dead_columns=0.1, remap=True, found=0.9),
}
SIZES = [(1, 1, 1), (3, 5, 1), (16, 27, 9), (33, 100, 1), (7, 300, 2), (300, 40, 1)]
"""Outputs, inputs and copies: of a few weights, not whole registers, several tiles."""


def _bytes(size: tuple[int, int, int], hardware: Hardware, with_calls: bool) -> bytes:
    outputs, inputs, copies = size
    weights = np.random.default_rng(0).normal(size=(outputs, inputs)).astype(np.float32)
    if outputs > 1:
        weights[1] = 0
        weights[0, 0] = -0.0
    ranges = [1.5] * -(-inputs // hardware.tiles.rows) if hardware.needs_calibration else None
    matrix = AnalogMatrix(weights, 1, hardware, "ab", ranges, copies)
    matrix._computed = matrix._computed and not with_calls
    found = []
    for draw in range(2):
        matrix.program(3, draw)
        found += [state for t_s in (0.0, 86400.0) for state in matrix.reads(t_s, (0, 2))]
    tiles = [tile for state in found for row in state.tiles for tile in row]
    return b"".join(array.tobytes() for tile in tiles for array in (tile.weights, tile.scales, tile.gain))


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_bytes_are_those_of_aihwkits_own_calls(machine: str) -> None:
    hardware = MACHINES[machine]
    assert computed(hardware)
    for size in SIZES:
        assert _bytes(size, hardware, with_calls=False) == _bytes(size, hardware, with_calls=True), size


def test_other_devices_and_read_outs_are_aihwkits() -> None:
    assert not computed(_with("adc", bound=1.0))
    assert not computed(Hardware.load("standard-pcm"))
