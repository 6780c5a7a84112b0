"""Whole networks of real sizes, all analog, by the engines that are named, against onnxruntime without any noise.

Random weights: their answers mean nothing, and their time depends on them only by how many vectors saturate and are
read again, which are more than with trained ones. Noise on, one day after programming, which is not timed; outputs are
not calibrated. Copies fill free rows of tiles where the hardware has them: their sums saturate more often.

``OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_networks.py FOLDER resnet50 bert-base``
(`pip install torchvision transformers`); networks are exported once into FOLDER. ``--engines fast aihwkit`` where
PyTorch has a GPU: wall times count there, since the processor waits for it.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import onnx

from benchmarks.memory import IMAGES, SIZES, made
from benchmarks.timing import best_in_turn, plain_session
from lhc.options.declaration.value_parsing import Engine
from lhc.runtime import HybridSession

ENGINES: tuple[Engine, ...] = get_args(Engine)


def main() -> None:
    """Time the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", choices=[*IMAGES, *SIZES])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--hardware", default="lionheart")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["fast"])
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.networks:
        path, samples = made(name, given.folder)
        with np.load(samples) as stored:
            feeds = {key: stored[key][: given.batch] for key in stored.files}
        model = onnx.load(path)
        sessions = [HybridSession(model, given.hardware, "all-analog", engine=engine) for engine in given.engines]
        digital, *analog = best_in_turn(
            [partial(session.run, None, feeds) for session in (plain_session(model), *sessions)], given.repeats
        )
        print(f"{name}, batch {given.batch}: digital {digital}", flush=True)
        for engine, spent in zip(given.engines, analog, strict=True):
            times = f"{spent.cpu_s / digital.cpu_s:.2f} times as long, {spent.wall_s / digital.wall_s:.2f} by the clock"
            print(f"  {engine} {spent}: {times}", flush=True)


if __name__ == "__main__":
    main()
