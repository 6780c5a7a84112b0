"""Damage of one layer with k copies, beside the law that predictions use: 1 / k. Three layers of two networks.

    LHC_DATA=... python benchmarks/copies_law.py -o copies_law.json

One layer is analog at a time, on the preset ``lionheart`` one day after programming; KL in nats over 60 chips, on the
first 250 test images. Uncorrected chips show the law itself: a correction of outputs would take the systematic part
away. Finished cells are in the output file; a second run goes on behind them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from lhc.measure import Running
from lhc.options.commands import RunOptions
from lhc.passes.copies import Copies
from lhc.samples.metrics import get_metric
from lhc.study.prepare import read_placed
from lhc.support.files import write_file

CHIPS = 60
IMAGES = 250
LAYERS = {
    "resnet8": ("conv1", "block1.conv1", "block3.conv1", "linear"),
    "resnet20": ("conv1", "layer1.2.conv1", "layer2.0.conv1", "linear"),
}
COPIES = (1, 2, 4, 8, 9)
"""Nine of the first layer's 27 rows are what its tile of 256 holds."""


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for network, layers in LAYERS.items():
        study, _, _ = read_placed(RunOptions(network, all_analog=True), Running(), None)
        compensation = study.plan.hardware.compensation.model_copy(update={"outputs": "none"})
        hardware = study.plan.hardware.model_copy(update={"compensation": compensation})
        images = study.task.with_metric(get_metric("kl")).head(IMAGES)
        for layer in layers:
            cells = []
            for copies in COPIES if layer == "conv1" else COPIES[:-1]:
                key = f"{network}|{layer}|{copies}"
                if key not in found:
                    bench = replace(study.bench(images), hardware=hardware, copies=Copies({layer: copies}))
                    found[key] = bench.measure(frozenset({layer}), range(CHIPS), key).drops.tolist()
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                cells.append(np.array(found[key]))
            one = cells[0]
            shown = [f"{one.mean():.4f}"]
            for cell in cells[1:]:
                spread = np.hypot(*(values.std(ddof=1) / values.mean() for values in (one, cell))) / CHIPS**0.5
                ratio = one.mean() / cell.mean()
                shown.append(f"{ratio:.2f} ± {ratio * spread:.2f}")
            print(f"| {network} | {layer} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
