"""Sensitivities from backward passes against measured ones: agreement, and time of both.

ResNet20 with its public weights, or a residual network of 56 layers with random weights (for the time alone: what
random networks answer means nothing). Both methods see the same images, chips and metric (KL of the outputs), and each
programs its chips anew. Times are CPU seconds of this process, on one thread, so that they can be compared on a busy
machine.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/fisher_agreement.py -o fisher.json``
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.measure import PlacementEvaluator, measure_sensitivity
from lhc.measure.sensitivity.fisher_prediction import FisherSensitivity, fisher_sensitivity
from lhc.models import cifar10
from lhc.models.export import export_onnx
from lhc.models.residual_networks import ResidualNet, fold_batch_norms
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.steps.rank import agreement
from lhc.results import SensitivityTable
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.support.tables import Table

__all__ = ["main"]

Result = TypeVar("Result")


def network(name: str) -> OnnxModel:
    """``resnet20`` of the zoo, or ``resnet56`` with seeded random weights."""
    if name == "resnet20":
        return open_model("resnet20").model
    torch.manual_seed(0)
    module = fold_batch_norms(ResidualNet(channels=3, widths=(16, 32, 64), blocks=9, classes=10))
    return load_model(export_onnx(module, torch.zeros(2, 3, 32, 32)), name)


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """What a function returns, and the CPU seconds it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def table(names: Sequence[str], predicted: FisherSensitivity, measured: SensitivityTable) -> Table:
    """One row a layer."""
    rows = [
        [
            name,
            f"{predicted.table.layers[name].mean:.4f}",
            f"{predicted.table.layers[name].by_weights:.4f}",
            f"{predicted.table.layers[name].by_outputs:.4f}",
            f"{measured.layers[name].mean:.4f}",
            f"{measured.layers[name].std / measured.draws**0.5:.4f}",
            f"{predicted.table.layers[name].mean / measured.layers[name].mean:.2f}",
        ]
        for name in names
    ]
    headers = ["layer", "predicted (nats)", "by weights", "by outputs", "measured", "standard error", "ratio"]
    return Table(headers, rows, right=(1, 2, 3, 4, 5, 6))


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict and measure every layer, print a table and write JSON."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    hardware = Hardware.load("lionheart")
    model = network(options.network)
    graph = read_graph(model, {"x": (1, 3, 32, 32)})
    task = Task({"x": cifar10.load("test")[0][: options.images]}, None, get_metric("kl"))
    names = [layer.name for layer in graph.candidates]

    def evaluator() -> PlacementEvaluator:
        return PlacementEvaluator(
            model, graph, hardware, task, seed=options.seed, draws=options.draws, t_s=hardware.t_inference_s
        )

    _warm(evaluator(), graph, names[-1:])
    predicted, prediction_s = timed(lambda: fisher_sensitivity(evaluator(), graph, names))
    print(f"predicted: {prediction_s:.1f} s", file=sys.stderr, flush=True)
    chosen = names[options.every // 3 :: options.every]
    measured, measurement_s = timed(lambda: measure_sensitivity(evaluator(), graph, chosen))
    measurement_s *= len(names) / len(chosen)
    found = agreement(predicted.table, measured)
    print(table(chosen, predicted, measured).render("markdown"))
    print(f"\n{found}")
    print(f"{prediction_s:.1f} s against {measurement_s:.1f} s: {measurement_s / prediction_s:.1f} times as fast")
    result = {
        "network": options.network,
        "images": options.images,
        "draws": options.draws,
        "seed": options.seed,
        "agreement": asdict(found),
        "prediction_s": prediction_s,
        "measurement_s": measurement_s,
        "predicted": {name: predicted.table.layers[name].mean for name in names},
        "measured": {name: measured.layers[name].mean for name in chosen},
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _warm(evaluator: PlacementEvaluator, graph: LayerGraph, names: Sequence[str]) -> None:
    """Load what both methods import, so that neither pays for it."""
    fisher_sensitivity(evaluator, graph, names)
    measure_sensitivity(evaluator, graph, names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="sensitivities from backward passes against measured ones")
    parser.add_argument("-o", "--output", type=Path, default=Path("fisher_agreement.json"))
    parser.add_argument("--network", choices=("resnet20", "resnet56"), default="resnet20")
    parser.add_argument("--images", type=int, default=256, help="first test images of CIFAR-10")
    parser.add_argument("--draws", type=int, default=10, help="programmings of every layer")
    parser.add_argument("--every", type=int, default=1, help="measure one layer out of so many, and scale the time")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
