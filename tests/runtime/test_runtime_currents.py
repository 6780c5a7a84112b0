"""Read noise of products and IR drop: both engines against the formulas, written out here, and against each other."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from aihwkit.simulator.configs import InferenceRPUConfig
from aihwkit.simulator.parameters import IOParameters
from aihwkit.simulator.parameters.enums import WeightNoiseType

from lhc.hardware import Adc, Dac, Hardware, Tiles
from lhc.hardware.ablations import effects_of, scaled_noise, without
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from tests.runtime.products import ENGINES, Engine, product, programmed

pytestmark = pytest.mark.analog

Array = npt.NDArray[Any]
RNG = np.random.default_rng(20261127)
ROWS = 96
G_RATIO = 2000.0
"""A wire so thin that a tenth of a product is lost."""


def machine(currents: Currents, **fields: object) -> Hardware:
    """Tiles that hold what is mapped, inputs and outputs as they are."""
    base = {
        "name": "x",
        "tiles": Tiles(rows=ROWS, cols=40),
        "dac": Dac(bits=None, bound=None, scaling="none"),
        "adc": Adc(bits=None, bound=None, bound_management="none"),
        "currents": currents,
        "devices": None,
        "compensation": Compensation(drift="none", outputs="none"),
    }
    return Hardware.model_validate(base | fields)


def tiles_of(size: int) -> list[slice]:
    """As aihwkit splits inputs: evenly."""
    count = -(-size // ROWS)
    edges = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(size), count))])
    return [slice(a, b) for a, b in pairwise(edges)]


def dropped(x: Array, matrix: Array, currents: Currents) -> Array:
    """Products with IR drop, tile by tile, in float64; every column is scaled by its greatest weight."""
    y = np.zeros((len(x), len(matrix)))
    for rows in tiles_of(x.shape[1]):
        block, part = matrix[:, rows].astype(np.float64), x[:, rows].astype(np.float64)
        scale = np.abs(block).max(axis=1)
        w, n = block / scale[:, None], block.shape[1]
        a = n / currents.ir_drop_g_ratio * np.abs(part) @ np.abs(w).T
        c = 0.05 * a**3 - 0.2 * a**2 + 0.5 * a
        near = 1 - (1 - np.arange(n) / n) ** 2
        y += scale * (part @ w.T - currents.ir_drop * c * ((part * near) @ w.T))
    return y


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("outputs", "inputs"), [(30, 96), (7, 250), (300, 256)], ids=["one tile", "few", "by rows"])
def test_ir_drop_is_that_of_the_formula(outputs: int, inputs: int, engine: Engine) -> None:
    matrix, x = RNG.normal(size=(outputs, inputs)), RNG.uniform(-1, 1, size=(70, inputs)).astype(np.float32)
    currents = Currents(ir_drop=1.0, ir_drop_g_ratio=G_RATIO)
    found = product(programmed(matrix, machine(currents)), torch.from_numpy(x), engine=engine).numpy()
    wanted, ideal = dropped(x, matrix, currents), x @ matrix.T
    assert np.linalg.norm(wanted - ideal) > 0.05 * np.linalg.norm(ideal)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_ir_drop_is_that_of_every_read_of_sliced_inputs() -> None:
    matrix, x = RNG.normal(size=(9, 90)), RNG.uniform(-1, 1, size=(40, 90)).astype(np.float32)
    currents = Currents(ir_drop=1.0, ir_drop_g_ratio=G_RATIO)
    hardware = machine(currents, dac=Dac(bits=6, scaling="none", slice_bits=2))
    codes = np.rint(np.clip(x, -1, 1) * 31).astype(int)
    wanted = sum(
        dropped(np.sign(codes) * (np.abs(codes) >> low & 3) / 3, matrix, currents) * 3 * 2**low / 31
        for low in (0, 2, 4)
    )
    found = product(programmed(matrix, hardware), torch.from_numpy(x)).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


WEIGHTS = np.sin(3 * np.arange(4)[:, None] + np.arange(24) + 1.0)
WEIGHTS[np.arange(4), np.arange(4)] = 1.0
INPUTS = np.cos(2.0 * np.arange(24))
DROPPED = (0.1383464, -0.6983459, -0.5519782, 0.7860863)
DEVIATIONS = (0.0511511, 0.0508688, 0.0513445, 0.0514605)
"""What aihwkit's C++ (``ForwardBackwardPassIOManaged<float>::applyNonIdealities``) makes of these, compiled by itself:
products with ir_drop 0.7 and g_ratio 300; deviations of 400,000 products of noise 0.0175 of type PCM_READ."""


@pytest.mark.parametrize("engine", ENGINES)
def test_ir_drop_is_that_of_the_compiled_tile(engine: Engine) -> None:
    hardware = machine(Currents(ir_drop=0.7, ir_drop_g_ratio=300.0))
    x = torch.from_numpy(INPUTS.astype(np.float32))[None]
    found = product(programmed(WEIGHTS, hardware), x, engine=engine).numpy()[0]
    assert found == pytest.approx(DROPPED, abs=1e-6)


def _deviates(engine: Engine, scale: float, by_rows: bool, kind: str = "current", copies: int = 1) -> Array:
    """Read noise and output noise of products, over the deviation that they should have together."""
    shape, vectors = ((300, 256), 300) if by_rows else ((30, 90), 3000)
    rng = np.random.default_rng(7)
    matrix, x = rng.normal(size=shape), rng.uniform(-1, 1, size=(vectors, shape[1])).astype(np.float32)
    x[::2] *= 0.1
    adc = Adc(bits=None, bound=None, bound_management="none", noise=0.02)
    noisy = machine(Currents.model_validate({"read_noise": 0.1 * scale, "read_noise_kind": kind}), adc=adc)
    tiles = programmed(matrix, noisy, copies=copies)
    found = product(tiles, torch.from_numpy(x), engine=engine).double().numpy()
    variance = np.zeros(found.shape)
    for rows in tiles_of(shape[1]):
        tile_scale = np.abs(matrix[:, rows]).max(axis=1)
        worth = np.abs(matrix[:, rows] / tile_scale[:, None]) if kind == "current" else np.ones(matrix[:, rows].shape)
        currents = x[:, rows].astype(np.float64) ** 2 @ worth.T
        tiles_of_copies = -(-copies * (rows.stop - rows.start) // ROWS)
        variance += tile_scale**2 * (0.02**2 * tiles_of_copies / copies**2 + 0.1**2 * currents / copies)
    return ((found - x.astype(np.float64) @ matrix.T) / np.sqrt(variance)).ravel()


@pytest.mark.parametrize(("kind", "copies"), [("current", 1), ("constant", 1), ("constant", 3)])
@pytest.mark.parametrize(("engine", "by_rows"), [("aihwkit", False), ("fast", False), ("fast", True)])
def test_read_noise_has_its_deviation_and_3_percent_too_much_are_seen(
    engine: Engine, by_rows: bool, kind: str, copies: int
) -> None:
    deviates = _deviates(engine, 1.0, by_rows, kind, copies)
    squares = deviates**2
    error = squares.std() / np.sqrt(squares.size)
    assert abs(deviates.mean()) < 3.29 / np.sqrt(deviates.size)
    assert abs(squares.mean() - 1) < 3.29 * error
    small, large = squares.reshape(-1, 30)[::2], squares.reshape(-1, 30)[1::2]
    assert by_rows or abs(small.mean() - large.mean()) < 3.29 * 2 * error
    planted = _deviates(engine, 1.03, by_rows, kind, copies) ** 2
    assert planted.mean() - 1 > 3.29 * error


def test_read_noise_is_that_of_the_compiled_tile() -> None:
    """Whose generator of normal numbers gives deviations that are 0.4 % too large."""
    hardware = machine(Currents(read_noise=0.0175))
    x = torch.from_numpy(np.tile(INPUTS.astype(np.float32), (20_000, 1)))
    found = product(programmed(WEIGHTS, hardware), x).numpy()
    assert found.std(axis=0) == pytest.approx(DEVIATIONS, rel=0.02)
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.03


@pytest.mark.parametrize("engine", ENGINES)
def test_constant_read_noise_is_that_of_the_compiled_tile(engine: Engine) -> None:
    """Whose deviation is w_noise times the norm of the inputs (``applyOutputWeightNoise``, ADDITIVE_CONSTANT)."""
    hardware = machine(Currents(read_noise=0.01, read_noise_kind="constant"))
    x = torch.from_numpy(np.tile(INPUTS.astype(np.float32), (20_000, 1)))
    found = product(programmed(WEIGHTS, hardware), x, engine=engine).numpy()
    assert found.std(axis=0) == pytest.approx(0.01 * np.linalg.norm(INPUTS) * np.ones(4), rel=0.0165)
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.03


@pytest.mark.parametrize("name", ["reram-cmo", "reram-wan2022", "neurram"])
def test_presets_have_the_read_noise_that_aihwkit_asks_for(name: str) -> None:
    forward = Hardware.load(name).to_rpu_config().forward
    assert (forward.w_noise, forward.w_noise_type) == (0.01, WeightNoiseType.ADDITIVE_CONSTANT)


def test_engines_agree_on_constant_read_noise_beside_ir_drop() -> None:
    hardware = machine(Currents(read_noise=0.05, read_noise_kind="constant", ir_drop=1.0, ir_drop_g_ratio=G_RATIO))
    x = torch.from_numpy(np.tile(INPUTS.astype(np.float32), (20_000, 1)))
    matrix = programmed(WEIGHTS, hardware)
    for found in (product(matrix, x, engine=engine).numpy() for engine in ENGINES):
        wanted = dropped(INPUTS[None].astype(np.float32), WEIGHTS, hardware.currents)[0]
        assert found.mean(axis=0) == pytest.approx(wanted, abs=3.9 * found.std() / np.sqrt(len(x)))
        assert found.std(axis=0) == pytest.approx(0.05 * np.linalg.norm(INPUTS) * np.ones(4), rel=0.0165)


def test_noise_is_new_in_every_product_and_the_same_for_a_seed() -> None:
    matrix = programmed(WEIGHTS, machine(Currents(read_noise=0.1)))
    x = torch.from_numpy(np.tile(INPUTS.astype(np.float32), (3, 1)))
    first, again, later = (product(matrix, x, unit=unit).numpy() for unit in (0, 0, 1))
    assert (first == again).all()
    assert (first != later).all()
    assert (first[0] != first[1]).all()


@pytest.mark.parametrize("static", [False, True])
def test_engines_agree_with_converters_and_bound_management(static: bool) -> None:
    """To one step of the ADC, where a product lies on a rounding edge."""
    # Half of a greatest code, as a repeated read drives it, would lie on a rounding edge of the DAC.
    dac = Dac(bits=7, scaling="static") if static else Dac(bits=None)
    adc = Adc(bits=8, bound=20.0 if static else 6.0, bound_management="none" if static else "iterative")
    hardware = machine(Currents(ir_drop=1.0, ir_drop_g_ratio=G_RATIO), dac=dac, adc=adc)
    matrix, x = RNG.uniform(-1, 1, size=(30, 90)), RNG.uniform(0, 1, size=(200, 90)).astype(np.float32)
    tiles = programmed(matrix, hardware, ranges=[0.9] if static else None)
    fast, reference = (product(tiles, torch.from_numpy(x), engine=engine).numpy() for engine in ENGINES)
    off = np.abs(fast - reference)
    assert np.mean(off > 1e-5) < 0.01
    assert off.max() < 40 / 254 * 1.01


def test_rows_of_tiles_have_no_copies_where_noise_depends_on_weights() -> None:
    hardware = Hardware.load("lionheart").model_copy(update={"currents": Currents(read_noise=0.01)})
    assert hardware.free_copies("x", 10) == 1
    constant = hardware.currents.model_copy(update={"read_noise_kind": "constant"})
    hardware = hardware.model_copy(update={"currents": constant})
    assert hardware.free_copies("x", 10) > 1


def test_effects_are_switched_off_and_scaled_in_overrides_too() -> None:
    machine_ = Hardware.model_validate(
        Hardware.load("standard-pcm").model_dump() | {"overrides": [{"layers": "a*", "currents": {"read_noise": 0.1}}]}
    )
    assert "wires" in effects_of(machine_)
    assert "wires" not in effects_of(Hardware.load("lionheart"))
    quiet = without(machine_, ["read", "wires"])
    assert not any(quiet.for_layer(name).currents.any for name in ("a1", "b"))
    louder = scaled_noise(machine_, 2.0)
    assert (louder.currents.read_noise, louder.for_layer("a1").currents.read_noise) == (0.035, 0.2)
    assert louder.currents.ir_drop == 1.0


def test_a_configuration_of_aihwkit_is_written_and_read_with_both() -> None:
    currents = Currents(read_noise=0.02, ir_drop=0.5, ir_drop_g_ratio=1e5)
    hardware = Hardware.load("lionheart").model_copy(update={"currents": currents})
    forward = hardware.to_rpu_config().forward
    assert (forward.w_noise, forward.ir_drop, forward.ir_drop_g_ratio) == (0.02, 0.5, 1e5)
    config = InferenceRPUConfig(
        mapping=hardware.to_rpu_config().mapping,
        forward=IOParameters(
            w_noise=0.02,
            w_noise_type=WeightNoiseType.PCM_READ,
            ir_drop=0.5,
            ir_drop_g_ratio=1e5,
            out_noise=0.06,
            inp_res=254.0,
            out_res=254.0,
        ),
    )
    assert Hardware.from_rpu_config(config).currents == currents
    config.forward.w_noise_type = WeightNoiseType.ADDITIVE_CONSTANT
    constant = currents.model_copy(update={"read_noise_kind": "constant"})
    assert Hardware.from_rpu_config(config).currents == constant
    machine_ = hardware.model_copy(update={"currents": constant})
    assert Hardware.from_rpu_config(machine_.to_rpu_config()).currents == constant
