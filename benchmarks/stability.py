"""How much of a placement is chance: one network, two exporters, five seeds each.

    python benchmarks/stability.py [-o RESULT.json] [--max-drop 0.01] [--seeds 5] [--healed]

A residual network of ten layers is trained on 1,000 of scikit-learn's digits and exported by torch's dynamo and
TorchScript exporters. Its tiles have neither copies nor calibrated outputs, unless ``--healed``. The other 797 digits
order and test, under one seed after the other, which draws other chips. The last line says how far the placements lie
apart; what runs say that do not meet the budget is among their notes.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import lhc
from lhc.hardware import Hardware
from lhc.models.residual_networks import ResidualNet
from lhc.models.train_digits import Recipe, digits_split, train
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task

RECIPE = Recipe(lambda: ResidualNet(channels=1, widths=(8, 16), blocks=2, classes=10), 40, 0.01)
NEAR = 0.05
"""Shares of MACs that are as good as equal."""


def exported(network: torch.nn.Module, folder: Path) -> dict[str, Path]:
    """The network by both exporters."""
    paths = {name: folder / f"{name}.onnx" for name in ("dynamo", "TorchScript")}
    example = torch.zeros(2, 1, 8, 8)
    batch = torch.export.Dim("batch")
    torch.onnx.export(network, (example,), str(paths["dynamo"]), dynamo=True, dynamic_shapes=({0: batch},))
    axes = {"x": {0: "batch"}}
    torch.onnx.export(
        network, (example,), str(paths["TorchScript"]), dynamo=False, input_names=["x"], dynamic_axes=axes
    )
    return paths


def once(model: Path, asked: argparse.Namespace, seed: int) -> dict[str, object]:
    """Partition once."""
    _, (images, labels) = digits_split()
    started = time.process_time()
    task = Task({"x": images}, labels, get_metric("accuracy"))
    hardware = Hardware.load("lionheart")
    hardware = hardware if asked.healed else hardware.with_drift_compensation_alone()
    result = lhc.partition(model, task, hardware=hardware, max_drop=asked.max_drop, seed=seed, objective="macs")
    outcome = result.plan.outcome
    assert outcome is not None
    return {
        "layers": len(result.plan.analog),
        "macs": result.plan.analog_mac_fraction,
        "drop": outcome.drop,
        "bound": None if outcome.interval is None else outcome.interval[1],
        "chips": outcome.draws,
        "met": outcome.within_budget,
        "notes": result.notes,
        "cpu_s": time.process_time() - started,
    }


def near(runs: list[dict[str, object]]) -> int:
    """How many runs lie within one layer, or 5 % of MACs, of the middle one."""
    layers, shares = (np.array([run[what] for run in runs], float) for what in ("layers", "macs"))
    close = (np.abs(layers - np.median(layers)) <= 1) | (np.abs(shares - np.median(shares)) <= NEAR)
    return int(close.sum())


def main() -> None:
    """Print a line a run, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--healed", action="store_true", help="with copies and calibrated chips")
    asked = parser.parse_args()
    (images, labels), _ = digits_split()
    network = train(images, labels, RECIPE)
    runs = []
    with TemporaryDirectory() as folder:
        for exporter, path in exported(network, Path(folder)).items():
            for seed in range(asked.seeds):
                runs.append({"exporter": exporter, "seed": seed, **once(path, asked, seed)})
                print(json.dumps(runs[-1]), flush=True)
    met = sum(bool(run["met"]) for run in runs)
    print(f"{near(runs)} of {len(runs)} within one layer or 5 % of MACs of the middle one; {met} meet the budget")
    if asked.out is not None:
        asked.out.write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
