"""How a search scales with workers: measured with one and two, simulated up to 64 from the times of its units.

``lhc partition resnet20`` runs in one process that notes the time of every unit of work and of what lies between them,
then once with ``--jobs 1`` and once with ``--jobs 2``. The simulation gives units in their order to the first worker
that is free, waits where the search needs all results before it goes on, and starts workers in as long as an idle one
took. Units' times are those of one process, which keeps programmed chips and answers for all of them, where workers
keep their own: what ``--jobs 2`` takes beyond its simulation shows what that leaves out.

These are wall times: two cores must be idle.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/scale_out.py [--images 2000]``
"""

import heapq
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import lhc
from benchmarks.timing import options, write
from lhc.measure.scorer import Setting
from lhc.measure.workers import SerialWorkers, Unit
from lhc.samples.metrics import Array

__all__ = ["main"]

WORKERS = (1, 2, 4, 8, 16, 32, 64)


class NotingWorkers(SerialWorkers):
    """One process that notes how long units take, those that are given out together in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[float]] = []

    def run(self, setting: Setting, units: Iterable[Unit]) -> Iterator[tuple[int, list[Array]]]:
        """See `Workers`."""
        batch: list[float] = []
        self.batches.append(batch)
        found = super().run(setting, units)
        while True:
            start = time.perf_counter()
            result = next(found, None)
            if result is None:
                return
            batch.append(time.perf_counter() - start)
            yield result


def simulated(batches: Sequence[Sequence[float]], serial: float, start: float, workers: int) -> float:
    """Seconds of a run.

    Args:
        batches: seconds of units; all of one are done before the next begins.
        serial: seconds of the process that gives them out.
        start: seconds that a worker takes before its first unit.
    """
    now = start if workers > 1 else 0.0
    for batch in batches:
        free = [now] * workers
        for unit in batch:
            heapq.heapreplace(free, free[0] + unit)
        now = max(free)
    return now + serial


def _run(arguments: Sequence[str], folder: Path) -> float:
    """Wall seconds of a command."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lhc", *arguments], cwd=folder, check=False, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _idle_worker() -> float:
    """Wall seconds in which a process has loaded what a worker loads."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import lhc.measure.workers, lhc.runtime, torch"], check=True)
    return time.perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Note, measure, simulate."""
    assert __doc__
    parser = options(__doc__, count=2000)
    chosen = parser.parse_args(arguments)
    noting = NotingWorkers()
    begun = time.perf_counter()
    with patch("lhc.measure.execution._workers", lambda execution: noting):
        lhc.partition("resnet20", samples=chosen.images)
    total = time.perf_counter() - begun
    units = [unit for batch in noting.batches for unit in batch]
    serial, start = total - sum(units), _idle_worker()
    print(
        f"{len(units)} units in {len(noting.batches)} batches, {sum(units):.1f} s, the longest {max(units):.1f};"
        f" {serial:.1f} s between them; {start:.1f} s to load a worker"
    )
    with tempfile.TemporaryDirectory() as name:
        command = ["partition", "resnet20", "--samples", str(chosen.images), "--quiet", "-o", "placed.onnx", "--force"]
        more = (["--work-dir", f"work{jobs}", "--jobs", str(jobs)] for jobs in (1, 2))
        measured = [_run([*command, *with_jobs], Path(name)) for with_jobs in more]
    figures = {str(workers): simulated(noting.batches, serial, start, workers) for workers in WORKERS}
    print(f"measured: --jobs 1 {measured[0]:.1f} s, --jobs 2 {measured[1]:.1f} s")
    for workers, seconds in figures.items():
        print(f"simulated: {workers:>2} workers {seconds:6.1f} s, {total / seconds:4.1f} times as fast")
    write(chosen.output, {"measured": measured, "simulated": figures, "units": units})


if __name__ == "__main__":
    main()
