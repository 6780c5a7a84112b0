"""Chips with faults: what is drawn, what tiles hold, and what a test of the chip brings back."""

from itertools import permutations

import numpy as np
import pytest

from lhc.errors import UsageError
from lhc.hardware import Faults, Hardware, Tiles
from lhc.hardware.circuits.faults import tile_text
from lhc.programmed_matrix import Floats, ProgrammedMatrix
from lhc.runtime.tiles.faults_and_remapping import Lines, TileFaults, drawn, lines, noise_factor, targets
from lhc.seeds import device_entropy

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")
PERFECT = Hardware.load("ideal").model_copy(update={"tiles": Tiles(rows=64, cols=48)})
NAN = np.float32(np.nan)
RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(30, 70)).astype(np.float32)


def faulty(base: Hardware, **faults: float) -> Hardware:
    return base.model_copy(update={"faults": Faults.model_validate(faults)})


def healthy(outputs: int, inputs: int) -> TileFaults:
    none = np.full((outputs, inputs), NAN)
    return TileFaults(none.copy(), none.copy(), np.ones(outputs, np.float32))


def realised(hardware: Hardware, draw: int = 0, copies: int = 1) -> Floats:
    return _chip(hardware, draw, copies).weights()


def _chip(hardware: Hardware, draw: int = 0, copies: int = 1) -> ProgrammedMatrix:
    from lhc.runtime.tiles.analog_matrix import AnalogMatrix

    return AnalogMatrix(WEIGHTS, 1, hardware, "ab", None, copies).read(0, draw, 86400.0)


def error(weights: Floats) -> float:
    return float(np.linalg.norm(weights - WEIGHTS) / np.linalg.norm(WEIGHTS))


def test_shares_are_those_of_the_description() -> None:
    hardware = faulty(LIONHEART, stuck_low=0.1, stuck_high=0.02, column_gain=0.05)
    chips = [drawn(hardware, device_entropy(0, "ab", draw, "faults", 0))[0] for draw in range(4)]
    cells = np.stack([side for chip in chips for side in (chip.positive, chip.negative)])

    assert cells.shape == (8, 255, 256)
    # A share of n cells is known to sqrt(p (1 - p) / n).
    assert np.mean(cells == 0) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / cells.size))
    assert np.mean(cells == 1) == pytest.approx(0.02, abs=4 * np.sqrt(0.0196 / cells.size))
    assert np.std([chip.gain for chip in chips]) == pytest.approx(0.05, rel=0.1)
    assert not np.array_equal(chips[0].positive, chips[1].positive, equal_nan=True)


def test_a_test_of_a_chip_finds_its_share_of_stuck_cells_and_all_dead_lines() -> None:
    hardware = faulty(LIONHEART, stuck_low=0.1, stuck_high=0.1, dead_columns=0.1, found=0.9)
    chip, seen = drawn(hardware, device_entropy(0, "ab", 0, "faults", 0))
    whole, _ = drawn(
        faulty(LIONHEART, stuck_low=0.1, stuck_high=0.1, dead_columns=0.1), device_entropy(0, "ab", 0, "faults", 0)
    )

    np.testing.assert_array_equal(chip.positive, whole.positive)
    dead = ((chip.positive == 0) & (chip.negative == 0)).all(axis=1)
    stuck, known = ~np.isnan(chip.positive), ~np.isnan(seen.positive)
    assert not (known & ~stuck).any()
    assert known[dead].all()
    assert known[~dead].sum() / stuck[~dead].sum() == pytest.approx(0.9, abs=0.015)


def test_what_a_test_of_the_chip_has_not_found_goes_on_harming() -> None:
    errors = [error(realised(faulty(PERFECT, stuck_high=0.05, remap=True, found=share))) for share in (1.0, 0.9, 0.0)]
    plain = error(realised(faulty(PERFECT, stuck_high=0.05)))

    assert errors[0] < 0.5 * errors[1] < 0.5 * errors[2]
    assert errors[2] == pytest.approx(plain, rel=1e-6)


def test_dead_lines_hold_nothing() -> None:
    chip, _ = drawn(faulty(LIONHEART, dead_rows=0.1, dead_columns=0.2), device_entropy(0, "ab", 0, "faults", 0))
    lost = (chip.positive == 0) & (chip.negative == 0)

    rows, columns = lost.all(axis=0), lost.all(axis=1)
    assert 5 < rows.sum() < 50
    assert 25 < columns.sum() < 80
    assert not lost[~columns][:, ~rows].any()


def test_a_stuck_cell_holds_its_own_conductance_beside_its_partner() -> None:
    chip = healthy(1, 6)
    chip.positive[0, [0, 1]] = 1, 0
    chip.negative[0, [2, 3, 4]] = 1, 0, 1
    chip.gain[:] = 0.5

    found = chip.held(np.array([[-0.5, 0.5, 0.5, -0.5, -0.5, 0.7]], np.float32), 2.0)

    np.testing.assert_allclose(found, 0.5 * np.array([[1.5, 0, -1.5, 0, -2, 0.7]]), rtol=1e-6)


def test_bit_lines_are_chosen_as_well_as_can_be() -> None:
    chip, _ = drawn(
        faulty(PERFECT.model_copy(update={"tiles": Tiles(rows=1, cols=6)}), stuck_low=0.4, stuck_high=0.3),
        device_entropy(0, "ab", 3, "faults", 0),
    )
    weights, scales = np.array([[0.9], [-0.6], [0.1], [-1]], np.float32), np.array([1, 3, 2, 0.5], np.float32)

    def harm(columns: tuple[int, ...]) -> float:
        part = chip.on(Lines(np.array([0]), np.array(columns)))
        least, most = part.reach(1.0)
        return float(np.sum(((weights - np.clip(weights, least, most)) * scales[:, None]) ** 2))

    found = lines(chip, weights, scales, 1.0, True)

    assert harm(tuple(found.columns)) == pytest.approx(min(map(harm, permutations(range(6), 4))), abs=1e-6)
    assert harm(tuple(found.columns)) < harm((0, 1, 2, 3))
    assert len(set(found.columns)) == 4


def test_partners_and_copies_make_up_for_what_is_stuck() -> None:
    inputs = np.array([0, 1, 0, 1])
    chip = healthy(1, 4)
    chip.positive[0, 0] = 1
    chip.positive[0, 1] = chip.negative[0, 1] = 0
    weights = np.array([[0.25, -0.4, 0.25, -0.4]], np.float32)

    found = targets(chip, weights, inputs, 1.0)

    held = chip.held(found, 1.0)
    np.testing.assert_allclose(held[0, :2] + held[0, 2:], 2 * weights[0, :2], atol=1e-6)
    np.testing.assert_allclose(found, [[-0.75, 0, 0.25, -0.8]], atol=1e-6)


def plain(**faults: float) -> Hardware:
    """LionHeart's tile without converters' steps and without noise."""
    devices = {"programming_noise_scale": 0.0, "read_noise_scale": 0.0}
    return faulty(LIONHEART, **faults).model_copy(
        update={
            "adc": LIONHEART.adc.model_copy(update={"noise": 0.0, "bits": None}),
            "dac": LIONHEART.dac.model_copy(update={"bits": None}),
            "devices": LIONHEART.devices and LIONHEART.devices.model_copy(update=devices),
        }
    )


def test_both_engines_multiply_by_the_faulty_weights() -> None:
    import torch

    from tests.runtime.products import ENGINES, product, programmed

    hardware = plain(stuck_high=0.05, dead_columns=0.1, column_offset=0.3, remap=True)
    x = torch.from_numpy(RNG.normal(size=(9, 70)).astype(np.float32))
    made = programmed(WEIGHTS, hardware, 86400.0)
    fast, reference = (product(made, x, engine=engine).numpy() for engine in ENGINES)

    np.testing.assert_allclose(fast, reference, rtol=1e-4, atol=1e-4)
    ((tile,),) = made.programmed().tiles
    assert tile.offset is not None
    shift = np.abs(x.numpy()).max(axis=1, keepdims=True) * tile.offset * tile.scales * tile.gain
    np.testing.assert_allclose(fast - shift, x.numpy() @ made.programmed().weights().T, rtol=1e-4, atol=1e-4)
    assert 0.2 < np.std(tile.offset) < 0.4


def test_offsets_are_in_the_read_out_of_drift_compensation() -> None:
    """It sees what does not drift, so that its gain is smaller."""

    def gain(**faults: float) -> float:
        found = _chip(plain(**faults))
        return float(np.mean([tile.gain.mean() for row in found.tiles for tile in row]))

    assert 1.4 < gain() < 1.6
    assert 1.02 < gain(column_offset=0.3) < 1.3


@pytest.mark.parametrize("managed", [True, False], ids=["unfolded", "convolved"])
def test_convolutions_have_the_offsets(managed: bool) -> None:
    from onnx import helper

    from lhc.runtime import HybridSession
    from tests.runtime.models_on_tiles import model_of

    x = np.clip(RNG.normal(size=(3, 4, 6, 6)), -1, 1).astype(np.float32)
    kernel = RNG.normal(size=(5, 4, 3, 3)).astype(np.float32)
    model = model_of([helper.make_node("Conv", ["x", "k"], ["y"], "conv")], {"x": x}, {"y": 4}, {"k": kernel})
    base = faulty(PERFECT, column_offset=0.3)
    management = {"bound_management": "iterative" if managed else "none"}
    hardware = base.model_copy(
        update={
            "dac": base.dac.model_copy(update={"bits": 8, "bound": 1.0}),
            "adc": base.adc.model_copy(update=management),
        }
    )
    fast, reference, exact = (
        HybridSession(model, machine, "all-analog", engine=engine).run(None, {"x": x})[0]  # type: ignore[arg-type]
        for machine, engine in ((hardware, "fast"), (hardware, "aihwkit"), (PERFECT, "fast"))
    )

    np.testing.assert_allclose(fast, reference, rtol=1e-4, atol=1e-4)
    shift = (fast - exact).mean(axis=(0, 2, 3))
    assert np.abs(shift).max() > 0.2
    np.testing.assert_allclose((fast - exact) - shift[:, None, None], 0, atol=0.1)


def test_chips_keep_their_faults_and_differ_from_each_other() -> None:
    hardware = faulty(LIONHEART, stuck_high=0.05)
    first, again, other = (realised(hardware, draw=draw) for draw in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert np.abs(first - WEIGHTS).max() > 1
    assert np.corrcoef((first - WEIGHTS).ravel(), (other - WEIGHTS).ravel())[0, 1] < 0.3


@pytest.mark.parametrize("base", [PERFECT, LIONHEART], ids=["perfect devices", "phase-change"])
def test_remapping_takes_most_of_the_damage_away(base: Hardware) -> None:
    kept, lost, mended = (
        error(realised(hardware))
        for hardware in (
            base,
            faulty(base, stuck_low=0.05, stuck_high=0.05),
            faulty(base, stuck_low=0.05, stuck_high=0.05, remap=True),
        )
    )

    assert kept < mended < kept + 0.25 * (lost - kept)


def test_an_exact_reference_of_drift_compensation_is_the_weights() -> None:
    exact = {"compensation": LIONHEART.compensation.model_copy(update={"drift": "global-exact"})}
    base = LIONHEART.model_copy(update=exact)

    assert error(realised(faulty(base, stuck_high=0.05, remap=True))) < error(realised(base)) + 0.05


RANDOM_PLANES = np.random.default_rng(8).random((3, 2, 48, 64)) < 0.1
"""Of three tiles: cells of each side that are stuck."""


def with_map(base: Hardware, tiles: tuple[int, ...], **faults: object) -> Hardware:
    """Cells of the positive side are stuck at g_max, those of the negative one at g_min."""
    planes = [np.stack([np.zeros_like(p), p, n, np.zeros_like(n)]) for p, n in RANDOM_PLANES]
    known = Faults.model_validate({"map": tuple(map(tile_text, planes)), "tiles": tiles, **faults})
    return base.model_copy(update={"faults": known, "tiles": base.tiles.model_copy(update={"count": 3})})


def test_a_layer_has_the_stuck_cells_of_its_tiles_on_every_draw() -> None:
    found = [realised(with_map(PERFECT, (2, 0)), draw) for draw in (0, 1)]

    wanted = WEIGHTS.copy()
    for part, tile in ((slice(35), 2), (slice(35, 70), 0)):
        p, n = RANDOM_PLANES[tile][:, :30, :35]
        scales = np.abs(WEIGHTS[:, part]).max(axis=1, keepdims=True)
        w = WEIGHTS[:, part] / scales
        wanted[:, part] = scales * (np.where(p, 1, np.maximum(w, 0)) - np.where(n, 0, np.maximum(-w, 0)))
    for chip in found:
        np.testing.assert_allclose(chip, wanted, rtol=1e-5, atol=1e-6)


def test_weights_are_mapped_around_the_cells_of_a_map() -> None:
    plain, mended = (error(realised(with_map(PERFECT, (2, 0), remap=remap))) for remap in (False, True))

    assert mended < 0.3 * plain


def of_quality(tiles: tuple[int, ...], **faults: object) -> Hardware:
    """Phase-change devices without anything but programming noise."""
    devices = {"model": "pcm", "drift_scale": 0.0, "read_noise_scale": 0.0}
    base = Hardware.model_validate(LIONHEART.model_dump() | {"devices": devices, "compensation": {"drift": "none"}})
    update = {"tiles": Tiles(rows=64, cols=48, count=4), "faults": Faults.model_validate({"tiles": tiles, **faults})}
    return base.model_copy(update=update)


def errors_of_tiles(hardware: Hardware, draw: int = 0) -> Floats:
    found = realised(hardware, draw) - WEIGHTS
    return np.array([found[:, :35].std(), found[:, 35:].std()])


def test_the_programming_noise_of_a_tile_has_its_factor() -> None:
    alike = errors_of_tiles(of_quality((2, 3), tile_noise=(1.0,) * 4))
    found = errors_of_tiles(of_quality((2, 3), tile_noise=(9.0, 9.0, 0.5, 2.0)))

    # The same numbers are drawn; conductances that would be negative are cut off.
    np.testing.assert_allclose(found / alike, [0.5, 2.0], rtol=0.06)


def test_drawn_factors_have_their_spread_and_are_those_of_the_chip() -> None:
    machine = of_quality((0, 1, 2, 3), tile_spread=0.3)
    factors = np.array([[noise_factor(machine, tile, 0, draw) for tile in range(4)] for draw in range(500)])

    # The deviation of n normal numbers is known to 1 / sqrt(2 n).
    assert np.log(factors).std() == pytest.approx(0.3, rel=4 / np.sqrt(2 * factors.size))
    assert np.log(factors).mean() == pytest.approx(0, abs=4 * 0.3 / np.sqrt(factors.size))
    ranked = of_quality((3, 0, 1, 2), tile_spread=0.3, ranked=True, remap=True)
    found = np.array([[noise_factor(ranked, tile, 0, draw) for tile in range(4)] for draw in range(500)])
    np.testing.assert_allclose(found, -np.sort(-factors, axis=1)[:, [3, 0, 1, 2]])


def test_tiles_that_no_layer_was_given_are_refused() -> None:
    with pytest.raises(UsageError, match="takes more than 1 of them was given 1"):
        realised(with_map(PERFECT, (0,)))
    with pytest.raises(UsageError, match="was given none; a placement by lhc partition gives them"):
        realised(of_quality((), tile_spread=0.1))
