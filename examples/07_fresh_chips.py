"""Does the drop hold on chips that no test has seen? Any network of the zoo, its own metric, and HybridSession alone.

    python 07_fresh_chips.py                      # digits-narrow: half a minute
    python 07_fresh_chips.py g2p-en               # needs pip install 'lhc[zoo]'
    python 07_fresh_chips.py g2p-en placed.onnx   # a file that ``lhc partition g2p-en -o placed.onnx`` wrote

Every chip is programmed from a seed of its own, calibrated on the first quarter of the samples as those that were
judged, and scored on the rest. The budget is of the mean over chips. Chips alone are fresh: most of these samples were
in the test of the placement, and some chose it.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

import lhc
from lhc.models import zoo_entry

BLOCK = 50


def score(session: lhc.HybridSession | onnxruntime.InferenceSession, task: lhc.Task) -> float:
    """The metric of a session's first output."""
    assert task.targets is not None
    outputs = [session.run(None, dict(feeds))[0] for _, feeds in task.blocks(BLOCK)]
    return float(np.mean(task.metric.score(np.concatenate(outputs), task.targets)))


def main() -> None:
    """Partition where no file is given, then program fresh chips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="digits-narrow", help="a name that 'lhc models' lists")
    parser.add_argument("placed", nargs="?", type=Path, help="the annotated file; made where none is given")
    parser.add_argument("--chips", type=int, default=10)
    options = parser.parse_args()
    if options.chips < 2:
        parser.error("--chips: a mean and its error take at least 2 chips")
    entry = zoo_entry(options.network)
    task = entry.task()
    quarter = len(task) // 4
    judged = task.take(slice(quarter, None))
    with TemporaryDirectory() as folder:
        placed = options.placed
        if placed is None:
            placed = lhc.partition(options.network, objective="macs").save(Path(folder) / "placed.onnx")
        digital = score(onnxruntime.InferenceSession(placed), judged)
        drops = []
        for chip in range(options.chips):
            session = lhc.HybridSession(placed, seed=1000 + chip)
            if session.hardware.corrects_outputs:
                session.calibrate(task.take(slice(quarter)))
            drops.append(float(task.metric.damage(digital, score(session, judged))))
    scale, unit = (100, " points") if task.metric.percent else (1, "")
    drop, error = scale * np.mean(drops), scale * np.std(drops, ddof=1) / np.sqrt(len(drops))
    print(f"{options.network}: {task.metric.name} {digital:.4f} digital, on {len(judged)} samples")
    allowed = f"{scale * entry.max_drop:g}{unit} allowed"
    print(f"mean drop {drop:.4f}{unit} ± {error:.4f} (standard error) on {len(drops)} fresh chips; {allowed}")


if __name__ == "__main__":
    main()
