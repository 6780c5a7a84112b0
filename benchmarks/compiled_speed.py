"""How fast compiled models are: CPU time per sample against plain onnxruntime and the fast engine, in one run.

    python benchmarks/compiled_speed.py [MODEL] [--samples N] [--repeat R]

All eligible layers are analog. Every way runs at every batch size, one after the other, and the whole round is
repeated; each way's figure is its least CPU time (of the process, one thread) at its best batch size. Also: the size
of the files against the float32 original.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from lhc.commands.compile import compile_draws, placement_of
from lhc.options.by_command import CompileOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.runtime import HybridSession
from lhc.runtime.onnxruntime.sessions import create_session
from lhc.support.tables import Table

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], object]

HARDWARE = {"static range": "static-range", "per vector": "lionheart"}


def compiled_run(network: NetworkPlacement, options: CompileOptions) -> tuple[Run, int]:
    """A compiled model on one thread, and its size in bytes."""
    (compiled,) = compile_draws(network, [0], options)
    session = compiled.session()
    return (lambda feeds: session.run(None, dict(feeds))), len(compiled.proto.SerializeToString())


def seconds(run: Run, feeds: Feeds, samples: int, batch: int) -> float:
    """CPU seconds per sample."""
    start = time.process_time()
    for first in range(0, samples, batch):
        run({name: array[first : first + batch] for name, array in feeds.items()})
    return (time.process_time() - start) / samples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="resnet20")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batches", default="1,8,32,128")
    arguments = parser.parse_args()

    opened = open_model(arguments.model)
    if opened.entry is None:
        parser.error("name a model of the zoo, which brings its samples")
    task = opened.entry.task()
    _, feeds = next(task.head(arguments.samples).blocks(arguments.samples))
    digital = create_session(opened.model.proto, opened.model.label)
    original = len(opened.model.proto.SerializeToString())
    runs: dict[str, Run] = {"onnxruntime, digital": lambda given: digital.run(None, dict(given))}
    sizes = {}
    for name, hardware in HARDWARE.items():
        options = CompileOptions(opened, task.head(256), all_analog=True, hardware=hardware)
        network, _ = placement_of(options)
        for noisy in (replace(options, noise="off"), options):
            way = f"compiled, {name}, noise {noisy.noise}"
            runs[way], sizes[way] = compiled_run(network, noisy)
        session = HybridSession(network.model, placement=network.plan)
        runs[f"fast engine, {name}, noise on"] = lambda given, session=session: session.run(None, given)  # type: ignore[misc]
    batches = [int(batch) for batch in arguments.batches.split(",") if int(batch) <= arguments.samples]
    best: dict[str, tuple[float, int]] = {}
    for _ in range(arguments.repeat):
        for way, run in runs.items():
            for batch in batches:
                best[way] = min(best.get(way, (np.inf, 0)), (seconds(run, feeds, arguments.samples, batch), batch))
    plain = best["onnxruntime, digital"][0]
    rows = [
        [way, f"{1e3 * t:.3f}", str(batch), f"{t / plain:.2f}", f"{sizes[way] / original:.3f}" if way in sizes else "-"]
        for way, (t, batch) in best.items()
    ]
    print(
        Table(["way", "CPU ms/sample", "batch", "times digital", "size ratio"], rows, right=(1, 2, 3, 4)).render(
            "table"
        )
    )
    print(f"\n{arguments.model}, {arguments.samples} samples, best of {arguments.repeat} rounds, one thread")


if __name__ == "__main__":
    main()
