"""The share of MACs that ResNet20 gets of an oracle's, seed by seed: real runs beside `oracle_share.py`.

    LHC_DATA=FOLDER python benchmarks/oracle_resnet20.py -o FOLDER [--samples 2000] [--seeds 10] [--chips 30]

A budget of one point, preset `lionheart` without copies and calibrated outputs, `--objective macs`. The oracle goes
along the path by damage per MAC, as predicted on 1,000 images, and knows the mean drop of every step on all images.
Runs and steps are kept in the folder, and the command goes on where it was stopped.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lhc.commands.partition import placed_by, preparation
from lhc.hardware import Hardware
from lhc.measure import Running, ranking_metric
from lhc.options.by_command import PartitionOptions
from lhc.passes import damage_of
from lhc.pipeline.steps.prepare import read
from lhc.pipeline.steps.rank import sensitivities

BUDGET = 0.01
FIRST = 10
"""Steps of the path that are taken to hold."""
FAR = 1.5
"""Budgets: a step that loses as much ends the path, since drops grow along it."""
OTHER_CHIPS = 10**6
"""Seed of the oracle's."""

Row = dict[str, float]


def kept(path: Path, key: str, make: Callable[[], Row]) -> Row:
    """What stands under a key in a file of lines, or is made and added."""
    lines = path.read_text().splitlines() if path.exists() else []
    found: dict[str, Row] = dict(json.loads(line) for line in lines)
    if key not in found:
        found[key] = make()
        with path.open("a") as file:
            file.write(json.dumps([key, found[key]]) + "\n")
    print(key, found[key], flush=True)
    return found[key]


def options(samples: int, seed: int) -> PartitionOptions:
    """What is asked of `partition`."""
    hardware = Hardware.load("lionheart").with_drift_compensation_alone()
    return PartitionOptions(
        "resnet20", samples=samples, seed=seed, hardware=hardware, max_drop=BUDGET, objective="macs"
    )


def once(samples: int, seed: int) -> Row:
    """Partition once."""
    begun = time.process_time()
    plan = placed_by(options(samples, seed)).plan
    assert plan.outcome is not None
    found = {"macs": plan.analog_mac_fraction, "drop": plan.outcome.drop, "chips": plan.outcome.draws}
    return {**found, "met": plan.outcome.within_budget, "cpu_s": round(time.process_time() - begun)}


def oracle(file: Path, samples: int, chips: int) -> Iterator[Row]:
    """Steps of the path from the first that may fail, until one is far beyond the budget."""
    asked = options(samples, OTHER_CHIPS)
    state = preparation(asked).apply(read(asked, Running(), None))
    everything, few = state.evaluator(state.task), state.task.head(1000)
    predicting = state.evaluator(few.with_metric(ranking_metric(few.metric, everything.example_output)))
    plan = state.plan.with_sensitivities(sensitivities(predicting, state.measurable).layers)
    macs = {layer.name: layer.macs for layer in plan.layers}
    groups = sorted(
        map(frozenset, state.graph.tied(state.measurable)),
        key=lambda group: damage_of(state.graph, plan, group) / sum(macs[name] for name in group),
    )
    evaluator = replace(everything, draws=chips)
    for count in range(FIRST, len(groups) + 1):
        step = groups[0].union(*groups[:count])

        def measured(step: frozenset[str] = step) -> Row:
            found = evaluator.evaluate(step)
            return {"macs": sum(macs[name] for name in step) / plan.macs, "drop": found.drop, "std": found.std}

        row = kept(file, f"oracle {samples} {chips} {count}", measured)
        yield row
        if row["drop"] > FAR * BUDGET:
            return


def main() -> None:
    """Print a line a run, a line a step, and the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--chips", type=int, default=30)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file, samples = asked.out / "oracle.jsonl", asked.samples
    best = max(row["macs"] for row in oracle(file, samples, asked.chips) if row["drop"] <= BUDGET)
    runs = [kept(file, f"run {samples} {seed}", lambda seed=seed: once(samples, seed)) for seed in range(asked.seeds)]
    shares = np.array([run["macs"] for run in runs]) / best
    seconds = np.mean([run["cpu_s"] for run in runs])
    print(
        f"{samples} images: an oracle takes {100 * best:.1f} % of the MACs, {len(runs)} runs {shares.mean():.3f} of"
        f" that ({shares.min():.2f} to {shares.max():.2f}), in {seconds:.0f} CPU s each"
    )


if __name__ == "__main__":
    main()
