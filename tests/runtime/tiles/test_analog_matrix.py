"""Matrices on tiles: every device is aihwkit's, whose own tiles are the oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from aihwkit.inference.noise.base import BaseNoiseModel
from aihwkit.simulator.tiles.array import TileModuleArray

import lhc
from lhc.hardware import Hardware
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.devices.aihwkit_noise_models import CellNoise, RegimeNoise
from lhc.models import zoo_entry
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.programmed_matrix import ProgrammedTile
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.seeds import device_seed

pytestmark = [
    pytest.mark.analog,
    # HermesNoiseModel of aihwkit 1.1 and ReRamCMONoiseModel, on tiles made by hand here
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence for multidimensional indexing:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

LIONHEART = Hardware.load("lionheart")
DAY = 86400.0


def _with(section: str, base: Hardware = LIONHEART, **values: object) -> Hardware:
    part = getattr(base, section)
    return base.model_copy(update={section: type(part).model_validate(part.model_dump() | values)})


def _weights(outputs: int, inputs: int) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=(outputs, inputs)).astype(np.float32)
    weights[1:2, 0] = -0.0
    return weights


MACHINES = {
    "lionheart": LIONHEART,
    "hermes": Hardware.load("hermes"),
    "reram-wan2022": Hardware.load("reram-wan2022").model_copy(update={"currents": Currents()}),
    "by tile": _with("mapping", columnwise=False, omega=0.7),
    "not scaled": _with("mapping", omega=0.0),
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
    "two-sided pairs": _with("devices", g_min_us=1.0, pair="two-sided"),
    "coarse ADC": _with("adc", bits=3, bound=2.0, noise=0.3),
    "ADC without noise": _with("adc", noise=0.0),
    "coarse DAC": _with("dac", bits=3),
}
SIZES = [(1, 1), (3, 5), (16, 27), (33, 100), (7, 300), (300, 290)]
"""Outputs and inputs: a few weights, one tile, several."""


def _by_aihwkit(weights: np.ndarray, hardware: Hardware, draw: int, t_s: float, read: int) -> list[tuple[bytes, ...]]:
    """What aihwkit's own tiles hold, and their digital factors and gains, tile by tile."""
    array = TileModuleArray(*weights.shape, hardware.to_rpu_config(), bias=False)
    array.set_weights(torch.tensor(weights))
    array.eval()
    found: list[tuple[bytes, ...]] = []
    with torch.inference_mode():
        for number, tile in enumerate(tile for row in array.array for tile in row):
            torch.manual_seed(device_seed(3, "ab", draw, "program", number))
            tile.program_weights()
            torch.manual_seed(
                device_seed(3, "ab", draw, "drift", number, round(t_s * 1000), *((read,) if read else ()))
            )
            tile.drift_weights(t_s)
            held, scales = tile.tile.weight.numpy(), tile.get_mapping_scales()
            full = np.ones(len(held), np.float32)
            scales = full if scales is None else full * scales.detach().numpy()
            compensated = hardware.compensation.drift != "none"
            gain = np.full(len(held), tile.alpha.numpy() if compensated else 1.0, np.float64)
            found.append((held.tobytes(), scales.tobytes(), gain.tobytes()))
    return found


def _bytes(tile: ProgrammedTile) -> tuple[bytes, ...]:
    return tile.weights.tobytes(), tile.scales.tobytes(), tile.gain.tobytes()


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_tiles_hold_the_very_bytes_of_aihwkits_own_tiles(machine: str) -> None:
    hardware = MACHINES[machine]
    for size in SIZES:
        weights = _weights(*size)
        matrix = AnalogMatrix(weights, 1, hardware, "ab")
        for draw, t_s, read in ((0, 0.0, 0), (1, DAY, 0), (1, DAY, 2)):
            if hardware.devices and hardware.devices.time_problem(t_s):
                continue
            found = [_bytes(tile) for row in matrix.read(3, draw, t_s, read).tiles for tile in row]
            assert found == _by_aihwkit(weights, hardware, draw, t_s, read), (size, draw, t_s, read)


@pytest.mark.parametrize("copies", [1, 3], ids=["once", "copies"])
@pytest.mark.parametrize("columnwise", [True, False], ids=["by column", "by tile"])
def test_perfect_devices_realise_the_weights(copies: int, columnwise: bool) -> None:
    hardware = _with("mapping", LIONHEART.geometry, columnwise=columnwise, omega=0.8)
    weights = _weights(300, 290)
    weights[7], weights[:, 11] = 0, 0

    found = AnalogMatrix(weights, 1, hardware, "ab", None, copies).read(0, 0, 0.0)

    np.testing.assert_allclose(found.weights(), weights, rtol=1e-5, atol=1e-6)
    greatest = max(np.abs(tile.weights).max() for row in found.tiles for tile in row)
    assert greatest == pytest.approx(0.8 * min(copies, 2))  # two tiles hold three copies


def test_reads_share_devices_and_chips_do_not() -> None:
    weights = _weights(300, 290)
    matrix = AnalogMatrix(weights, 1, LIONHEART, "ab")
    first, read = (one.weights() for one in matrix.reads(0, 0, DAY, (0, 1)))
    again, other = matrix.read(0, 0, DAY).weights(), matrix.read(0, 1, DAY).weights()

    np.testing.assert_array_equal(first, again)
    errors = [(found - weights)[weights != 0] for found in (first, read, other)]
    assert np.corrcoef(errors[0], errors[1])[0, 1] > 0.5
    assert abs(np.corrcoef(errors[0], errors[2])[0, 1]) < 0.2


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Weights that go through the functions of aihwkit's noise models, by function."""
    counts = {"apply_programming_noise": 0, "apply_drift_noise": 0}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: BaseNoiseModel, weights: torch.Tensor, *args: object) -> object:
            counts[name] += weights.numel()
            return function(self, weights, *args)

        return counted

    kinds = {BaseNoiseModel, RegimeNoise, CellNoise}
    for kind in kinds:
        for name in counts:
            if name in vars(kind):
                monkeypatch.setattr(kind, name, counting(name, getattr(kind, name)))
    return counts


@pytest.mark.parametrize("preset", ["lionheart", "hermes", "standard-pcm", "afm", "reram-cmo"])
def test_every_weight_of_a_placement_passes_through_aihwkits_noise_models(preset: str, passing: dict[str, int]) -> None:
    model: OnnxModel = load_model(zoo_entry("digits-narrow").model())
    graph, hardware = read_graph(model), Hardware.load(preset)
    layers = [layer for layer in graph.candidates if layer.matrix is not None]
    copies = {layer.name: hardware.free_copies(layer.name, layer.matrix.rows) for layer in layers if layer.matrix}
    ranges = {
        layer.name: (1.0,) * -(-layer.matrix.rows // hardware.tiles.rows)
        for layer in layers
        if layer.matrix is not None
    }
    executor = HybridExecutor(model, graph, copies, ranges, copies)
    wanted = sum(copies[layer.name] * layer.matrix.parameters for layer in layers if layer.matrix)

    executor.states(hardware, 0, 0, DAY)

    assert passing == {"apply_programming_noise": wanted, "apply_drift_noise": wanted}
    assert (preset in ("standard-pcm", "afm")) == (set(copies.values()) == {1})


def test_a_session_programs_every_weight_once(passing: dict[str, int]) -> None:
    session = lhc.HybridSession(zoo_entry("digits-narrow").model(), "lionheart", "all-analog")
    session.run(None, {"x": np.zeros((1, 1, 8, 8), np.float32)})
    assert passing["apply_programming_noise"] == passing["apply_drift_noise"] > 0
