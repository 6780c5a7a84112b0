"""Drops of ResNet20 and ResNet-8, all analog: without healing, with copies, with calibrated chips, with both.

    LHC_DATA=... python benchmarks/healing.py -o healing.json [--networks resnet20 resnet8] [--age 86400] \
        [--max-tiles 26]

Ten chips, each on a thousand test images of its own, so that a cell covers the 10,000 images once; chips are calibrated
on 256 images of the next chip's thousand. Finished chips are in the output file; a second run goes on behind them.

With ``--max-tiles`` the only rows are those of the copies that ``lhc partition`` chooses in so many tiles, by the
damage that layers do on some training images.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import lhc
from benchmarks.retraining_walks import training_images
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.hardware.tile_geometry import copies_on
from lhc.measure import Running
from lhc.measure.evaluation_context import calibration_block
from lhc.options.by_command import RunOptions
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps.prepare import read_placed
from lhc.plan import Plan
from lhc.samples.task import Task
from lhc.stats import summarize
from lhc.support.files import write_file

CHIPS = 10
IMAGES = 1000
CALIBRATION = 256
CHOOSING = 900
"""Training images that choose copies."""


def copies_in(graph: LayerGraph, hardware: Hardware, taken: int) -> Copies:
    """As many copies as fit so many times the tiles that a layer takes."""
    rows = {layer.name: layer.matrix.rows for layer in graph.candidates if layer.matrix is not None}
    return Copies({name: copies_on(count, hardware.tiles.rows, taken) for name, count in rows.items()})


def plan_within(network: str, task: Task, tiles: int, digital: Sequence[str] = ()) -> Plan:
    """The plan of all layers but some on so many tiles, with the copies that the search chooses on some samples."""
    result = lhc.partition(
        network,
        task,
        strategy="all-analog",
        objective="macs",
        exclude=tuple(digital),
        max_tiles=tiles,
        max_drop=0.9,
        draws=3,
        explain=False,
    )
    return result.plan


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet8"])
    parser.add_argument("--max-tiles", type=int)
    parser.add_argument("--age", type=float, default=86400.0, help="s after the first read")
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for network in given.networks:
        state, analog, _ = read_placed(RunOptions(network, all_analog=True), Running(), [given.age])
        if given.max_tiles is None:
            copies = {"one": Copies(), "free": copies_in(state.graph, state.plan.hardware, 1)}
            copies["twice the tiles"] = copies_in(state.graph, state.plan.hardware, 2)
        else:
            chosen = plan_within(network, training_images(network).head(CHOOSING), given.max_tiles)
            copies = {f"within {given.max_tiles}": Copies(chosen.copies)}
        cells = [(name, outputs) for name in copies for outputs in ("none", "offset", "affine")]
        for name, outputs in cells:
            drops = []
            for chip in range(CHIPS):
                key = "|".join([network, f"{given.age:g}", name, outputs, str(chip)])
                if key not in found:
                    judged, other = (
                        state.task.take(np.arange(n % CHIPS * IMAGES, n % CHIPS * IMAGES + size))
                        for n, size in ((chip, IMAGES), (chip + 1, CALIBRATION))
                    )
                    compensation = state.plan.hardware.compensation.model_copy(update={"outputs": outputs})
                    evaluator = replace(
                        state.evaluator(judged),
                        hardware=state.plan.hardware.model_copy(update={"compensation": compensation}),
                        copies=copies[name],
                        calibration=calibration_block(other),
                    )
                    found[key] = float(evaluator.measure(analog, range(chip, chip + 1), key).drops[0])
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                drops.append(found[key])
            figures = summarize(np.array(drops), 0.9)
            low, high = figures.interval or (figures.mean, figures.mean)
            tiles = sum(
                state.plan.hardware.tiles_for(m.rows, m.cols * m.groups, copies[name].fixed.get(layer.name, 1))
                for layer in state.graph.candidates
                if layer.name in analog and (m := layer.matrix) is not None
            )
            interval = f"{100 * figures.mean:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
            print(f"| {network} | {tiles} | {name} | {outputs} | {interval} |", flush=True)


if __name__ == "__main__":
    main()
