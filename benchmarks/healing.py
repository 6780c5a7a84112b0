"""Drops of ResNet20 and ResNet-8, all analog: without healing, with copies, with calibrated chips, with both.

    LHC_DATA=... python benchmarks/healing.py -o healing.json [--networks resnet20 resnet8] [--age 86400]

Ten chips, each on a thousand test images of its own, so that a cell covers the 10,000 images once; chips are calibrated
on 256 images of the next chip's thousand. Finished chips are in the output file; a second run goes on behind them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.geometry import copies_on
from lhc.measure import Running
from lhc.measure.scorer import calibration_block
from lhc.options.commands import RunOptions
from lhc.passes.copies import Copies
from lhc.stats import summarize
from lhc.study.prepare import read_placed
from lhc.support.files import write_file

CHIPS = 10
IMAGES = 1000
CALIBRATION = 256


def copies_in(graph: LayerGraph, hardware: Hardware, taken: int) -> Copies:
    """As many copies as fit so many times the tiles that a layer takes."""
    rows = {layer.name: layer.matrix.rows for layer in graph.candidates if layer.matrix is not None}
    return Copies({name: copies_on(count, hardware.tiles.rows, taken) for name, count in rows.items()})


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet8"])
    parser.add_argument("--age", type=float, default=86400.0, help="s after the first read")
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for network in given.networks:
        study, analog, _ = read_placed(RunOptions(network, all_analog=True), Running(), [given.age])
        copies = {"one": Copies(), "free": copies_in(study.graph, study.plan.hardware, 1)}
        copies["twice the tiles"] = copies_in(study.graph, study.plan.hardware, 2)
        cells = [(name, outputs) for name in copies for outputs in ("none", "offset", "affine")]
        for name, outputs in cells:
            drops = []
            for chip in range(CHIPS):
                key = "|".join([network, f"{given.age:g}", name, outputs, str(chip)])
                if key not in found:
                    judged, other = (
                        study.task.take(np.arange(n % CHIPS * IMAGES, n % CHIPS * IMAGES + size))
                        for n, size in ((chip, IMAGES), (chip + 1, CALIBRATION))
                    )
                    compensation = study.plan.hardware.compensation.model_copy(update={"outputs": outputs})
                    bench = replace(
                        study.bench(judged),
                        hardware=study.plan.hardware.model_copy(update={"compensation": compensation}),
                        copies=copies[name],
                        calibration=calibration_block(other),
                    )
                    found[key] = float(bench.measure(analog, range(chip, chip + 1), key).drops[0])
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                drops.append(found[key])
            figures = summarize(np.array(drops), 0.9)
            low, high = figures.interval or (figures.mean, figures.mean)
            tiles = sum(
                study.plan.hardware.tiles_for(m.rows, m.cols * m.groups, copies[name].fixed.get(layer.name, 1))
                for layer in study.graph.candidates
                if layer.name in analog and (m := layer.matrix) is not None
            )
            interval = f"{100 * figures.mean:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
            print(f"| {network} | {tiles} | {name} | {outputs} | {interval} |", flush=True)


if __name__ == "__main__":
    main()
