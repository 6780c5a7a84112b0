"""Drop of ResNet20, all analog, with copies in free cells, over ten years: never calibrated, once, yearly, always.

    LHC_DATA=... python benchmarks/healing_over_time.py -o healing_over_time.json [--figure healing-over-time.svg]

Ten chips, each on a thousand test images of its own; calibrated on 256 images of the next chip's thousand. Finished
chips are in the output file; a second run goes on behind them. ``--figure`` (which needs matplotlib) draws them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.healing import CALIBRATION, CHIPS, IMAGES
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.measure import Running
from lhc.measure.evaluation_context import calibration_block
from lhc.options.by_command import RunOptions
from lhc.pipeline.steps.prepare import read_placed
from lhc.stats import summarize
from lhc.support.files import write_file

YEAR = 365 * 86400.0
AGES = {"1 day": 86400.0, "1 month": YEAR / 12, "1 year": YEAR, "10 years": 10 * YEAR}
WHEN = {
    "never": Compensation(outputs="none"),
    "once, at the first read": Compensation(when="programming"),
    "every year": Compensation(when="period", time_s=YEAR),
    "at every read-out": Compensation(),
}


def main() -> None:
    """Measure what is missing, saving after every chip, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    found: dict[str, float] = json.loads(given.out.read_text()) if given.out.exists() else {}
    state, analog, _ = read_placed(RunOptions("resnet20", all_analog=True), Running(), None)
    print("| calibrated |", " | ".join(AGES), "|")
    for label, compensation in WHEN.items():
        hardware = state.plan.hardware.model_copy(update={"compensation": compensation})
        cells = []
        for age, t_s in AGES.items():
            for chip in range(CHIPS):
                key = f"{label}|{age}|{chip}"
                if key in found:
                    continue
                judged, other = (
                    state.task.take(np.arange(n % CHIPS * IMAGES, n % CHIPS * IMAGES + size))
                    for n, size in ((chip, IMAGES), (chip + 1, CALIBRATION))
                )
                evaluator = replace(state.evaluator(judged), hardware=hardware, calibration=calibration_block(other))
                found[key] = float(evaluator.measure(analog, range(chip, chip + 1), key, t_s).drops[0])
                write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
            cells.append("{:.1f} [{:.1f}, {:.1f}]".format(*points(found, label, age)))
        print(f"| {label} |", " | ".join(cells), "|", flush=True)
    if given.figure is not None:
        figure(found, given.figure)


def points(found: dict[str, float], label: str, age: str) -> tuple[float, float, float]:
    """Mean drop over chips and its 90 % interval, in points."""
    drops = summarize(np.array([found[f"{label}|{age}|{chip}"] for chip in range(CHIPS)]), 0.9)
    assert drops.interval is not None
    return 100 * drops.mean, 100 * drops.interval[0], 100 * drops.interval[1]


def figure(found: dict[str, float], out: Path) -> None:
    """One line for each way of calibrating."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "lhc", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot as plt

    drawing, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, label in enumerate(WHEN):
        mean, low, high = np.array([points(found, label, age) for age in AGES]).T
        places = np.arange(len(AGES)) + 0.04 * (number - 1.5)
        axes.errorbar(places, mean, [mean - low, high - mean], marker="o", capsize=3, label=label)
    axes.set_xticks(range(len(AGES)), list(AGES))
    axes.set(xlabel="age of the chip at inference", ylabel="drop of accuracy, points (90 % interval)", ylim=(0, None))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(title="outputs calibrated", frameon=False)
    drawing.savefig(out, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
