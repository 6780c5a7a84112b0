"""Fields of devices, and what the pages say of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lhc.hardware import Hardware, StateIndependent
from lhc.hardware.devices.pcm_and_reram import Hermes, Pcm, PcmCustomDrift

ROOT = Path(__file__).parents[3]


def test_the_tables_of_fields_are_what_the_sections_say() -> None:
    command = [sys.executable, "docs/hardware_tables.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.analog
def test_the_documented_devices_have_the_noise_that_they_say() -> None:
    import torch

    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    (text,) = (one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "state_independent" in one)
    machine = Hardware.parse(f"name: reram\n{text}", "docs/hardware.md")
    assert isinstance(machine.devices, StateIndependent)
    assert not machine.devices.ages
    model = machine.to_rpu_config().noise_model
    torch.manual_seed(0)
    for target_us in (20.0, 60.0, 95.0):
        held = model.apply_programming_noise_to_conductance(torch.full((20_000,), target_us))
        assert float(held.mean()) == pytest.approx(target_us, abs=0.1)
        assert float(held.std()) == pytest.approx(2.5, rel=0.03)
        later = model.apply_drift_noise_to_conductance(held, model.generate_drift_coefficients(held), 3e7)
        assert torch.equal(later, held)


@pytest.mark.analog
def test_what_devices_keep_follows_their_own_drift() -> None:
    """Remapping balances stuck cells by what conductive devices keep: within a tenth of aihwkit's mean at 0.9 g_max."""
    import torch

    year = 3.156e7
    table = {"drift_g_us": (0.0, 25.0), "drift_nu_mean": (0.1, 0.02), "drift_nu_std": (0.0, 0.0)}
    still = PcmCustomDrift(**table | {"drift_nu_mean": (0.0, 0.0)})  # type: ignore[arg-type]
    assert still.lasting(year) == 1
    for devices in (Pcm(), Hermes(), Hermes(num_devices=1), PcmCustomDrift(**table)):  # type: ignore[arg-type]
        model = Hardware(name="h", devices=devices).to_rpu_config().noise_model
        model.read_noise_scale = 0.0
        held = torch.full((20_000,), 0.9 * devices.g_max_us)
        torch.manual_seed(0)
        later = model.apply_drift_noise_to_conductance(held, model.generate_drift_coefficients(held), year)
        assert devices.lasting(year) == pytest.approx(float((later / held).mean()), rel=0.1)
