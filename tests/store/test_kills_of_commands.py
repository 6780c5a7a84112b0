"""A command that is killed twenty times ends with the bytes of one that was not, and repeats nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

import lhc
from lhc.store.records import scan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.analog,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
]

ENOUGH = 2**40
"""Bytes that no test writes."""
KILLS = 20
PATIENCE_S = 120


class Commands:
    """Starts lhc's commands in forks of a process that has loaded everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(Path(lhc.__file__).parents[1])}
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("command.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def _ask(self, **question: object) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        return int(self._server.stdout.readline())

    def start(self, name: str, work_dir: Path, seed: int = 0, room: int = ENOUGH) -> int:
        """Process id of ``lhc sensitivity digits``; output and told keys go to files of that name."""
        command = f"sensitivity digits --method measure --seed {seed} --draws 10 --json -q --work-dir {work_dir}"
        files = {"output": str(self.folder / f"{name}.json"), "told": str(self.folder / f"{name}.told")}
        return self._ask(run=command.split(), room=room, **files)

    def end(self, process: int) -> int:
        return self._ask(wait=process)

    def told(self, name: str) -> list[str]:
        path = self.folder / f"{name}.told"
        return path.read_text().splitlines() if path.exists() else []

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    found = Commands(tmp_path)
    yield found
    found.close()


def wait_for(commands: Commands, name: str, results: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(commands.told(name)) < results:
        assert time.monotonic() < end, f"only {len(commands.told(name))} of {results} results came"
        time.sleep(0.001)


def is_torn(segment: Path) -> bool:
    """Whether there is less than a record behind the last one."""
    size = segment.stat().st_size
    with FileIO(segment) as file:
        return size > max((at + header.size for at, header in scan(file, 0, size)), default=0)


def test_twenty_kills_spread_over_a_command(commands: Commands, tmp_path: Path) -> None:
    assert commands.end(commands.start("unbroken", tmp_path / "unbroken")) == 0
    total = len(commands.told("unbroken"))
    assert total > 250, "fourteen layers, ten chips, two blocks, and the digital network"
    size = sum(path.stat().st_size for path in (tmp_path / "unbroken").glob("*.lhclog"))
    rng = np.random.default_rng(20250817)
    broken = tmp_path / "broken"
    for kill in range(KILLS):
        beside = commands.start("beside", broken, seed=1) if kill == KILLS // 2 else None
        if kill % 2:
            # From outside, wherever the command happens to be.
            process = commands.start("broken", broken)
            wait_for(commands, "broken", (kill + 1) * total // (KILLS + 1))
            os.kill(process, signal.SIGKILL)
        else:
            process = commands.start("broken", broken, room=int(rng.integers(size // 60, size // 20)))
        assert commands.end(process) == -signal.SIGKILL, f"kill {kill} came too late"
        if beside is not None:
            wait_for(commands, "beside", 20)
            os.kill(beside, signal.SIGKILL)
            assert commands.end(beside) == -signal.SIGKILL
    assert commands.end(commands.start("broken", broken)) == 0
    assert (tmp_path / "broken.json").read_bytes() == (tmp_path / "unbroken.json").read_bytes()
    assert sum(is_torn(path) for path in broken.glob("*.lhclog")) >= 5
    finished = commands.told("broken")
    # A kill from outside may come between a result and telling of it.
    assert set(finished) <= set(commands.told("unbroken"))
    assert total - len(set(finished)) <= KILLS
    assert len(finished) - len(set(finished)) < 0.01 * total, "finished results were measured again"
    assert set(commands.told("beside")).isdisjoint(finished)
    assert commands.end(commands.start("beside", broken, seed=1)) == 0
    told = commands.told("beside")
    assert len(told) == len(set(told)), "what the other process had finished was kept too"
