"""Pairs of devices that keep some conductance, or share a weight, against formulas of their own."""

from typing import Any

import numpy as np
import pytest

from lhc.errors import ConfigError
from lhc.hardware import Hardware, Pcm
from tests.hardware.drawn_machines import MEASURED
from tests.hardware.held_cells import G_MAX, PAIRS, held, noise_model


@pytest.mark.analog
@pytest.mark.parametrize("pair", PAIRS[1:], ids=str)
def test_programming_noise_is_that_of_what_devices_hold(pair: dict[str, Any]) -> None:
    import torch

    torch.manual_seed(0)
    count, coefficients = 100_000, (0.05, 0.6, -0.2)  # too little to reach 0, where the model clips
    weights = np.repeat([[0.5]], count, axis=1)
    weights[0, 0] = 1.0
    model = noise_model(Pcm(**pair, programming_coefficients_us=coefficients))
    found = model.apply_programming_noise(torch.from_numpy(weights))[0].numpy()[0, 1:]
    sigmas = [np.polynomial.Polynomial(coefficients)(g[0, 1] / G_MAX) for g in held(pair, weights)[:2]]
    if pair["pair"] == "one-sided" and pair["g_min_us"] == 0:
        sigmas[1] = 0.0
    np.testing.assert_allclose(found.std(), np.hypot(*sigmas) / (G_MAX - pair["g_min_us"]), rtol=0.01)


@pytest.mark.analog
def test_measured_pairs_hold_g_min_too() -> None:
    """Devices keep 0.6 of what they hold: so does the difference of a pair, and its spread is that of both."""
    import torch

    torch.manual_seed(0)
    devices = MEASURED.model_copy(update={"g_min_us": 4.0})
    weights = torch.full((1, 50_000), 0.5, dtype=torch.float64)
    weights[0, 0] = 1.0
    model = noise_model(devices)
    first, cells = model.apply_programming_noise(weights)
    later = model.apply_drift_noise(first, cells, 1e6)
    np.testing.assert_allclose(first.numpy()[0, 1:].mean(), 0.5, atol=0.01)
    np.testing.assert_allclose(first.numpy()[0, 1:].std(), np.sqrt(2) / 6, rtol=0.02)
    # 7 and 4 µS became 4.2 and 2.4, with a deviation of 3 that cuts below 0.
    assert 0.2 < later.numpy()[0, 1:].mean() < 0.3


@pytest.mark.analog
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("preset", ["lionheart", "hermes", "reram-wan2022"])
def test_aihwkit_s_configurations_say_pairs(preset: str, pair: dict[str, Any]) -> None:
    base = Hardware.load(preset)
    assert base.devices is not None
    machine = base.model_copy(update={"devices": base.devices.model_copy(update=pair)})
    assert Hardware.from_rpu_config(machine.to_rpu_config(), t_inference_s=86400).devices == machine.devices


def test_devices_that_cannot_be_switched_are_refused() -> None:
    with pytest.raises(ConfigError, match="g_min_us must be below g_max_us"):
        Hardware.parse("name: x\ndevices: {g_min_us: 25.0}\n", "x")
