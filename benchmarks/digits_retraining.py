"""Retraining strategies on the digits of the package, in full.

    python benchmarks/digits_retraining.py -o digits.json

The 1,000 digits that the network was trained with train; the other 797 rank, select and verify (398 of them, on ten
chips that the search did not see). Budget: two points. Every row is written when it is done; a second run does the
missing ones.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lhc
from lhc.models.train_digits import digits_split
from lhc.options.training import WeightNoise
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.support.files import write_file

BUDGET = 0.02
BATCH = 64
STEPS = 600


def training_digits() -> Task:
    """The samples that the network was trained with."""
    (images, labels), _ = digits_split()
    return Task({"x": np.asarray(images)}, np.asarray(labels), get_metric("accuracy"))


def once(strategy: str, rate: float, noise: WeightNoise = "devices") -> lhc.PartitionResult:
    """Train once with all layers analog, then search."""
    return lhc.partition(
        "digits-narrow",
        retrain=True,
        train_data=training_digits(),
        steps=STEPS,
        batch_size=BATCH,
        learning_rate=rate,
        noise=noise,
        strategy=strategy,
        objective="macs",
        max_drop=BUDGET,
    )


def walk(strategy: str, patience: int, rounds: int | None) -> lhc.PartitionResult:
    """Train for every layer that is tried, in rounds of one epoch."""
    loss = "cross-entropy" if strategy == "lionheart-original" else "distillation"
    rate = None if strategy == "lionheart-original" else 0.01
    return lhc.partition(
        "digits-narrow",
        retrain=True,
        train_data=training_digits(),
        batch_size=BATCH,
        loss=loss,
        learning_rate=rate,
        strategy=strategy,
        max_drop=BUDGET,
        patience=patience,
        rounds=rounds,
    )


ROWS: dict[str, Callable[[], lhc.PartitionResult]] = {
    "all analog": lambda: lhc.partition("digits-narrow", strategy="all-analog", max_drop=BUDGET),
    "sensitivity": lambda: lhc.partition("digits-narrow", objective="macs", max_drop=BUDGET),
    "lionheart": lambda: lhc.partition("digits-narrow", strategy="lionheart", max_drop=BUDGET),
    "all analog, retrained": lambda: once("all-analog", 0.01),
    "sensitivity, retrained": lambda: once("sensitivity", 0.01),
    "lionheart, retrained": lambda: walk("lionheart", 1, 4),
    "lionheart-original, retrained, patience 2": lambda: walk("lionheart-original", 2, 20),
    "all analog, retrained, rate 0.003": lambda: once("all-analog", 0.003),
    "all analog, retrained, preset noise": lambda: once("all-analog", 0.01, "preset"),
}


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    where = parser.parse_args().out
    found: dict[str, dict[str, object]] = json.loads(where.read_text()) if where.exists() else {}
    for name, run in ROWS.items():
        if name in found:
            continue
        started = time.process_time()
        result = run()
        outcome = result.plan.outcome
        assert outcome is not None
        found[name] = {
            "analog": result.plan.analog_mac_fraction,
            "layers": len(result.plan.analog),
            "drop": outcome.drop,
            "interval": outcome.interval,
            "within": outcome.within_budget,
            "trained": outcome.retrained is not None,
            "steps": 0 if outcome.retrained is None else outcome.retrained.steps,
            "cpu_s": time.process_time() - started,
            "notes": result.notes,
        }
        write_file(where, lambda file: file.write(json.dumps(found, indent=1).encode()))
        print(name, found[name], flush=True)


if __name__ == "__main__":
    main()
