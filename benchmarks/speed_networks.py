"""Whole networks of real sizes, all analog, by the engines fast and fast16, against onnxruntime without any noise.

Random weights: their answers mean nothing, and their time depends on them only by how many vectors saturate and are
read again, which are more than with trained ones. Noise on, one day after programming, which is not timed; outputs are
not calibrated. Copies fill free rows of tiles where the hardware has them: their sums saturate more often.

``OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/speed_networks.py FOLDER resnet50 bert-base``
(`pip install torchvision transformers`); networks are exported once into FOLDER.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from benchmarks.memory import IMAGES, SIZES, made
from benchmarks.timing import best_in_turn, plain_session
from lhc.runtime import HybridSession

ENGINES: tuple[Literal["fast", "fast16"], ...] = ("fast", "fast16")


def main() -> None:
    """Time the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", choices=[*IMAGES, *SIZES])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--hardware", default="lionheart")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.networks:
        path, samples = made(name, given.folder)
        with np.load(samples) as stored:
            feeds = {key: stored[key][: given.batch] for key in stored.files}
        model = onnx.load(path)
        sessions = [HybridSession(model, given.hardware, "all-analog", engine=engine) for engine in ENGINES]
        digital, *analog = best_in_turn(
            [partial(session.run, None, feeds) for session in (plain_session(model), *sessions)], given.repeats
        )
        print(f"{name}, batch {given.batch}: digital {digital}", flush=True)
        for engine, spent in zip(ENGINES, analog, strict=True):
            print(f"  {engine} {spent}: {spent.cpu_s / digital.cpu_s:.2f} times as long", flush=True)


if __name__ == "__main__":
    main()
