"""Noise of programmed weights in regimes, and the preset that has it, against the formulas of its source."""

import json

import numpy as np
import pytest

from lhc.errors import ConfigError
from lhc.hardware import Hardware, Regimes, effects_of
from lhc.hardware.devices.aihwkit_noise_models import RegimeNoise

AFM = Hardware.load("afm")
# github.com/IBM/analog-foundation-models, apply_noise_model.py: highest power first, weights up to 180.
ONE_DEVICE = (2.939751381126213e-05, -0.00371581208142707, 0.22419685954327148, 2.5797410660159494)
TWO_DEVICES = (1.2329755395573392e-05, -0.003054993405157235, 0.2453487119885723, 2.110295720240385)


def _programmed(magnitude: float, devices: Regimes, count: int = 100_000) -> np.ndarray:
    """Weights of a magnitude, in units of the greatest one, on a tile that has both signs."""
    import torch

    torch.manual_seed(0)
    weights = torch.full((2, count), magnitude / 180, dtype=torch.float64)
    weights[1] *= -1
    weights[0, 0] = 1
    noisy, _ = RegimeNoise(devices).apply_programming_noise(weights)
    return np.asarray(180 * noisy.numpy()[:, 1:])


@pytest.mark.analog
@pytest.mark.parametrize("magnitude", [0.7, 20.0, 52.0, 53.0, 100.0, 179.0])
def test_weights_are_off_as_published(magnitude: float) -> None:
    assert isinstance(AFM.devices, Regimes)
    sigma = float(np.polyval(TWO_DEVICES if magnitude > 52.5 else ONE_DEVICE, magnitude))
    found = _programmed(magnitude, AFM.devices)

    # A deviation of n values is known to 1 / sqrt(2 n): 0.2 %, so that 3 % more would be seen.
    np.testing.assert_allclose(found.std(axis=1), sigma, rtol=0.01)
    np.testing.assert_allclose(found.mean(axis=1), [magnitude, -magnitude], atol=0.02 * sigma)
    quiet = _programmed(magnitude, AFM.devices.model_copy(update={"programming_noise_scale": 0.0}))
    np.testing.assert_allclose(np.abs(quiet), magnitude, rtol=1e-12)


@pytest.mark.analog
def test_as_many_regimes_as_a_description_may_have_are_told_apart() -> None:
    regimes = [{"up_to": 180 * (k + 1) / 64, "coefficients": [0.01 * (k + 1)]} for k in range(64)]
    devices = Regimes.model_validate({"full_scale": 180.0, "regimes": regimes})
    for k in (0, 31, 32, 63):
        found = _programmed(180 * (k + 0.5) / 64, devices)
        np.testing.assert_allclose(found.std(axis=1), 0.01 * (k + 1), rtol=0.01)


@pytest.mark.analog
def test_weights_in_the_dead_zone_are_zero() -> None:
    assert isinstance(AFM.devices, Regimes)
    assert not _programmed(0.59, AFM.devices).any()
    assert _programmed(0.61, AFM.devices).all()


@pytest.mark.analog
def test_the_preset_has_the_converters_of_its_source() -> None:
    forward = AFM.to_rpu_config().forward
    assert (forward.inp_res, forward.out_res, forward.out_bound, forward.out_noise) == (1 / 254, 1 / 254, 14.0, 0.0)
    assert (AFM.tiles.rows, AFM.dac.scaling, AFM.needs_calibration) == (512, "static", True)
    assert Hardware.from_rpu_config(AFM.to_rpu_config()).devices == AFM.devices
    assert effects_of(AFM) == ("dac", "adc", "programming")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"full_scale": 200.0}, "regimes must ascend by up_to, the last one to full_scale"),
        ({"regimes": []}, "devices.regimes"),
        ({"regimes": [{"up_to": 180}]}, "devices.regimes.0.coefficients"),
    ],
)
def test_regimes_must_fit(change: dict[str, object], message: str) -> None:
    text = AFM.model_dump(mode="json")
    text["devices"] |= change
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(json.dumps(text), "x")
