"""Retrain ResNet20 for its analog tiles, then judge it on the 10,000 test images of CIFAR-10.

    LHC_DATA=... PYTHONPATH=. python benchmarks/resnet20_retraining.py train -o FOLDER [--steps 400] [--lr 0.002] \
        [--share "90.2 %"] [--max-tiles 72] [--model FILE]
    LHC_DATA=... PYTHONPATH=. python benchmarks/resnet20_retraining.py judge -o FOLDER [--share "96.0 %"] \
        [--time "1 day"] [--max-tiles 72]

``train`` trains for one placement (98.9 % of MACs analog by default), on the training images without 900 that judge
before and after; it writes ``FOLDER/resnet20.lhc.onnx`` and can be killed and started again. With ``--model`` it goes
on with a trained network. ``judge`` judges ten chips, each on a thousand test images of its own: the 10,000 test images
once, and intervals that hold the variation of chips and images. It keeps every result in ``FOLDER/judged.json``; a
second run goes on behind them. Shares and times can be repeated.

Weights are held as often as they fit the tiles that layers take anyway; ``--max-tiles``: in so many tiles, with the
copies that ``lhc partition`` chooses for the given network on the 900 images.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import lhc
from benchmarks.healing import plan_within
from lhc.measure import Running
from lhc.models import cifar10, zoo_entry
from lhc.options.by_command import RunOptions
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.stats import summarize
from lhc.support.files import write_file

CHIPS, IMAGES = 10, 1000
HELD_OUT = 900
"""Training images that train nothing."""
SEED = 20250317
DAY = 86400.0
YEAR = 365 * DAY
DIGITAL = {
    "all analog": "",
    "98.9 %": "conv1 linear",
    "97.1 %": "layer2.0.conv1",
    "96.0 %": "conv1 linear layer2.0.conv1",
    "93.1 %": "conv1 linear layer1.2.conv1",
    "90.2 %": "conv1 linear layer1.2.conv1 layer2.0.conv1",
}
"""Placements by their share of MACs that is analog: the digital layers."""
TIMES = {"1 day": DAY, "1 s": 1.0, "1 h": 3600.0, "1 month": 30 * DAY, "1 year": YEAR, "10 years": 10 * YEAR}


def training_images() -> tuple[Task, Task]:
    """Images that train, and those that judge."""
    images, labels = cifar10.load("train")
    order = np.random.default_rng(SEED).permutation(len(images))
    task = Task({"x": images}, labels, get_metric("accuracy"), finite=True)
    return task.take(np.sort(order[HELD_OUT:])), task.take(np.sort(order[:HELD_OUT]))


def train(folder: Path, model: str, steps: int, rate: float, share: str, tiles: int | None) -> None:
    """Retrain, and write the model."""
    started = time.process_time()

    def tell(what: str, done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            print(f"{what}: {done}/{total}, {time.process_time() - started:.0f} CPU s", file=sys.stderr, flush=True)

    trains, judges = training_images()
    names = {layer.name for layer in lhc.analyze("resnet20").facts.candidates}
    analog = sorted(names - set(DIGITAL[share].split()))
    result = lhc.retrain(
        model,
        judges,
        train_data=trains,
        steps=steps,
        learning_rate=rate,
        augment="crop-flip",
        validations=4,
        placement=analog if tiles is None else plan_within("resnet20", judges, tiles, DIGITAL[share].split()),
        checkpoint=folder,
        draws=5,
        progress=tell,
    )
    result.save(folder / "resnet20.lhc.onnx", force=True)
    for note in result.notes:
        print(note)
    print(f"{time.process_time() - started:.0f} CPU s")


def judge(folder: Path, shares: list[str], labels: list[str], tiles: int | None) -> None:
    """Measure what is missing, one chip after the other, saving after each."""
    where = folder / "judged.json"
    found: dict[str, list[float]] = json.loads(where.read_text()) if where.exists() else {}
    copies: dict[str, dict[str, int]] = {}
    if tiles is not None:
        _, choosing = training_images()
        copies = {s: plan_within("resnet20", choosing, tiles, DIGITAL[s].split()).copies for s in shares}
    task = zoo_entry("resnet20").task()
    for name, model in {"retrained": str(folder / "resnet20.lhc.onnx"), "as given": "resnet20"}.items():
        options = RunOptions("resnet20", task, hardware="lionheart", all_analog=True)
        state, analog, _ = read_placed(replace(options, model=model), Running(), None)
        given, _, _ = read_placed(options, Running(), None)
        for label in labels:
            for share in shares:
                placement = analog - frozenset(DIGITAL[share].split())
                what = share if tiles is None else f"{share}, {tiles} tiles"
                for chip in range(CHIPS):
                    key = "|".join([name, label, what, str(chip)])
                    if key in found:
                        continue
                    images = task.take(np.arange(chip * IMAGES, (chip + 1) * IMAGES))
                    evaluator = state.evaluator(images)
                    evaluator = evaluator if tiles is None else replace(evaluator, copies=Copies(copies[share]))
                    measured = evaluator.measure(placement, range(chip, chip + 1), key, TIMES[label])
                    found[key] = [float(measured.values[0]), given.evaluator(images).baseline]
                    write_file(where, lambda file: file.write(json.dumps(found, indent=0).encode()))
                print(name, label, what, summary(found, name, label, what), flush=True)


def summary(found: dict[str, list[float]], name: str, label: str, what: str) -> str:
    """Accuracy and drop against the network as it was given, with the 90 % interval over chips and their images."""
    values, digital = np.array([found["|".join([name, label, what, str(chip)])] for chip in range(CHIPS)]).T
    drop = summarize(digital - values, 0.9, 0.0)
    assert drop.interval is not None
    low, high = (100 * bound for bound in drop.interval)
    return f"accuracy {100 * values.mean():.2f} %, drop {100 * drop.mean:.2f} points [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "judge"])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--share", choices=DIGITAL, action="append")
    parser.add_argument("--time", choices=TIMES, action="append")
    parser.add_argument("--max-tiles", type=int)
    parser.add_argument("--model", default="resnet20", help="train: a network that was trained before")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "train":
        share = (options.share or ["98.9 %"])[0]
        train(options.out, options.model, options.steps, options.lr, share, options.max_tiles)
    else:
        judge(options.out, options.share or list(DIGITAL), options.time or ["1 day"], options.max_tiles)


if __name__ == "__main__":
    main()
