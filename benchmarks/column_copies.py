"""What copies of columns in free cells bring: ResNet20, all analog on its own tiles, columns written several times.

    LHC_DATA=... PYTHONPATH=. python benchmarks/column_copies.py -o columns.json [--most 2 4]

Networks are written by ``lhc widen --most K``; copies of rows are those that fit anyway. Ten chips, each on a thousand
test images of its own, calibrated on 256 images of the next chip's. Finished chips are in the output file; a second run
goes on behind them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import lhc
from benchmarks.healing import CALIBRATION, CHIPS, IMAGES
from lhc.costs import cost_of
from lhc.measure import Running
from lhc.measure.evaluation_context import calibration_block
from lhc.options.by_command import RunOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.steps.prepare import read_placed
from lhc.stats import summarize
from lhc.support.files import write_file


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--most", nargs="+", type=int, default=[2, 4])
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    opened = open_model("resnet20")
    assert opened.entry is not None
    task = opened.entry.task()
    for most in given.most:
        path = given.out.with_suffix(f".{most}.onnx")
        lhc.widen(opened, most=most).save(path, force=True)
        state, analog, _ = read_placed(RunOptions(path, task, all_analog=True), Running(), None)
        drops = []
        for chip in range(CHIPS):
            key = f"{most}|{chip}"
            if key not in found:
                judged, other = (
                    task.take(np.arange(n % CHIPS * IMAGES, n % CHIPS * IMAGES + size))
                    for n, size in ((chip, IMAGES), (chip + 1, CALIBRATION))
                )
                evaluator = replace(state.evaluator(judged), calibration=calibration_block(other))
                found[key] = float(evaluator.measure(analog, range(chip, chip + 1), key).drops[0])
                write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
            drops.append(found[key])
        figures = summarize(np.array(drops), 0.9)
        low, high = figures.interval or (figures.mean, figures.mean)
        cost = cost_of(state.graph, analog, state.plan.hardware, state.plan.copies)
        tiles = state.plan.tiles_of(state.graph, analog)
        interval = f"{100 * figures.mean:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
        print(f"| {most} | {tiles} | {interval} | {1e3 * cost.latency_s:.2f} | {1e3 * cost.energy_j:.2f} |", flush=True)


if __name__ == "__main__":
    main()
