"""Drops of ResNet20, all analog, on chips with stuck cells: without and with weights mapped around them.

    LHC_DATA=... python benchmarks/faults.py -o faults.json [--images 1000]

Half of the stuck cells stay without conductance, half at g_max. Five chips, each on test images of its own, and with
healing calibrated on 256 of the next chip's. Finished chips are in the output file; a second run goes on behind them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.healing import copies_in
from lhc.hardware import Faults
from lhc.measure import Running
from lhc.measure.evaluation_context import calibration_block
from lhc.options.by_command import RunOptions
from lhc.passes.decide.copies import Copies
from lhc.pipeline.steps.prepare import read_placed
from lhc.stats import summarize
from lhc.support.files import write_file

CHIPS = 5
CALIBRATION = 256
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2)
FOUND = (0.0, 0.9, 1.0)
"""Shares of the stuck cells that are known and mapped around; with 0.0 weights lie as they come."""


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000, help="of every chip")
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    state, analog, _ = read_placed(RunOptions("resnet20", all_analog=True), Running(), [86400.0])
    machine = state.plan.hardware
    healings = {
        "none": (machine.with_drift_compensation_alone(), Copies()),
        "copies, affine": (machine, copies_in(state.graph, machine, 1)),
    }
    for healing, (hardware, copies) in healings.items():
        for share, known in [(share, known) for share in SHARES for known in FOUND if share or not known]:
            drops = []
            for chip in range(CHIPS):
                key = "|".join(map(str, (healing, share, known, given.images, chip)))
                if key not in found:
                    judged, other = (
                        state.task.take(np.arange(n % CHIPS * given.images, n % CHIPS * given.images + size))
                        for n, size in ((chip, given.images), (chip + 1, CALIBRATION))
                    )
                    faults = Faults(stuck_low=share / 2, stuck_high=share / 2, remap=known > 0, found=known)
                    evaluator = replace(
                        state.evaluator(judged),
                        hardware=hardware.model_copy(update={"faults": faults}),
                        copies=copies,
                        calibration=calibration_block(other) if hardware.corrects_outputs else None,
                    )
                    found[key] = float(evaluator.measure(analog, range(chip, chip + 1), key).drops[0])
                    write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                drops.append(found[key])
            figures = summarize(np.array(drops), 0.9)
            low, high = figures.interval or (figures.mean, figures.mean)
            interval = f"{100 * figures.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            print(f"| {healing} | {share:.0%} | {known:.0%} | {interval} |", flush=True)


if __name__ == "__main__":
    main()
