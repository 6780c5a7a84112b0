"""Partitioning with retraining on CIFAR-10: LionHeart's walk, as published and mended, and lhc's default.

    LHC_DATA=... python benchmarks/retraining_walks.py resnet20 lionheart-original -o FOLDER --steps 50
    LHC_DATA=... python benchmarks/retraining_walks.py resnet8 sensitivity -o FOLDER --steps 1000 --lr 0.01

The 50,000 training images train: walks in rounds of ``--steps``, the default once (one epoch if not said). The first
``--judging`` test images judge: a quarter ranks, a quarter selects, half verifies. Then ten chips are judged one day
after programming, each on a tenth of the other test images.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import lhc
from lhc.measure import Running
from lhc.models import cifar10, zoo_entry
from lhc.models.resnet8 import pixels
from lhc.options.by_command import RunOptions
from lhc.passes.strategies.lionheart_retraining import RETRAINING_STRATEGIES
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.stats import summarize
from lhc.support.files import write_file

CHIPS, JUDGING = 10, 2000


def training_images(network: str) -> Task:
    """All 50,000, as the network takes them."""
    images, labels = cifar10.load("train")
    return Task({"x": pixels(images) if network == "resnet8" else images}, labels, get_metric("accuracy"), finite=True)


def others(network: str, judging: int) -> list[Task]:
    """The test images that no decision has seen, in equal parts for the chips."""
    task = zoo_entry(network).task()
    each = (len(task) - judging) // CHIPS
    return [task.take(np.arange(first, first + each)) for first in range(judging, judging + CHIPS * each, each)]


def judged(network: str, path: Path, parts: list[Task]) -> tuple[list[float], list[float]]:
    """Accuracies of ten chips, and of the network as it was given on the same images."""
    state, analog, _ = read_placed(RunOptions(path, parts[0]), Running(), None)
    given, _, _ = read_placed(RunOptions(network, parts[0], all_analog=True), Running(), None)
    chips, digital = [], []
    for chip, images in enumerate(parts):
        chips.append(float(state.evaluator(images).measure(analog, range(chip, chip + 1), f"chip {chip}").values[0]))
        digital.append(given.evaluator(images).baseline)
    return chips, digital


def arguments() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["resnet8", "resnet20"])
    parser.add_argument("strategy", choices=["lionheart", "lionheart-original", "sensitivity"])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=None, help="of a round; one epoch by default")
    parser.add_argument("--lr", type=float, default=None, help="learning rate; by default that of the strategy")
    parser.add_argument("--digital-lr", type=float, default=None, help="the same of all but analog weights")
    parser.add_argument("--rounds", type=int, default=None, help="most rounds of a layer")
    parser.add_argument("--patience", type=int, default=2)
    parser.add_argument("--judging", type=int, default=JUDGING, help="test images that rank, select and verify")
    parser.add_argument("--max-drop", type=float, default=0.01)
    return parser.parse_args()


def main() -> None:
    """Walk, then judge."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()

    def tell(what: str, done: int, total: int) -> None:
        if done == total:
            print(f"{what}: {done}/{total}, {time.process_time() - started:.0f} CPU s", file=sys.stderr, flush=True)

    published = options.strategy == "lionheart-original"
    loss = "cross-entropy" if published else "distillation"
    epochs = 1.0 if options.steps is None else None
    result = lhc.partition(
        options.network,
        zoo_entry(options.network).task().head(options.judging),
        retrain=True,
        train_data=training_images(options.network),
        steps=options.steps,
        epochs=epochs,
        loss=loss,
        learning_rate=options.lr,
        digital_learning_rate=options.digital_lr,
        augment="crop-flip",
        strategy=options.strategy,
        objective="macs",
        max_drop=options.max_drop,
        patience=options.patience if options.strategy in RETRAINING_STRATEGIES else None,
        rounds=options.rounds,
        checkpoint=options.out,
        progress=tell,
    )
    name = f"{options.network}-{options.strategy}"
    path = result.save(options.out / f"{name}.lhc.onnx", force=True)
    outcome = result.plan.outcome
    assert outcome is not None
    chips, digital = judged(options.network, path, others(options.network, options.judging))
    drop = summarize(np.array(digital) - np.array(chips), 0.9, 0.0)
    found = {
        "analog": result.plan.analog_mac_fraction,
        "layers": len(result.plan.analog),
        "digital": [row.name for row in result.plan.layers if row.placement == "digital"],
        "accuracy": float(np.mean(chips)),
        "drop": drop.mean,
        "interval": drop.interval,
        "verified": [outcome.drop, outcome.interval, outcome.within_budget],
        "rounds": None if outcome.retrained is None else len(outcome.retrained.curve),
        "steps": None if outcome.retrained is None else outcome.retrained.steps,
        "notes": result.notes,
        "cpu_s": time.process_time() - started,
    }
    write_file(options.out / f"{name}.json", lambda file: file.write(json.dumps(found, indent=1).encode()))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
