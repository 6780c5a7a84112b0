"""Drop of ResNet20 with its worst columns digital, or whole layers, for a share of the weights or of the MACs.

    LHC_DATA=... python benchmarks/digital_columns.py -o digital_columns.json

Uncompensated but for drift, one day after programming; conv1 and linear are digital. Ten chips, 1,500 test images that
chose no column. Finished cells are in the output file; a second run goes on behind them.
"""

import argparse
import json
from pathlib import Path

from lhc.commands.partition import begin, preparation
from lhc.hardware import Hardware
from lhc.measure import Running
from lhc.options.by_command import PartitionOptions
from lhc.options.shared import ColumnsBy
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.pipeline_state import PreparedNetwork
from lhc.pipeline.rewrites.choose_digital_columns import damages_of_columns
from lhc.support.files import write_file

CHIPS = 10
IMAGES = 2000
"""A quarter chooses."""
DIGITAL = ("conv1", "linear")
CELLS: tuple[tuple[str, float], ...] = (
    ("macs", 0.0),
    ("weights", 0.01),
    ("weights", 0.02),
    ("weights", 0.045),
    ("macs", 0.05),
    ("macs", 0.1),
    ("macs", 0.2),
    ("layers", 0.1),
    ("layers", 0.2),
)
"""What is digital for which share; ``layers``: whole layers, those first that do most damage per MAC."""


def main() -> None:
    """Measure what is missing, saving after every cell, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    found: dict[str, list[float]] = json.loads(given.out.read_text()) if given.out.exists() else {}
    for what, share in CELLS:
        key = f"{what}|{share:g}"
        if key not in found:
            found[key] = _measured(what, share)
            write_file(given.out, lambda file: file.write(json.dumps(found).encode()))
        weights, macs, drop, error = (100 * value for value in found[key])
        print(f"| {what} | {weights:.1f} % | {macs:.1f} % | {drop:.2f} ± {error:.2f} |", flush=True)


def _measured(what: str, share: float) -> list[float]:
    """Shares of weights and MACs that are digital, mean drop and its standard error."""
    by: ColumnsBy = "weights" if what == "weights" else "macs"
    columns = 0.0 if what == "layers" else share
    options = PartitionOptions(
        "resnet20",
        hardware=Hardware.load("lionheart").with_drift_compensation_alone(),
        samples=IMAGES,
        force_digital=DIGITAL,
        digital_columns=columns,
        columns_by=by,
    )
    with Running(options) as running:
        state = preparation(options).apply(begin(options, running, open_model("resnet20")))
        analog = frozenset(state.measurable) - (_worst(state, share) if what == "layers" else set())
        drops = state.evaluator(state.splits.verify).measure(analog, range(CHIPS), f"{what} {share:g}").drops
    rows = [row for row in state.plan.layers if row.name not in analog]
    weights = sum(row.parameters for row in rows) / sum(row.parameters for row in state.plan.layers)
    macs = sum(row.macs for row in rows) / state.plan.macs
    return [weights, macs, float(drops.mean()), float(drops.std(ddof=1) / CHIPS**0.5)]


def _worst(state: PreparedNetwork, share: float) -> set[str]:
    """Whole layers within a share of the MACs."""
    damages = {name: float(of_layer.sum()) for name, of_layer in damages_of_columns(state).items()}
    macs = {row.name: row.macs for row in state.plan.layers}
    room, found = share * sum(macs[name] for name in damages), set()
    for name in sorted(damages, key=lambda name: -damages[name] / macs[name]):
        if macs[name] <= room:
            found.add(name)
            room -= macs[name]
    return found


if __name__ == "__main__":
    main()
