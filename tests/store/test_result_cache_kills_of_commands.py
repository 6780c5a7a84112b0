"""A command that is killed twenty times ends with the bytes of one that was not, and repeats nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import lhc

pytestmark = [
    pytest.mark.slow,
    pytest.mark.analog,
    pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits of file sizes on this system"),
]

ANY = 0
"""Of any size may files be."""
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

    def start(self, name: str, work_dir: Path, seed: int = 0, limit: int = ANY) -> int:
        """Process id of ``lhc sensitivity digits``; output and told keys go to files of that name."""
        command = f"sensitivity digits-narrow --method measure --seed {seed} --draws 10 --json -q --work-dir {work_dir}"
        return self.start_any(name, command.split(), limit)

    def start_any(self, name: str, command: list[str], limit: int = ANY) -> int:
        """The same of any command."""
        files = {"output": str(self.folder / f"{name}.json"), "told": str(self.folder / f"{name}.told")}
        return self._ask(run=command, limit=limit, **files)

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


def ahead(folder: Path) -> int:
    """Bytes in sqlite's write-ahead log."""
    return sum(path.stat().st_size for path in folder.glob("*-wal"))


def empty_log(folder: Path) -> None:
    """Have sqlite begin at the start of the log, so that its size says where the next write goes."""
    for path in folder.glob("*.sqlite3"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_torn(folder: Path) -> bool:
    """Whether the log ends within a page: https://www.sqlite.org/fileformat2.html#walformat."""
    return ahead(folder) > 0 and (ahead(folder) - 32) % (24 + 4096) != 0


def test_twenty_kills_spread_over_a_command(commands: Commands, tmp_path: Path) -> None:
    assert commands.end(commands.start("unbroken", tmp_path / "unbroken")) == 0
    total = len(commands.told("unbroken"))
    assert total > 250, "fourteen layers, ten chips, two blocks, and the digital network"
    rng, torn = np.random.default_rng(20250817), 0
    broken = tmp_path / "broken"
    for kill in range(KILLS):
        if kill % 2 == 0:  # else the command is the first to open what the last kill left
            empty_log(broken)
        beside = commands.start("beside", broken, seed=1) if kill == KILLS // 2 else None
        if kill % 2:
            # From outside, wherever the command happens to be.
            process = commands.start("broken", broken)
            wait_for(commands, "broken", (kill + 1) * total // (KILLS + 1))
            os.kill(process, signal.SIGKILL)
        else:
            # Some five results more: each changes three pages or more. sqlite's index of the log is of 32,768 bytes.
            limit = max(ahead(broken), 36_864) + int(rng.integers(40_000, 100_000))
            process = commands.start("broken", broken, limit=limit)
        ended = commands.end(process)
        assert ended == -(signal.SIGKILL if kill % 2 else signal.SIGXFSZ), f"kill {kill} came too late"
        torn += is_torn(broken)
        if beside is not None:
            wait_for(commands, "beside", 20)
            os.kill(beside, signal.SIGKILL)
            assert commands.end(beside) == -signal.SIGKILL
    assert commands.end(commands.start("broken", broken)) == 0
    assert (tmp_path / "broken.json").read_bytes() == (tmp_path / "unbroken.json").read_bytes()
    assert torn >= 5
    finished = commands.told("broken")
    # A kill from outside may come between a result and telling of it.
    assert set(finished) <= set(commands.told("unbroken"))
    assert total - len(set(finished)) <= KILLS
    assert len(finished) - len(set(finished)) < 0.01 * total, "finished results were measured again"
    assert set(commands.told("beside")).isdisjoint(finished)
    assert commands.end(commands.start("beside", broken, seed=1)) == 0
    told = commands.told("beside")
    assert len(told) == len(set(told)), "what the other process had finished was kept too"


def test_a_placement_under_random_kills_beside_a_neighbour(commands: Commands, tmp_path: Path) -> None:
    """Each begins in what the kills of both have left, and both end in the bytes of an unbroken run."""

    def partition(name: str, seed: int, cache: str) -> int:
        search = f"--samples 200 --draws 3 --max-drop 3% --objective macs --seed {seed} --json -q --force"
        out = f"-o {tmp_path}/{name}.onnx --work-dir {tmp_path}/{cache}"
        return commands.start_any(name, f"partition digits-narrow {search} {out}".split())

    names = {0: "placed", 1: "beside"}
    began = time.monotonic()
    for seed, name in names.items():
        assert commands.end(partition(f"{name} unbroken".replace(" ", "-"), seed, f"alone{seed}")) in (0, 1)
    whole_s = (time.monotonic() - began) / len(names)
    rng, killed = np.random.default_rng(23), 0
    for _ in range(KILLS // 2):
        running = [partition(name, seed, "shared") for seed, name in names.items()]
        for process in running:
            time.sleep(rng.uniform(0, whole_s / 8))
            os.kill(process, signal.SIGKILL)
        killed += sum(commands.end(process) == -signal.SIGKILL for process in running)
    assert killed >= KILLS // 2, "what the test rests on"
    for seed, name in names.items():
        assert commands.end(partition(name, seed, "shared")) in (0, 1)
        for end in ("onnx", "json"):
            unbroken = (tmp_path / f"{name}-unbroken.{end}").read_bytes()
            assert (tmp_path / f"{name}.{end}").read_bytes() == unbroken.replace(b"-unbroken", b""), (name, end)
