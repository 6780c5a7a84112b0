"""A retrained network over ten years: its analog layers with the weights as given and as retrained.

    LHC_DATA=... python benchmarks/retrained_over_time.py resnet8 FOLDER/resnet8-sensitivity.lhc.onnx
    LHC_DATA=... python benchmarks/retrained_over_time.py minilm FOLDER/minilm.lhc.onnx

CIFAR-10: ten chips, each on 800 of the test images behind the first 2,000, which may have judged during training.
MiniLM: five chips, each on all of the first 400 short test pairs (see minilm_retraining.py). Drops are against the
digital network as it was given, on the same samples; intervals are of 90 %, over chips.
"""

import argparse

import numpy as np

from benchmarks.minilm_retraining import DRAWS, PAIRS, short
from benchmarks.retraining_walks import JUDGING, others
from lhc.measure import Running
from lhc.models import zoo_entry
from lhc.options.by_command import RunOptions
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.task import Task
from lhc.stats import summarize
from lhc.support.tables import Table

DAY = 86400.0
YEAR = 365 * DAY
TIMES = {"1 s": 1.0, "1 h": 3600.0, "1 day": DAY, "1 month": 30 * DAY, "1 year": YEAR, "10 years": 10 * YEAR}


def samples(network: str) -> list[Task]:
    """What every chip is judged on."""
    if network == "minilm":
        return [short(zoo_entry(network).task()).head(PAIRS)] * DRAWS
    return others(network, JUDGING)


def row(
    state: PreparedNetwork, analog: frozenset[str], parts: list[Task], digital: list[float], seconds: float
) -> list[str]:
    """Mean value, and the drop with its interval, in points."""
    values = [
        float(state.evaluator(part).measure(analog, range(chip, chip + 1), f"chip {chip}", seconds).values[0])
        for chip, part in enumerate(parts)
    ]
    drop = summarize(np.array(digital) - np.array(values), 0.9, 0.0)
    assert drop.interval is not None
    low, high = (100 * bound for bound in drop.interval)
    return [f"{100 * np.mean(values):.2f}", f"{100 * drop.mean:.2f} [{low:.2f}, {high:.2f}]"]


def main() -> None:
    """Print a row for every time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["resnet8", "resnet20", "minilm"])
    parser.add_argument("retrained", help="the annotated model that retraining wrote")
    parser.add_argument("--time", choices=TIMES, action="append", help="can be repeated; all by default")
    options = parser.parse_args()
    parts = samples(options.network)
    task = parts[0]
    retrained, analog, _ = read_placed(RunOptions(options.retrained, task), Running(), None)
    given, _, _ = read_placed(RunOptions(options.network, task, placement=analog), Running(), None)
    digital = [given.evaluator(part).baseline for part in parts]
    rows = []
    for label in options.time or TIMES:
        both = (row(state, analog, parts, digital, TIMES[label]) for state in (given, retrained))
        rows.append([label, *(cell for cells in both for cell in cells)])
        print(" | ".join(rows[-1]), flush=True)
    headers = ["time", "as given, %", "drop, points", "retrained, %", "drop, points"]
    print(Table(headers, rows, right=(1, 2, 3, 4)).render("table"))
    print(f"{len(analog)} analog layers; digital, as given: {100 * np.mean(digital):.2f} %")


if __name__ == "__main__":
    main()
