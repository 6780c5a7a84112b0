"""What the import of measured devices says of what it did."""

from pathlib import Path

import numpy as np

from lhc.hardware import Hardware
from lhc.hardware.measurements import devices_text, fit_devices, with_measured_devices


def table(path: Path, columns: str = "", chips: tuple[str, ...] = ("", "")) -> Path:
    """Ten devices of three targets at two times, every value twice: once for each of ``chips``."""
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
