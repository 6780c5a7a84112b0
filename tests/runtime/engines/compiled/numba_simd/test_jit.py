"""Kernels are compiled into the user's cache folder and nowhere else, and run without one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[5]
CALL = """
import numpy as np
from numba.core import config
from lhc.runtime.engines.compiled.kernels.deviates import add_noise_to_lines

values, zeros = np.ones((1, 3), np.float32), np.zeros(80, np.float32)
add_noise_to_lines(values, zeros[:1], zeros[:3].reshape(1, 3), np.zeros(2, np.uint32), zeros)
assert values.tolist() == [[1, 1, 1]], values
assert config.CACHE_DIR == "", "other users of numba in this process keep their folder"
print("found" if add_noise_to_lines.stats.cache_hits else "compiled")
"""

pytestmark = pytest.mark.analog


def started(cache: Path, **variables: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"LHC_CACHE": str(cache), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", CALL]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def called(cache: Path, **variables: str) -> str:
    process = started(cache, **variables)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed.strip()


def machine_code(folder: Path) -> set[Path]:
    return {path for pattern in ("*.nbi", "*.nbc") for path in folder.rglob(pattern)}


def beside_sources() -> set[Path]:
    return {path for name in ("lhc", "passes", "runtime", "models") for path in machine_code(ROOT / name)}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that the code was compiled into."""
    folder = tmp_path_factory.mktemp("cache")
    before = beside_sources()
    assert called(folder) == "compiled"
    assert beside_sources() == before
    return folder


def test_code_is_kept_in_the_cache_folder_and_found_there(filled: Path) -> None:
    assert called(filled) == "found"
    (folder,) = (filled / "compiled").iterdir()
    assert machine_code(folder) == machine_code(filled) != set()


def test_without_a_folder_that_can_be_written_code_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert called(tmp_path / "file") == "compiled"
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["*.nbc", "*.nbi"])
def test_damaged_code_is_compiled_again(pattern: str, filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob(pattern):
        path.write_bytes(path.read_bytes()[:40])
    assert called(tmp_path) == "compiled"


@pytest.mark.slow
def test_processes_that_compile_at_the_same_time_get_along(tmp_path: Path) -> None:
    processes = [started(tmp_path) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert called(tmp_path) == "found"


@pytest.mark.slow
def test_code_that_checks_its_indices_is_not_taken_for_code_that_does_not(tmp_path: Path) -> None:
    called(tmp_path)
    assert called(tmp_path, NUMBA_BOUNDSCHECK="1") == "compiled"
    assert called(tmp_path) == "found"


@pytest.mark.slow
def test_another_processor_has_a_folder_of_its_own(tmp_path: Path) -> None:
    called(tmp_path)
    assert called(tmp_path, NUMBA_CPU_NAME="generic") == "compiled"
    assert len(list((tmp_path / "compiled").iterdir())) == 2


def test_only_three_modules_know_numba() -> None:
    folders = [ROOT / name for name in ("lhc", "passes", "runtime", "models")]
    sources = {path.name: path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py")}
    known = sorted(name for name, text in sources.items() if re.search(r"(import|from) numba", text))
    assert known == ["jit.py", "pointers.py", "vectors.py"]
