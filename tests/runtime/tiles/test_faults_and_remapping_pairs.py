"""Stuck cells where several pairs of devices hold a weight: one device of one pair each, against sums by hand."""

from itertools import permutations, product

import numpy as np
import pytest

from lhc.hardware import Faults, Hardware, Tiles
from lhc.hardware.circuits.faults import tile_text
from lhc.hardware.devices.measured import Measured
from lhc.programmed_matrix import Floats
from lhc.runtime.tiles.faults_and_remapping import ChipTile, Lines, TileFaults, drawn, lines, targets
from lhc.seeds import device_entropy

pytestmark = pytest.mark.analog

PAIRS = 3
WEIGHTS = np.random.default_rng(5).normal(size=(30, 70)).astype(np.float32)


def machine(pairs: int = PAIRS, noise: float = 0.0, **faults: object) -> Hardware:
    """Phase-change devices that do not drift."""
    devices = {"model": "pcm", "pairs_per_weight": pairs, "drift_scale": 0.0, "read_noise_scale": 0.0}
    return Hardware.model_validate(
        {
            "name": "x",
            "tiles": Tiles(rows=64, cols=48, count=2),
            "devices": devices | {"programming_noise_scale": noise},
            "faults": Faults.model_validate(faults),
            "compensation": {"drift": "none"},
        }
    )


def realised(hardware: Hardware, copies: int = 1) -> Floats:
    from lhc.runtime.tiles.analog_matrix import AnalogMatrix

    return AnalogMatrix(WEIGHTS, 1, hardware, "ab", None, copies).read(0, 0, 3600.0).weights()


def error(weights: Floats) -> float:
    return float(np.linalg.norm(weights - WEIGHTS) / np.linalg.norm(WEIGHTS))


def by_hand(hardware: Hardware, number: int, part: slice) -> Floats:
    """What cells of a tile hold, one by one; their healthy partners hold the weight."""
    chip, _ = drawn(hardware, device_entropy(0, "ab", 0, "faults", number), number)
    scales = np.abs(WEIGHTS[:, part]).max(axis=1)
    found = np.zeros(WEIGHTS[:, part].shape)
    for output, column in np.ndindex(found.shape):
        w = WEIGHTS[output, part][column] / scales[output]
        for pair in range(PAIRS):
            row = pair * hardware.tiles.rows + column
            p, n = chip.positive[output, row], chip.negative[output, row]
            held = (max(w, 0) if np.isnan(p) else p) - (max(-w, 0) if np.isnan(n) else n)
            found[output, column] += chip.gain[output] * held / PAIRS
    return np.asarray(scales[:, None] * found, np.float32)


def test_a_stuck_cell_is_one_of_one_pair() -> None:
    hardware = machine(stuck_low=0.1, stuck_high=0.05, column_gain=0.1)
    wanted = [by_hand(hardware, 0, slice(35)), by_hand(hardware, 1, slice(35, 70))]
    np.testing.assert_allclose(realised(hardware), np.concatenate(wanted, axis=1), rtol=1e-5, atol=1e-5)


def test_cells_of_all_pairs_are_stuck_by_themselves_and_dead_lines_in_all() -> None:
    chip, _ = drawn(machine(stuck_low=0.1, stuck_high=0.02), device_entropy(0, "ab", 0, "faults", 0))
    assert chip.positive.shape == chip.negative.shape == (48, PAIRS * 64)
    cells = np.concatenate([np.split(side, PAIRS, axis=1) for side in (chip.positive, chip.negative)])
    low, high = cells == 0, cells == 1
    for each in (low, high):
        shares = each.reshape(len(each), -1).astype(float)
        np.testing.assert_allclose(np.corrcoef(shares), np.eye(len(each)), atol=0.1)
    assert low.mean() == pytest.approx(0.1, abs=0.007)  # 3.3 deviations of 18,432 cells
    assert high.mean() == pytest.approx(0.02, abs=0.0035)
    dead, _ = drawn(machine(dead_rows=0.1, dead_columns=0.2), device_entropy(0, "ab", 0, "faults", 0))
    parts = np.split(dead.positive, PAIRS, axis=1)
    assert 0 < (parts[0] == 0).mean() < 1
    for part in parts[1:]:
        np.testing.assert_array_equal(part, parts[0])


def test_measured_devices_have_them_too() -> None:
    """Their table has no noise here, so that what is realised is the sum by hand."""
    devices = Measured(
        g_max_us=20,
        targets_us=(0, 20),
        t_0_s=1,
        times_s=(0, 1e6),
        mean_us=((0, 20), (0, 20)),
        std_us=((0, 0), (0, 0)),
        correlation=(((1, 0.5), (0.5, 1)),) * 2,
        read_us=(0, 0),
        pairs_per_weight=PAIRS,
    )
    base = machine(stuck_low=0.1, stuck_high=0.05)
    measured = base.model_copy(update={"devices": devices})
    np.testing.assert_allclose(realised(measured), realised(base), rtol=1e-5, atol=1e-5)


def test_one_pair_has_the_faults_that_it_had() -> None:
    """Whatever is drawn for further pairs: those of the first are drawn first."""
    faults = {"stuck_low": 0.1, "stuck_high": 0.05}
    one, _ = drawn(machine(1, **faults), device_entropy(0, "ab", 0, "faults", 0))
    three, _ = drawn(machine(3, **faults), device_entropy(0, "ab", 0, "faults", 0))
    np.testing.assert_array_equal(one.positive, three.positive[:, :64])
    np.testing.assert_array_equal(one.negative, three.negative[:, :64])


def cells(*stuck: tuple[float, float]) -> TileFaults:
    """Of one weight; NaN: healthy."""
    p, n = np.array(stuck, np.float32).T
    return TileFaults(p[None], n[None], np.ones(1, np.float32), None, len(stuck))


ENDS = (np.nan, 0.0, 1.0)


@pytest.mark.parametrize("weight", [-0.8, 0.0, 0.3, 1.0])
def test_pairs_are_programmed_to_the_nearest_weight_that_they_reach(weight: float) -> None:
    """All kinds of stuck cells in two pairs; healthy cells hold anything from 0 to g_max."""
    for p0, n0, p1, n1 in product(ENDS, repeat=4):
        chip = cells((p0, n0), (p1, n1))
        aimed = targets(chip, np.full((1, 2), weight, np.float32), np.zeros(2, np.int64), 1.0)
        held = [(0.0, 1.0) if np.isnan(end) else (end,) for end in (p0, n0, p1, n1)]
        reached = [(a - b + c - d) / 2 for a, b, c, d in product(*held)]
        low, high = min(reached), max(reached)
        assert chip.held(aimed, 1.0)[0, 0] == pytest.approx(min(max(weight, low), high), abs=1e-6)


def test_lines_are_chosen_as_well_as_can_be() -> None:
    small = machine(2, stuck_low=0.3, stuck_high=0.3).model_copy(update={"tiles": Tiles(rows=1, cols=6)})
    chip, _ = drawn(small, device_entropy(0, "ab", 3, "faults", 0))
    weights, scales = np.array([[0.9], [-0.6], [0.1], [-1]], np.float32), np.array([1, 3, 2, 0.5], np.float32)

    def harm(columns: tuple[int, ...]) -> float:
        part = chip.on(Lines(np.array([0]), np.array(columns)))
        least, most = map(part.mean, part.reach(1.0))
        return float(np.sum(((weights - np.clip(weights, least, most)) * scales[:, None]) ** 2))

    found = tuple(lines(chip, weights, scales, 1.0, True).columns)
    assert harm(found) == pytest.approx(min(map(harm, permutations(range(6), 4))), abs=1e-6)
    assert harm(found) < harm((0, 1, 2, 3))


@pytest.mark.parametrize("copies", [1, 2])
def test_remapping_takes_most_of_the_damage_away(copies: int) -> None:
    plain, mended = (
        error(realised(machine(2, stuck_low=0.05, stuck_high=0.05, remap=remap), copies=copies))
        for remap in (False, True)
    )
    assert mended < 0.1 * plain
    one = error(realised(machine(1, stuck_low=0.05, stuck_high=0.05), copies=copies))
    assert plain == pytest.approx(one / np.sqrt(2), rel=0.1)  # independent faults, averaged


def test_cells_of_a_map_are_those_of_its_pairs() -> None:
    planes = np.zeros((4, 48, PAIRS * 64), np.bool_)
    planes[1, 2, 64 + 5] = True  # positive, high: bit line 2, word line 5, second pair
    planes[2, 7, 2 * 64 + 1] = True  # negative, low: third pair
    hardware = machine(map=(tile_text(planes), ""), tiles=(0, 1))
    assert hardware.stuck_by_tile == (2, 0)
    found, scales = realised(hardware), np.abs(WEIGHTS[:, :35]).max(axis=1)
    wanted = WEIGHTS.copy()
    w = WEIGHTS[2, 5] / scales[2]
    wanted[2, 5] = scales[2] * (2 * w + 1 - max(-w, 0)) / 3
    w = WEIGHTS[7, 1] / scales[7]
    wanted[7, 1] = scales[7] * (2 * w + max(w, 0)) / 3
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def _deviations(noise: float) -> Floats:
    """Of 30,000 programmed weights each: without a stuck cell, and with the positive cell of one pair at g_max."""
    import torch

    shape = (300, 200)
    positive, negative = np.full((2, 300, PAIRS * 200), np.nan, np.float32)
    positive[:, :100] = 1.0
    faults = TileFaults(positive, negative, np.ones(300, np.float32), None, PAIRS)
    target = np.full((300, PAIRS * 200), 0.5, np.float32)
    model = machine(noise=noise).to_rpu_config().noise_model
    model = model.on(ChipTile(Lines(np.arange(200), np.arange(300)), target, faults, 1.0))
    torch.manual_seed(4)
    held, _ = model.apply_programming_noise(torch.full(shape, 0.5))
    return np.array([held[:, 100:].std(), held[:, :100].std()])


def test_healthy_devices_keep_their_noise_and_3_percent_too_much_are_seen() -> None:
    """Those on the other side hold nothing, and their noise does not go below it (Nandakumar et al., ICECS 2019)."""
    held = (0.26348 + 1.9650 * 0.5 - 1.1731 * 0.25) / 25
    nothing = np.maximum(0.26348 / 25 * np.random.default_rng(1).standard_normal(10**6), 0).std()
    wanted = np.sqrt([(healthy * held**2 + PAIRS * nothing**2) / PAIRS**2 for healthy in (PAIRS, PAIRS - 1)])
    np.testing.assert_allclose(_deviations(1.0), wanted, rtol=0.0135)  # 3.3 deviations of a deviation
    assert (_deviations(1.03) > 1.0135 * wanted).all()
