"""Several pairs of devices a weight, and reference columns, against devices that numpy draws one by one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lhc.errors import ConfigError
from lhc.hardware import Hardware, Pcm, PcmCustomDrift, ReramCmo
from lhc.support.documents import write_yaml
from tests.hardware.drawn_machines import MEASURED
from tests.hardware.held_cells import G_MAX, PAIRS, held, noise_model

Floats = npt.NDArray[np.float64]
CELLS: list[dict[str, Any]] = [
    {"pairs_per_weight": 4},
    {"pairs_per_weight": 2, "pair": "two-sided", "g_min_us": 5.0},
    {"pair": "reference-column", "g_min_us": 5.0},
    {"pair": "reference-column", "pairs_per_weight": 3},
]
T_0, T_READ, TIME = 20.0, 250e-9, 86400.0
PROGRAMMING = (0.26348, 1.9650, -1.1731)
WEIGHTS = np.array([[1.0, 0.5, 0.0], [-0.6, 0.25, 1.0]])
ROW = np.array([[1.0, -0.6, 0.25, 0.0, -1.0]])


def pcm(g: Floats, rng: np.random.Generator) -> Floats:
    """A phase-change device a day after it was programmed (Nandakumar et al., ICECS 2019)."""
    x = g / G_MAX
    programmed = np.maximum(g + np.polynomial.Polynomial(PROGRAMMING)(x) * rng.standard_normal(g.shape), 0)
    logarithm = np.log(np.maximum(x, 1e-7))
    spread = np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)
    nu = np.abs(np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1) + spread * rng.standard_normal(g.shape))
    drifted = programmed * ((TIME + T_0) / T_0) ** -nu
    q = np.minimum(0.0088 / np.maximum((programmed / G_MAX) ** 0.65, 1e-3), 0.2)
    q *= np.sqrt(np.log((TIME + T_0 + T_READ) / (2 * T_READ)))
    return np.maximum(drifted + drifted * q * rng.standard_normal(g.shape), 0)


def oracle(cell: dict[str, Any], weights: Floats, rng: np.random.Generator) -> Floats:
    """The weights of a chip, device by device."""
    positive, negative, span = held(cell, weights)
    count = cell.get("pairs_per_weight", 1)
    return np.asarray(np.mean([(pcm(positive, rng) - pcm(negative, rng)) / span for _ in range(count)], axis=0))


@pytest.mark.parametrize("cell", [*PAIRS, *CELLS], ids=str)
@pytest.mark.parametrize("weights", [WEIGHTS, ROW], ids=["two rows", "a row"])
def test_devices_hold_what_is_said(cell: dict[str, Any], weights: Floats) -> None:
    for found, wanted in zip(Pcm(**cell).cells(weights), held(cell, weights)[:2], strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.analog
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_chips_are_those_of_devices_drawn_one_by_one(cell: dict[str, Any]) -> None:
    """Means, deviations, and what weights of a row have in common, within 1.5 %: a deviation 3 % off is seen."""
    import torch

    chips, columns = 30_000, WEIGHTS.shape[1]
    # Chips lie side by side, as columns of inputs: each has a weight of 1, the full scale.
    torch.manual_seed(1)
    model = noise_model(Pcm(**cell))
    many = torch.from_numpy(np.tile(WEIGHTS, (1, chips)))
    programmed, drift = model.apply_programming_noise(many)
    found = model.apply_drift_noise(programmed, drift, TIME).numpy().reshape(2, chips, columns)
    rng = np.random.default_rng(2)
    wanted = oracle(cell, np.tile(WEIGHTS, (1, chips)), rng).reshape(2, chips, columns)
    np.testing.assert_allclose(found.mean(1), wanted.mean(1), atol=0.006)
    np.testing.assert_allclose(found.std(1), wanted.std(1), rtol=0.015)
    common = [np.mean((w[0] - w[0].mean(0)) * (w[1] - w[1].mean(0)), axis=0) for w in (found, wanted)]
    np.testing.assert_allclose(common[0], common[1], atol=0.04 * (wanted.std(1) ** 2).mean())
    shares = cell.get("pair") == "reference-column"
    assert (common[0] > 0.2 * (wanted.std(1) ** 2).mean()).all() == shares


@pytest.mark.analog
@pytest.mark.parametrize("cell", [*PAIRS, *CELLS], ids=str)
@pytest.mark.parametrize("weights", [WEIGHTS, ROW], ids=["two rows", "a row"])
def test_each_device_drifts_by_its_own_conductance(cell: dict[str, Any], weights: Floats) -> None:
    import torch

    at, exponents = (0.0, 10.0, 25.0), (0.02, 0.1, 0.04)
    table = {"drift_g_us": at, "drift_nu_mean": exponents, "drift_nu_std": (0.0, 0.0, 0.0)}
    quiet = {"programming_noise_scale": 0.0, "read_noise_scale": 0.0}
    model = noise_model(PcmCustomDrift.model_validate(cell | quiet | table))
    programmed, drift = model.apply_programming_noise(torch.from_numpy(weights))
    np.testing.assert_allclose(programmed.numpy(), weights, atol=1e-6)
    positive, negative, span = held(cell, weights)
    later = [g * (1 + 3600 / 20) ** -np.interp(g, at, exponents) for g in (positive, negative)]
    found = model.apply_drift_noise(programmed, drift, 3600.0).numpy()
    np.testing.assert_allclose(found, (later[0] - later[1]) / span, atol=2e-5)


@pytest.mark.analog
def test_full_weights_are_those_of_aihwkit_s_pairs() -> None:
    """Its pairs are filled one after the other: where all of them are full, they are programmed to the same bytes."""
    import torch
    from aihwkit.inference.converter.conductance import NPairConductanceConverter

    weights = torch.tensor([[1.0, -1.0]], dtype=torch.float64).repeat(1, 1000)
    cells = noise_model(Pcm(pairs_per_weight=4, g_min_us=5.0))
    pairs = noise_model(Pcm(g_min_us=5.0))
    pairs.g_converter = NPairConductanceConverter([1.0] * 4, G_MAX, 5.0)
    found = []
    for model in (cells, pairs):
        torch.manual_seed(3)
        found.append(model.apply_programming_noise(weights)[0].numpy())
    assert found[0].std() > 0.01
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)


def cmo(g: Floats, rng: np.random.Generator, off: float = 1.0) -> Floats:
    """A CMO/HfOx device a day after it was programmed to 0.2 % (Falcone et al.); ``off``: a factor on spreads."""
    programmed = g + off * (0.00081107 + 0.00106879 * g) * rng.standard_normal(g.shape)
    spread = off * (0.04201137 * np.log(TIME) + 0.41183342)
    relaxed = programmed - 0.08900206 * np.log(TIME) + spread * rng.standard_normal(g.shape)
    read = off * 0.0277316483 * np.log10(relaxed) * np.sqrt(np.log((TIME + 1e-6) / 2e-6))
    return np.asarray(np.clip(relaxed + read * rng.standard_normal(g.shape), 9.0, 88.199997))


@pytest.mark.analog
def test_a_reference_column_takes_the_common_relaxation_of_cmo_away() -> None:
    """Against devices drawn one by one; without a reference all weights would move by 1 µS."""
    import torch

    devices, weights = ReramCmo(pair="reference-column"), np.array([[1.0, 0.5, 0.0, 0.0], [-1.0, -0.6, 0.25, 0.0]])
    many, held_by = torch.from_numpy(np.tile(weights, (1, 30_000))), {}
    for name, model in (("column", devices), ("single", ReramCmo())):
        torch.manual_seed(0)
        programmed, drift = noise_model(model).apply_programming_noise(many)
        held_by[name] = noise_model(model).apply_drift_noise(programmed, drift, TIME).numpy().reshape(2, -1, 4)
    found, span = held_by["column"], (devices.g_max_us - devices.g_min_us) / 2
    for off, near in ((1.0, True), (1.03, False)):
        rng, target = np.random.default_rng(1), devices.g_min_us + span * (1 + np.tile(weights, (1, 30_000)))
        reference = np.full(target.shape[1], devices.g_min_us + span)
        wanted = ((cmo(target, rng, off) - cmo(reference, rng, off)) / span).reshape(2, -1, 4)
        assert (np.abs(found.std(1) / wanted.std(1) - 1).max() < 0.0165) == near
        np.testing.assert_allclose(found.mean(1), wanted.mean(1), atol=8e-4)
    inner = np.abs(weights) < 1  # at the ends of the range nothing leaves it
    assert np.abs(found.mean(1) - weights)[inner].max() < 8e-4
    assert (held_by["single"].mean(1) - weights)[inner] == pytest.approx(-0.08900206 * np.log(TIME) / span, rel=0.03)


def test_a_single_device_is_of_cmo_alone() -> None:
    for text, wrong in (
        ("{model: pcm, pair: single}", "pair: single is not one of pcm"),
        ("{model: reram_cmo, pair: two-sided}", "two-sided is not one of reram_cmo"),
        ("{model: reram_cmo, pairs_per_weight: 2}", "pairs_per_weight is 1"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            Hardware.parse(f"name: x\ndevices: {text}\n", "x")
    machine = Hardware.load("reram-cmo")
    assert machine.cells == 256 * 256
    assert machine.currents.constant
    with pytest.raises(ConfigError, match="constant read noise can be, with reference-column"):
        machine.with_fields({"currents": {"read_noise": 0.01}})


@pytest.mark.analog
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_measured_devices_have_such_cells(cell: dict[str, Any]) -> None:
    import torch

    torch.manual_seed(0)
    devices = MEASURED.model_copy(update=cell | {"g_min_us": 4.0})
    weights = torch.from_numpy(np.tile(WEIGHTS, (1, 30_000)))
    first, _ = noise_model(devices).apply_programming_noise(weights)
    found = first.numpy().reshape(2, -1, WEIGHTS.shape[1])
    span = (devices.g_max_us - 4) / (2 if devices.pair == "reference-column" else 1)
    np.testing.assert_allclose(found.mean(1), WEIGHTS, atol=0.01)
    np.testing.assert_allclose(found.std(1), np.sqrt(2 / devices.pairs_per_weight) / span, rtol=0.015)


@pytest.mark.analog
@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("preset", ["lionheart", "hermes"])
def test_configurations_are_read_back(preset: str, cell: dict[str, Any]) -> None:
    base = Hardware.load(preset)
    assert base.devices is not None
    machine = base.model_copy(update={"devices": base.devices.model_copy(update=cell)})
    assert Hardware.from_rpu_config(machine.to_rpu_config(), t_inference_s=86400).devices == machine.devices


@pytest.mark.parametrize("cell", [CELLS[0], CELLS[2]], ids=str)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"currents": {"read_noise": 0.1}}, "currents are those of one pair a weight"),
        ({"costs": {"model": "diana"}}, "does not count unit cells"),
    ],
)
def test_currents_and_cost_models_without_cells_are_refused(
    cell: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(write_yaml({"name": "x", "devices": cell, **more}), "x")


@pytest.mark.parametrize("pair", ["reference-column", "digital-offset"])
@pytest.mark.parametrize("faults", [{"stuck_low": 0.1}, {"dead_rows": 0.1}], ids=str)
def test_faults_of_other_cells_than_pairs_are_refused(pair: str, faults: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"devices.pair: {pair} a weight has one cell of its own; take one-sided"):
        Hardware.parse(write_yaml({"name": "x", "devices": {"pair": pair}, "faults": faults, "costs": None}), "x")
