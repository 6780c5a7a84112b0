"""Damage of one layer with k copies, beside the law that predictions use: 1 / k. Four layers of two networks.

    LHC_DATA=... python benchmarks/copies_law.py -o copies_law.json [--layers resnet8/conv1 resnet20/layer2.0.conv1] \
        [--copies 1 8] [--chips 480] [--without drift] [--calibrated]

One layer is analog at a time, on the preset ``lionheart`` one day after programming; KL in nats over 60 chips, on the
first 250 test images. Uncorrected chips show the law itself: a correction of outputs takes the systematic part away
(``--calibrated``: on 256 of the other images). ``--without`` switches effects of the machine off, to see which of them
does not follow. Finished cells are in the output file; a second run goes on behind them.
"""

import argparse
import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from lhc.hardware import EFFECTS, without
from lhc.measure import Running
from lhc.measure.evaluation_context import calibration_block
from lhc.options.by_command import RunOptions
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps.prepare import read_placed
from lhc.samples.metrics import get_metric
from lhc.support.files import write_file

CHIPS = 60
IMAGES = 250
LAYERS = (
    *(f"resnet8/{layer}" for layer in ("conv1", "block1.conv1", "block3.conv1", "linear")),
    *(f"resnet20/{layer}" for layer in ("conv1", "layer1.2.conv1", "layer2.0.conv1", "linear")),
)
COPIES = (1, 2, 4, 8, 9)
"""Nine of the first layer's 27 rows are what its tile of 256 holds."""


def main() -> None:
    """Measure what is missing, saving after every cell, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--copies", nargs="+", type=int, default=COPIES)
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--without", nargs="+", default=[], choices=EFFECTS)
    parser.add_argument("--calibrated", action="store_true")
    given = parser.parse_args()
    found: dict[str, list[float]] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for network, layers in groupby(given.layers, lambda one: one.partition("/")[0]):
        state, _, _ = read_placed(RunOptions(network, all_analog=True), Running(), None)
        hardware = without(state.plan.hardware, given.without)
        images = state.task.with_metric(get_metric("kl"))
        calibration = calibration_block(images.take(np.arange(IMAGES, IMAGES + 256))) if given.calibrated else None
        evaluator = replace(state.evaluator(images.head(IMAGES)), hardware=hardware, calibration=calibration)
        for layer in (one.partition("/")[2] for one in layers):
            cells = []
            for copies in (k for k in given.copies if k < 9 or layer == "conv1"):
                calibrated = ["calibrated"] if given.calibrated else []
                key = "|".join([network, layer, str(copies), *given.without, *calibrated])
                if len(found.get(key, ())) < given.chips:
                    copied = replace(evaluator, copies=Copies({layer: copies}))
                    measured = copied.measure(frozenset({layer}), range(given.chips), key)
                    found[key] = measured.drops.tolist()
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                cells.append(np.array(found[key][: given.chips]))
            one = cells[0]
            shown = [f"{one.mean():.4f}"]
            for cell in cells[1:]:
                spread = np.hypot(*(values.std(ddof=1) / values.mean() for values in (one, cell))) / given.chips**0.5
                ratio = one.mean() / cell.mean()
                shown.append(f"{ratio:.2f} ± {ratio * spread:.2f}")
            print(f"| {network} | {layer} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
