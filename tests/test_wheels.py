"""Every dependency installs from wheels, on every Python and platform that lhc names.

uv resolves for a Python and a platform other than the ones it runs on, and evaluates the markers of every
dependency for them; pip evaluates markers for its own interpreter whatever ``--python-version`` says.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
LINUX = "x86_64-manylinux_2_28"
ELSEWHERE = ("aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")

pytestmark = pytest.mark.slow


def resolve(python: str, platform: str, *options: str) -> dict[str, str]:
    """Distribution → version, from wheels alone."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--only-binary",
        ":all:",
    ]
    command += ["--no-header", "--no-annotate", "--python-version", python, "--python-platform", platform]
    done = subprocess.run(
        [*command, *options, str(ROOT / "pyproject.toml")],
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # the oldest that onnxruntime has wheels for
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
@pytest.mark.parametrize("python", PYTHONS)
def test_wheels_where_aihwkit_has_them(python: str, resolution: str) -> None:
    found = resolve(python, LINUX, "--extra", "dev", "--resolution", resolution)
    assert found["aihwkit"].startswith("1.1." if python == "3.11" else "1.2.")
    assert "torch" in found


@pytest.mark.parametrize("platform", ELSEWHERE)
@pytest.mark.parametrize("python", PYTHONS)
def test_wheels_elsewhere_without_aihwkit(python: str, platform: str) -> None:
    found = resolve(python, platform)
    assert "onnxruntime" in found
    assert found.keys().isdisjoint({"aihwkit", "torch"})
