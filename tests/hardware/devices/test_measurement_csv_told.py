"""What the import of measured devices says of what it did."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lhc.hardware import Hardware
from lhc.hardware.devices.measurement_csv import devices_text, fit_devices, with_measured_devices


def table(path: Path, columns: str = "", chips: Sequence[str] = ("", "")) -> Path:
    """Ten devices of three targets at two times, every value once for each of ``chips``."""
    rng = np.random.default_rng(4)
    rows = [
        f"{chip}d{n},{target},{time},{target + rng.standard_normal():.4f}"
        for time in (20, 3600)
        for target in (0, 10, 20)
        for n in range(10)
        for chip in chips
    ]
    path.write_text("\n".join([f"{columns}device,target_us,time_s,conductance_us", *rows]))
    return path


def test_without_chips_rows_of_one_name_are_told_to_be_taken_as_reads_of_one_device(tmp_path: Path) -> None:
    word = "of one chip: rows of the same device name are taken as reads of one device"
    assert word in str(fit_devices(table(tmp_path / "one.csv")))
    assert word not in str(fit_devices(table(tmp_path / "two.csv", "chip,", ("a,", "b,"))))


def test_fields_that_give_way_are_told_though_they_are_defaults(tmp_path: Path) -> None:
    base = Hardware.load("hermes")
    machine, _ = with_measured_devices(base, table(tmp_path / "chip.csv"))
    kept, _, gone = devices_text(base, machine).partition("; replaced by the tables: ")
    assert "pair one-sided" in kept
    assert gone.startswith("g_max_us, num_devices, ")
    assert "t_0_s" in gone


@pytest.mark.parametrize(("chips", "gone"), [(("", ""), True), (("",), False)], ids=["repeats", "no repeats"])
def test_read_noise_of_currents_that_stays_or_goes_is_told(tmp_path: Path, chips: tuple[str, ...], gone: bool) -> None:
    base = Hardware.load("reram-wan2022")
    assert base.currents.constant
    machine, found = with_measured_devices(base, table(tmp_path / "chip.csv", chips=chips))
    assert any(found.devices.read_us) == gone
    assert machine.currents.read_noise == (0 if gone else base.currents.read_noise)
    kept, _, replaced = devices_text(base, machine).partition("; replaced by the tables: ")
    assert ("currents.read_noise" in replaced) == gone
    assert (f"currents.read_noise {base.currents.read_noise}" in kept) != gone
