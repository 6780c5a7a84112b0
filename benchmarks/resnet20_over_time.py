"""ResNet20's accuracy over time on every preset, all analog and for three placements.

    LHC_DATA=... python benchmarks/resnet20_over_time.py -o over_time.json [--rounds 1] [--presets NAME ...]

Without copies and calibration of outputs, also where a preset has them.

A round judges ten chips, each on a thousand images of its own, so that it covers the 10,000 test images once and its
intervals hold the variation of chips and of images. The next round gives every chip the next thousand. Finished
evaluations are in the output file; a second run goes on behind them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from lhc.hardware import Hardware, preset_names
from lhc.measure import Running
from lhc.options.by_command import RunOptions
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.steps.prepare import read_placed
from lhc.support.files import write_file

CHIPS = 10
IMAGES = 1000
TIMES = {"1 s": 1.0, "1 h": 3600.0, "1 day": 86400.0, "1 month": 30 * 86400.0, "1 year": 365 * 86400.0}
DIGITAL = {
    "all analog": "",
    "5 points": "conv1 linear",
    "2 points": "conv1 layer1.2.conv1 layer2.0.conv1 layer3.0.conv1 layer3.0.conv2 layer3.2.conv1 linear",
    "1 point": "conv1 layer1.0.conv1 layer1.2.conv1 layer2.0.conv1 layer2.0.conv2 layer2.2.conv1 layer3.0.conv1"
    " layer3.0.conv2 layer3.1.conv1 layer3.2.conv1 linear",
}
"""Found for 1, 2 and 5 points on lionheart at one day, without copies and calibration, by their digital layers."""


def times(state: PreparedNetwork) -> dict[str, float]:
    """Times at which the preset's devices are known; one where nothing changes with time."""
    devices = state.plan.hardware.devices
    if devices is None:
        return {"any": 0.0}
    known = {label: t_s for label, t_s in TIMES.items() if devices.time_problem(t_s) is None}
    return known | ({"2 days": 172800.0} if len(known) < len(TIMES) else {})


def main() -> None:
    """Measure what is missing, saving after every evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--presets", nargs="+", default=preset_names())
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for round_ in range(given.rounds):
        for preset in sorted(given.presets, key=lambda name: (name != "lionheart", name)):
            hardware = Hardware.load(preset).with_drift_compensation_alone()
            options = RunOptions("resnet20", hardware=hardware, all_analog=True)
            state, analog, _ = read_placed(options, Running(), None)
            for chip in range(CHIPS):
                first = (chip + round_) % CHIPS * IMAGES
                evaluator = state.evaluator(state.task.take(np.arange(first, first + IMAGES)))
                for label, t_s in times(state).items():
                    for name, digital in DIGITAL.items():
                        key = "|".join([preset, label, name, str(chip), str(round_)])
                        if key in found:
                            continue
                        placement = analog - frozenset(digital.split())
                        measured = evaluator.measure(placement, range(chip, chip + 1), key, t_s)
                        found[key] = [float(measured.values[0]), evaluator.baseline]
                        write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
                print(preset, "chip", chip, "round", round_, flush=True)


if __name__ == "__main__":
    main()
