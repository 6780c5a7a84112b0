"""The same command with ``--retrain`` and without it, for seeds: none ends with less.

    python benchmarks/retraining_seeds.py digits-narrow -o seeds.json --copies 1 [--seeds 20] [--steps 200]
    python benchmarks/retraining_seeds.py resnet8 -o seeds.json --seeds 3 --samples 2000 --max-tiles 28

Samples that judge are the same, since others train: the digits that the network was trained with, or the training
images of CIFAR-10. More is a placement that is shown to hold the budget, then a greater share of MACs on tiles. Every
seed is written when it is done; a second run does the missing ones.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import lhc
from benchmarks.digits_retraining import training_digits
from lhc.models import cifar10
from lhc.models.resnet8 import pixels
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.support.files import write_file

Outcome = dict[str, float | bool | str | None]


def training_samples(network: str) -> Task:
    """Samples that train, apart from those that judge."""
    if network.startswith("digits"):
        return training_digits()
    images, labels = cifar10.load("train")
    inputs = np.asarray(pixels(images) if network == "resnet8" else images)
    return Task({"x": inputs}, labels, get_metric("accuracy"))


def ended(result: lhc.PartitionResult, started: float) -> Outcome:
    """What a command ended with."""
    plan, outcome = result.plan, result.plan.outcome
    assert outcome is not None
    return {
        "held": outcome.within_budget,
        "share": plan.analog_mac_fraction,
        "drop": outcome.drop,
        "trained": outcome.retrained is not None,
        "note": outcome.training_note,
        "cpu_s": time.process_time() - started,
    }


def worse(trained: Outcome, plain: Outcome) -> bool:
    """Whether the command with a training ended with less."""
    return (trained["held"], trained["share"]) < (plain["held"], plain["share"])


def main() -> None:
    """Run the seeds that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["digits", "digits-narrow", "resnet8", "resnet20"])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--max-drop", default="1%")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--max-tiles", type=int)
    parser.add_argument("--copies", default="auto", help="1: of every weight one, so that training has more to do")
    args = parser.parse_args()
    found: dict[str, dict[str, Outcome]] = json.loads(args.out.read_text()) if args.out.exists() else {}
    training = training_samples(args.network)
    options: dict[str, Any] = {"objective": "macs", "max_drop": args.max_drop, "explain": False}
    options |= {"samples": args.samples, "max_tiles": args.max_tiles, "copies": args.copies}
    images = args.network.startswith("resnet")
    train: dict[str, Any] = {
        "retrain": True,
        "train_data": training,
        "steps": args.steps,
        "augment": "crop-flip" if images else "none",
    }
    for seed in range(args.seeds):
        key = f"{args.network} {args.max_drop} {args.samples} {args.max_tiles} {args.copies} {args.steps} {seed}"
        if key not in found:
            pair: dict[str, Outcome] = {}
            for name, more in (("without", dict[str, Any]()), ("with", train)):
                started = time.process_time()
                pair[name] = ended(lhc.partition(args.network, seed=seed, **options, **more), started)
            found[key] = pair
            write_file(args.out, lambda file: file.write(json.dumps(found, indent=1).encode()))
        one = found[key]
        shares = ", ".join(f"{name} {100 * float(one[name]['share'] or 0):.1f} %" for name in one)
        print(f"seed {seed}: {shares}{' WORSE' if worse(one['with'], one['without']) else ''}", flush=True)
    less = sum(worse(one["with"], one["without"]) for one in found.values())
    greater = sum(worse(one["without"], one["with"]) for one in found.values())
    print(f"{len(found)} seeds: {less} end with less by training, {greater} with more")


if __name__ == "__main__":
    main()
