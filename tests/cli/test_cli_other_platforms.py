"""Where torch and aihwkit have no wheels, looking works and the rest says what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "aihwkit"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
from lhc.cli import main
main()
"""


def lhc_without_torch(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["analyze", "inspect"])
def test_looking_works(command: str, model_file: Path) -> None:
    process = lhc_without_torch(command, model_file)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["partition", "sensitivity"])
def test_emulation_says_what_is_missing(command: str, model_file: Path, data_file: Path) -> None:
    process = lhc_without_torch(command, model_file, "--data", data_file)
    assert (process.returncode, process.stdout) == (3, "")
    assert "needs aihwkit and torch, which have wheels for Linux x86-64 only" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_digital_networks_run(model_file: Path, data_file: Path) -> None:
    process = lhc_without_torch("run", model_file, "--data", data_file)
    assert process.returncode == 0, process.stderr
