"""Training meets the chips that an evaluation meets: with copies of weights, and with outputs corrected."""

import numpy as np
import pytest
import torch

from lhc.hardware import Hardware
from lhc.train.chip_noise import draw_matrix

pytestmark = pytest.mark.analog

LIONHEART = Hardware.load("lionheart")


@pytest.mark.parametrize("copies", [2, 4])
def test_errors_that_are_drawn_average_out_over_copies(copies: int) -> None:
    """Their variance beside the mean falls as 1 / copies: within 10 % at 20,000 weights."""
    torch.manual_seed(0)
    matrix = torch.randn(200, 100)

    def variance(count: int) -> float:
        drawn = draw_matrix(matrix, LIONHEART, 1.0, "devices", count)
        values, errors = matrix.numpy().ravel(), drawn.errors.numpy()
        scaled = (matrix / matrix.abs().amax(1, keepdim=True)).numpy().ravel()
        common = np.polyval(np.polyfit(scaled, errors.ravel(), 1), scaled)
        assert values.shape == common.shape
        return float(np.var(errors.ravel() - common))

    assert variance(1) / variance(copies) == pytest.approx(copies, rel=0.1)


def test_corrections_come_from_reads_of_their_own() -> None:
    """Devices that differ in read noise alone: a calibration sees the mean of some reads, inference another."""
    torch.manual_seed(0)
    quiet = {"programming_noise_scale": 0.0, "drift_scale": 0.0, "read_noise_scale": 4.0}
    assert LIONHEART.devices is not None
    machine = LIONHEART.model_copy(update={"devices": LIONHEART.devices.model_copy(update=quiet)})
    drawn = draw_matrix(torch.randn(200, 100), machine, 86400.0, "devices")
    errors, calibrated = drawn.errors.flatten(), drawn.calibrated.flatten()
    assert float(errors.std() / calibrated.std()) == pytest.approx(machine.compensation.reads**0.5, rel=0.1)
    assert abs(float(torch.corrcoef(torch.stack([errors, calibrated]))[0, 1])) < 0.1
    plain = machine.with_drift_compensation_alone()
    alone = draw_matrix(torch.randn(200, 100), plain, 86400.0, "devices")
    assert torch.equal(alone.errors, alone.calibrated)
