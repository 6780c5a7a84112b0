"""A sweep of many small runs on two processes, one of which is killed: the same bytes, and what the scheduler costs.

    python benchmarks/sweep_with_a_killed_worker.py --runs 1000

The sweep is done twice, each time with an empty cache: undisturbed, and with one worker killed after a third of the
runs. Both have to write the same bytes. The overhead is the time of both workers beside the runs themselves, from the
first run to the last,

    (workers x wall time - sum of the runs' times) / sum of the runs' times,

of the undisturbed sweep; what comes before the first run (loading libraries, the forecast) is told beside it. Networks
are perceptrons of 8x8 weights, so that a run takes a fraction of a second in a worker that has its libraries loaded.
"""

import argparse
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

import lhc
from lhc.report.exports.sweep_files import save_sweep

__all__ = ["Timed", "disturbed", "main", "small_sweep", "timed"]

JOBS = 2
_NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
perceptron (float[N, 8] x) => (float[N, 8] logits) {
  [first] h = MatMul (x, u)
  [act] r = Relu (h)
  [second] logits = MatMul (r, v)
}"""
_SWEEP = """model = "{network}"
data = "{data}"
hardware = ["lionheart", "hermes"]
strategy = "all-analog"
explain = false
draws = 4
max-draws = 4
max-drop = ["5%", "20%"]
seed = {seeds}
"""


@dataclass
class Timed:
    """A sweep and its times in seconds: before the first run, and from there to the last."""

    result: lhc.SweepResult
    start_s: float
    runs_s: float

    @property
    def overhead(self) -> float:
        """Time of the workers beside the runs, as a share of the runs' time."""
        spent = self.result.seconds
        return (JOBS * self.runs_s - spent) / spent


@dataclass
class _Clock:
    """Notes when the runs begin and end, and does something after some of them."""

    after: float
    action: Callable[[], None]
    began: float = field(default_factory=time.monotonic)
    first: float = 0.0
    last: float = 0.0
    acted: bool = False

    def __call__(self, what: str, done: int, total: int) -> None:
        """As lhc reports progress."""
        if what != "runs":
            return
        self.last = time.monotonic()
        self.first = self.first or self.last
        if not self.acted and done >= self.after * total:
            self.acted = True
            self.action()


def small_sweep(folder: Path, runs: int) -> Path:
    """A network, its samples, and a sweep of so many runs, or a few more, in a folder."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(8, 8)).astype(np.float32) for name in "uv"}
    model = onnx.parser.parse_model(_NETWORK)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    x = rng.normal(size=(128, 8)).astype(np.float32)
    labels = (np.maximum(x @ weights["u"], 0) @ weights["v"]).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 8  # nobody is right on all samples
    network, data = folder / "perceptron.onnx", folder / "samples.npz"
    onnx.save_model(model, str(network))
    np.savez(data, x=x, labels=labels)
    path = folder / "sweep.toml"
    path.write_text(_SWEEP.format(network=network, data=data, seeds=list(range(ceil(runs / 4)))), encoding="utf-8")
    return path


def timed(path: Path, cache: Path, after: float = 1.0, action: Callable[[], None] = lambda: None) -> Timed:
    """Do a sweep, and something else after a share of its runs."""
    clock = _Clock(after, action)
    result = lhc.sweep(path, jobs=JOBS, work_dir=cache, progress=clock)
    return Timed(result, clock.first - clock.began, clock.last - clock.first)


def disturbed(path: Path, cache: Path) -> Timed:
    """Do a sweep one of whose workers is killed on the way."""

    def kill_one() -> None:
        victim = multiprocessing.active_children()[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)

    return timed(path, cache, 1 / 3, kill_one)


def _same(first: Path, second: Path) -> bool:
    names = sorted(path.name for path in first.iterdir())
    return names == sorted(path.name for path in second.iterdir()) and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Both sweeps; 1 where their files differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    asked = parser.parse_args(arguments)
    with TemporaryDirectory() as place:
        folder = Path(place)
        path = small_sweep(folder, asked.runs)
        plain, broken = timed(path, folder / "cache"), disturbed(path, folder / "other")
        for found, name in ((plain, "plain"), (broken, "broken")):
            save_sweep(found.result, folder / name)
        same = _same(folder / "plain", folder / "broken")
    rows = len(plain.result.rows)
    print(f"{platform.machine()}, {os.cpu_count()} cores, lhc {lhc.__version__}: {rows} runs on {JOBS} processes")
    print(f"undisturbed: {plain.result.seconds:.1f} s of runs, {plain.runs_s:.1f} s from the first to the last")
    print(f"overhead of the scheduler: {100 * plain.overhead:.1f} %; {plain.start_s:.1f} s before the first run")
    print(f"one worker killed: {broken.result.seconds:.1f} s of runs, {broken.runs_s:.1f} s from the first to the last")
    failed = f"{len(plain.result.failed)} and {len(broken.result.failed)}"
    print(f"failed rows: {failed}; files: {'the same' if same else 'OTHER'} bytes")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
