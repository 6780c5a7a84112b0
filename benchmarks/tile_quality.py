"""Networks, all analog, on chips whose tiles differ: layers on tiles as they come, or the least sensitive on the worst.

    LHC_DATA=... python benchmarks/tile_quality.py resnet20 -o tiles.json [--tiles 36 --images 500 --chips 10]

The factor on the programming noise of a tile is exp(s N). Both arrangements see the same chips, images and random
numbers: differences are paired. Damage is the KL divergence from the digital network's answers, and accuracy.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from lhc.commands.partition import begin, preparation
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.options.by_command import PartitionOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.samples.metrics import get_metric
from lhc.stats import summarize
from lhc.support.files import write_file

SPREADS = (0.3, 0.6)


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet20")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--tiles", type=int, default=36, help="of a chip; ResNet20 takes 36, digits-narrow 14")
    parser.add_argument("--chips", type=int, default=10)
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    base = Hardware.load("lionheart").with_drift_compensation_alone()
    for spread in SPREADS:
        tiles = base.tiles.model_copy(update={"count": given.tiles})
        faults = base.faults.model_copy(update={"tile_spread": spread, "remap": True})
        machine = base.model_copy(update={"tiles": tiles, "faults": faults})
        options = PartitionOptions(given.network, samples=given.images, draws=4, hardware=machine)
        state = preparation(options).apply(begin(options, Running(options), open_model(given.network)))
        machines = {
            "alike": state.plan.hardware.with_tiles_alike,
            "as they come": state.plan.hardware.model_copy(
                update={"faults": faults.model_copy(update={"remap": False})}
            ),
            "least sensitive on the worst": state.plan.hardware,
        }
        for metric in ("kl", "accuracy"):
            figures: dict[str, np.ndarray] = {}
            for name, hardware in machines.items():
                task = state.task.with_metric(get_metric(metric)) if metric == "kl" else state.task
                evaluator = replace(state.evaluator(task), hardware=hardware)
                drops = []
                for chip in range(given.chips):
                    key = "|".join(map(str, (given.network, spread, given.tiles, metric, name, given.images, chip)))
                    if key not in found:
                        measured = evaluator.measure(frozenset(state.measurable), range(chip, chip + 1), key)
                        found[key] = float(measured.drops[0])
                        write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                    drops.append(found[key])
                figures[name] = np.array(drops)
                print(spread, metric, name, summarize(figures[name], 0.9), flush=True)
            gain = figures["as they come"] - figures["least sensitive on the worst"]
            print(spread, metric, "gain", summarize(gain, 0.9), flush=True)


if __name__ == "__main__":
    main()
