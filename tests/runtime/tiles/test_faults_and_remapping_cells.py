"""Stuck cells where devices that hold nothing of a weight conduct: g_min, two-sided pairs; against sums by hand."""

from collections.abc import Callable
from itertools import product as combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lhc.hardware import Adc, Dac, Faults, Hardware, Tiles
from lhc.hardware.circuits.faults import tile_text
from lhc.hardware.devices.measured import Measured
from lhc.hardware.devices.pcm_and_reram import Pcm
from lhc.hardware.devices.unit_cell import PairedDevices
from lhc.programmed_matrix import Floats
from lhc.runtime.tiles.faults_and_remapping import ChipTile, Lines, TileFaults, drawn, targets
from lhc.seeds import device_entropy
from tests.runtime.products import product, programmed

pytestmark = pytest.mark.analog

G_MAX = 25.0
KINDS = [("one-sided", 5.0), ("two-sided", 0.0), ("two-sided", 5.0)]
"""Of pairs, and their g_min in µS."""
of_pairs = pytest.mark.parametrize(("pair", "g_min"), KINDS)
WEIGHTS = np.random.default_rng(5).normal(size=(12, 40)).astype(np.float32)
SCALES = np.abs(WEIGHTS).max(axis=1)
DAY = 86400.0


def pcm(pair: str, g_min: float, pairs: int = 1, noise: float = 0.0) -> Pcm:
    return Pcm.model_validate(
        {"pair": pair, "g_min_us": g_min, "pairs_per_weight": pairs, "programming_noise_scale": noise}
        | {"drift_scale": 0.0, "read_noise_scale": 0.0}
    )


def measured(pair: str, g_min: float, pairs: int = 1, kept: float = 1.0) -> Measured:
    """Devices that are programmed without errors; after a day they keep that share of what they held."""
    ends = (0.0, G_MAX)
    return Measured.model_validate(
        {"pair": pair, "g_min_us": g_min, "pairs_per_weight": pairs, "g_max_us": G_MAX, "targets_us": ends}
        | {"t_0_s": 1, "times_s": (0, DAY), "mean_us": (ends, tuple(kept * g for g in ends)), "std_us": ((0, 0),) * 2}
        | {"correlation": (((1, 0.5), (0.5, 1)),) * 2, "read_us": (0, 0)}
    )


def machine(devices: PairedDevices, **faults: object) -> Hardware:
    return Hardware.model_validate(
        {
            "name": "x",
            "tiles": Tiles(rows=64, cols=48, count=1),
            "devices": devices,
            "faults": Faults.model_validate(faults),
            "compensation": {"drift": "none"},
            "costs": None,
        }
    )


def realised(hardware: Hardware, t_s: float = DAY, draw: int = 0, copies: int = 1) -> Floats:
    return programmed(WEIGHTS, hardware, t_s, draw=draw, copies=copies).programmed().weights()


def pair_of(weight: float, pair: str, g_min: float) -> tuple[float, float]:
    """What its devices are to hold, in µS."""
    span = G_MAX - g_min
    if pair == "two-sided":
        return g_min + span * (1 + weight) / 2, g_min + span * (1 - weight) / 2
    return g_min + span * max(weight, 0), g_min + span * max(-weight, 0)


@of_pairs
@pytest.mark.parametrize("devices", [pcm, measured])
@pytest.mark.parametrize("pairs", [1, 2])
def test_a_stuck_cell_holds_g_min_or_g_max_beside_its_partner(
    pair: str, g_min: float, devices: Callable[..., PairedDevices], pairs: int
) -> None:
    hardware = machine(devices(pair, g_min, pairs), stuck_low=0.1, stuck_high=0.1, column_gain=0.1)
    chip, _ = drawn(hardware, device_entropy(0, "abc", 0, "faults", 0))
    wanted = np.zeros(WEIGHTS.shape)
    for (output, column), number in combinations(np.ndindex(WEIGHTS.shape), range(pairs)):
        held = list(pair_of(WEIGHTS[output, column] / SCALES[output], pair, g_min))
        for side, stuck in enumerate((chip.positive, chip.negative)):
            end = stuck[output, number * 64 + column]
            held[side] = held[side] if np.isnan(end) else {0.0: g_min, 1.0: G_MAX}[float(end)]
        wanted[output, column] += SCALES[output] * chip.gain[output] * (held[0] - held[1]) / (G_MAX - g_min) / pairs
    np.testing.assert_allclose(realised(hardware), wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(wanted - WEIGHTS).max() > 1


@of_pairs
def test_dead_lines_carry_nothing(pair: str, g_min: float) -> None:
    hardware = machine(measured(pair, g_min, kept=0.8), dead_rows=0.2, dead_columns=0.2)
    chip, _ = drawn(hardware, device_entropy(0, "abc", 0, "faults", 0))
    dead = ~np.isnan(chip.positive[:12, :40])
    np.testing.assert_allclose(realised(hardware), np.where(dead, 0, 0.8 * WEIGHTS), rtol=1e-4, atol=1e-5)
    assert 0.2 < dead.mean() < 0.6


ENDS = (np.nan, 0.0, 1.0)


@of_pairs
@pytest.mark.parametrize("pairs", [1, 2])
def test_cells_are_programmed_to_the_nearest_weight_that_they_reach_after_drift(
    pair: str, g_min: float, pairs: int
) -> None:
    """All kinds of stuck cells; a healthy one holds anything from g_min to g_max and keeps 80 % of it until then."""
    devices, kept = measured(pair, g_min, pairs, kept=0.8), 0.8
    span = G_MAX - g_min
    for ends in combinations(ENDS, repeat=2 * pairs):
        p, n = np.array(ends, np.float32).reshape(pairs, 2).T
        chip = TileFaults(p[None], n[None], np.ones(1, np.float32), None, pairs, g_min / span, pair == "two-sided")
        healthy, stuck = (g_min * kept, G_MAX * kept), {0.0: g_min, 1.0: G_MAX}
        held = [healthy if np.isnan(end) else (stuck[end],) for end in ends]
        reached = [sum(g[::2]) - sum(g[1::2]) for g in combinations(*held)]
        for weight in (-1.0, -0.8, 0.0, 0.3):
            aimed = targets(chip, np.full((1, pairs), weight, np.float32), np.zeros(pairs, np.int64), kept)
            asked = [float(g) for r in aimed[0] for g in devices.cells(r)]
            found = [kept * own if np.isnan(end) else stuck[end] for end, own in zip(ends, asked, strict=True)]
            best = np.clip(weight * pairs * span * kept, min(reached), max(reached))
            assert sum(found[::2]) - sum(found[1::2]) == pytest.approx(best, abs=1e-4)
            assert all(g_min - 1e-4 <= g <= G_MAX + 1e-4 for g in asked)


@of_pairs
@pytest.mark.parametrize("copies", [1, 3])
def test_remapping_takes_most_of_the_damage_away(pair: str, g_min: float, copies: int) -> None:
    def error(**faults: object) -> float:
        found = realised(machine(measured(pair, g_min, kept=0.8), **faults), copies=copies) / 0.8
        return float(np.linalg.norm(found - WEIGHTS) / np.linalg.norm(WEIGHTS))

    assert error() < 1e-6
    shares = {"stuck_low": 0.03, "stuck_high": 0.03}
    assert error(**shares, remap=True) < 0.1 * error(**shares)


@of_pairs
def test_cells_of_a_map_are_the_chip_s(pair: str, g_min: float) -> None:
    planes = np.zeros((4, 48, 64), np.bool_)
    planes[1, 2, 5] = planes[2, 7, 1] = True  # positive, high: bit line 2, word line 5; negative, low
    found = realised(machine(pcm(pair, g_min), map=(tile_text(planes),), tiles=(0,)))
    wanted = WEIGHTS.copy()
    span = G_MAX - g_min
    _, n = pair_of(WEIGHTS[2, 5] / SCALES[2], pair, g_min)
    p, _ = pair_of(WEIGHTS[7, 1] / SCALES[7], pair, g_min)
    wanted[2, 5] = SCALES[2] * (G_MAX - n) / span
    wanted[7, 1] = SCALES[7] * (p - g_min) / span
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@of_pairs
def test_both_engines_have_them(pair: str, g_min: float) -> None:
    base = machine(pcm(pair, g_min, noise=1.0), stuck_low=0.05, stuck_high=0.05, dead_rows=0.1, column_offset=0.1)
    quiet = base.model_copy(update={"adc": Adc(bits=None, noise=0.0), "dac": Dac(bits=None)})
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(20, 40)).astype(np.float32))
    for remap in (False, True):
        hardware = quiet.model_copy(update={"faults": quiet.faults.model_copy(update={"remap": remap})})
        matrix = programmed(WEIGHTS, hardware, DAY)
        fast, reference = (product(matrix, x, engine=engine).numpy() for engine in ("fast", "aihwkit"))
        np.testing.assert_allclose(fast, reference, rtol=1e-4, atol=1e-4)


def _spread(devices: Pcm, model: object, t_s: float, chip: bool) -> npt.NDArray[np.float64]:
    """Deviations of 60,000 weights of 0.5; with a chip a third of which has its positive cell at g_max."""
    positive, negative = np.full((2, 300, 300), np.nan, np.float32)
    positive[:, :100] = 1.0
    floor = devices.g_min_us / devices.span_us
    faults = TileFaults(positive, negative, np.ones(300, np.float32), None, 1, floor, devices.pair == "two-sided")
    target = np.full((300, 300), 0.5, np.float32)
    target[0, 0] = 1.0
    if chip:
        from lhc.hardware.devices.aihwkit_noise_models import CellNoise

        model = CellNoise(devices, model, ChipTile(Lines(np.arange(300), np.arange(300)), target, faults, 1.0))
    torch.manual_seed(4)
    first, drift = model.apply_programming_noise(torch.from_numpy(target))  # type: ignore[attr-defined]
    held = model.apply_drift_noise(first, drift, t_s) if t_s else first  # type: ignore[attr-defined]
    values = held.numpy()[1:]
    return np.array([values[:, 100:].mean(), values[:, 100:].std(), values[:, :100].std()])


@of_pairs
def test_healthy_devices_keep_their_noise_and_3_percent_too_much_are_seen(pair: str, g_min: float) -> None:
    """Programming noise of each device, in units of a weight; what it takes below 0 is 0."""

    def wanted(conductance: float) -> float:
        x = conductance / G_MAX
        sigma = 0.26348 + 1.9650 * x - 1.1731 * x**2
        return float(np.maximum(conductance + sigma * np.random.default_rng(1).standard_normal(10**6), 0).std())

    each = np.array([wanted(g) for g in pair_of(0.5, pair, g_min)])
    expected = np.array([np.hypot(*each), each[1]]) / (G_MAX - g_min)

    def found(noise: float) -> npt.NDArray[np.float64]:
        devices = pcm(pair, g_min, noise=noise)
        return _spread(devices, machine(devices).to_rpu_config().noise_model, 0.0, chip=True)[1:]

    np.testing.assert_allclose(found(1.0), expected, rtol=0.0135)  # 3.3 deviations of a deviation of 30,000
    assert (found(1.03) > 1.0135 * expected).all()


@of_pairs
def test_without_stuck_cells_a_chip_is_aihwkit_s(pair: str, g_min: float) -> None:
    """aihwkit drifts a pair as what the difference would be programmed to; devices by themselves differ by less."""
    devices = Pcm.model_validate({"pair": pair, "g_min_us": g_min, "read_noise_scale": 0.0})
    model = machine(devices).to_rpu_config().noise_model
    theirs, ours = (_spread(devices, model, DAY, chip) for chip in (False, True))
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=0.03)
