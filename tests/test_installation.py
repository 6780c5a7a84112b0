"""README's two commands, typed into a new virtual environment, install lhc and print what the README shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import lhc

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")


def shape(line: str) -> str:
    """A line of output without its figures, which differ in the last digits by processor, and without its padding."""
    return re.sub(r"-?\d[\d,.]*", "#", " ".join(line.split()))


def missing(shown: str, printed: str) -> list[str]:
    """Lines of the README that were not printed, in any order; "…" stands for what it leaves out."""
    lines = [shape(line) for line in printed.splitlines()]
    expected = [shape(line) for line in shown.splitlines() if line != "…" and not line.startswith("---")]
    return [line for line in expected if not any(found.startswith(line.rstrip("…")) for found in lines)]


def test_a_line_that_was_not_printed_is_found() -> None:
    assert missing("…\nanalog 8 layers\nwithin…", "analog  7  layers\nwithin the budget") == []
    assert missing("analog 8 layers", "digital 8 layers") == ["analog # layers"]


@pytest.mark.slow
@pytest.mark.analog
def test_the_two_commands_of_the_readme(tmp_path: Path) -> None:
    """Dependencies are those installed here; what builds the wheel comes from the package index."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    output = next(block for block in blocks if "Within the budget" in block)
    checkout = tmp_path / "lhc"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=LEFT_OUT)
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "installed_here.pth").write_text(str(Path(numpy.__file__).parents[1]), "utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    environment["LHC_CACHE"] = str(tmp_path / "cache")

    done = subprocess.run([checkout / ".ci" / "install"], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("$ ")] == [
        f"$ {command}" for command in ("pip install . && lhc partition digits", "pip install -e '.[dev]'")
    ]
    assert done.stdout.splitlines()[-1] == f"lhc {lhc.__version__}"
    assert missing(output, done.stdout) == []
    assert (checkout / "digits.lhc.onnx").is_file()
    assert not (site / "lhc").exists(), "what pip does not know stays, and hides the editable install"
