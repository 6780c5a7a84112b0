"""Run the examples of the pages: ``python`` blocks, and the commands behind ``$`` in ``console`` blocks.

Blocks of a page run in their order, in one namespace and one empty folder. Blocks without a language are not run: their
commands take long, or need what is not here. ``$ LHC_DATA=FOLDER …`` needs weights and data from outside: it runs where
the environment names that folder, and is counted as skipped elsewhere.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest
from urllib.request import urlopen

import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parent.parent
LHC = f"{sys.executable} -m lhc"
SECONDS = 120
OUTSIDE = "$ LHC_DATA=FOLDER "
OUTSIDE_SECONDS = 600


def view(command: str, folder: Path) -> None:
    """A command that serves until it is stopped: it must print an address that answers, and end when it is told to."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            with urlopen(address) as page:
                assert page.status == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def console(example: Example) -> str | None:
    """Run the commands of a block; each must succeed."""
    folder = Path.cwd()
    for line in example.parsed.splitlines():
        if not line.startswith("$ "):
            continue
        limit = SECONDS
        if line.startswith(OUTSIDE):
            if not os.environ.get("LHC_DATA"):
                raise SkipTest("LHC_DATA does not name a folder")
            line, limit = f"$ {line.removeprefix(OUTSIDE)}", OUTSIDE_SECONDS
        command = f"{LHC} {line[6:]}" if line.startswith("$ lhc ") else line[2:]
        if line.startswith("$ lhc view "):
            view(command, folder)
            continue
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            return f"{line}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
    return None


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One empty folder a page; functions written there can be named as ``module:function``."""
    before, path = Path.cwd(), list(sys.path)
    folder = tmp_path_factory.mktemp("page")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    yield
    os.chdir(before)
    sys.path[:] = path


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", console), SkipParser()],
    patterns=["*.md"],
    fixtures=["empty_folder"],
).pytest()
