"""Commands that are killed again and again beside two neighbours on one cache end in the bytes of unbroken runs.

Run from a checkout; each round places a network at three seeds at once, kills one of the three every few seconds with
SIGKILL and starts it again, lets all end, and repeats the first alone on a cache of its own::

    LHC_DATA=... python -m tests.fuzz.soak --minutes 60 [--model resnet20] [--seed 0]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["main"]

NEIGHBOURS = 2
LONGEST_S = 60.0
"""Between two kills."""


@dataclass(frozen=True)
class Work:
    """A placement at a seed.

    Attributes:
        name: of what is written.
        cache: folder of results.
    """

    model: str
    seed: int
    name: str
    folder: Path
    cache: Path

    def start(self) -> subprocess.Popen[bytes]:
        """Begin it, or go on where it was killed; in a group of processes of its own."""
        options = f"--samples 500 --max-drop 3% --objective macs --seed {self.seed} --json -q --force"
        command = [sys.executable, "-m", "lhc", "partition", self.model, *options.split()]
        files = ["-o", str(self.folder / f"{self.name}.onnx"), "--work-dir", str(self.cache)]
        output = (self.folder / f"{self.name}.json").open("wb")
        with output, (self.folder / f"{self.name}.err").open("ab") as errors:
            return subprocess.Popen([*command, *files], stdout=output, stderr=errors, start_new_session=True)

    def written(self) -> tuple[bytes, bytes]:
        """The annotated model and the document, without the name that they were given."""
        model, document = ((self.folder / f"{self.name}{end}").read_bytes() for end in (".onnx", ".json"))
        return tuple(part.replace(self.name.encode(), b"") for part in (model, document))  # type: ignore[return-value]


def killed_until(end: float, work: list[Work], rng: Random) -> int:
    """Kill and start again until a time, or all have ended; then let them end.

    Returns:
        how many were killed at work.

    Raises:
        SystemExit: one of them failed.
    """
    running, kills = {one.name: one.start() for one in work}, 0
    while time.monotonic() < end and any(process.poll() is None for process in running.values()):
        time.sleep(rng.uniform(0, LONGEST_S))
        one = rng.choice(work)
        process = running[one.name]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            running[one.name] = one.start()
    for name, process in running.items():
        if process.wait() not in (0, 1):
            raise SystemExit(f"{name} ended with {process.returncode}: see {work[0].folder}/{name}.err")
    return kills


def main() -> None:
    """Rounds until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder, rng, began, kills = Path(tempfile.mkdtemp(prefix="lhc-soak-")), Random(asked.seed), time.monotonic(), 0
    number = asked.seed * 1000
    while (left := began + 60 * asked.minutes - time.monotonic()) > 0:
        seeds = range(number, number + 1 + NEIGHBOURS)
        work = [Work(asked.model, seed, f"killed{seed}", folder, folder / "shared") for seed in seeds]
        kills += killed_until(time.monotonic() + left, work, rng)
        alone = Work(asked.model, number, f"unbroken{number}", folder, folder / f"alone{number}")
        if alone.start().wait() not in (0, 1):
            raise SystemExit(f"the unbroken run failed: see {folder}/{alone.name}.err")
        if alone.written() != work[0].written():
            raise SystemExit(f"seed {number}: the killed run wrote other bytes than the unbroken one: see {folder}")
        print(f"{time.monotonic() - began:.0f} s: {kills} kills, the same bytes at seed {number}", flush=True)
        number += 1 + NEIGHBOURS


if __name__ == "__main__":
    main()
