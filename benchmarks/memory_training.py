"""Memory of a training of all weights, as a multiple of them: eight equal layers on tiles, a few samples a step.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/memory_training.py [--width 1792]

Peaks are what the system counts (ru_maxrss), of a process for each of two widths: what the small network takes is
libraries. The rest is the network as it was given, the new values, their gradients, Adam's two moments, the errors of
a chip, and what one layer takes while its chip is made. Weights are not judged.
"""

import argparse
import subprocess
import sys
from resource import RUSAGE_SELF, getrusage

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

LAYERS, SAMPLES, STEPS, SMALL = 8, 16, 3, 16


def network(width: int) -> ModelProto:
    """Products by square matrices, with ReLUs between them."""
    random, nodes, weights = np.random.default_rng(0), [], []
    for number in range(LAYERS):
        values = random.normal(0, (2 / width) ** 0.5, (width, width)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [f"x{number}", f"w{number}"], [f"y{number}"], f"layer{number}"))
        nodes.append(helper.make_node("Relu", [f"y{number}"], [f"x{number + 1}"], f"relu{number}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def train(width: int) -> int:
    """Take some steps; gives the peak of this process in bytes."""
    from lhc.hardware import Hardware
    from lhc.onnx_io import load_model, read_graph
    from lhc.options.training import TrainingOptions
    from lhc.samples.metrics import METRICS
    from lhc.samples.task import Task
    from lhc.train.training_setup import TrainingSetup

    model, machine = load_model(network(width)), Hardware.load("lionheart")
    graph = read_graph(model)
    x = np.random.default_rng(1).normal(size=(SAMPLES, width)).astype(np.float32)
    settings = TrainingOptions(steps=STEPS, batch_size=SAMPLES)
    samples = Task({"x0": x}, None, METRICS["nmse"])
    setup = TrainingSetup(model, graph, machine, {}, machine.t_inference_s, samples, settings, lambda *_: None)
    trainer = setup.trainer(STEPS)
    trainer.begin([layer.name for layer in graph.candidates])
    for _ in range(STEPS):
        trainer.train_step(1.0)
    return 1024 * getrusage(RUSAGE_SELF).ru_maxrss


def peak(width: int) -> int:
    """Peak of a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--width", str(width), "--alone"]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    """Print the multiple."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1792)
    parser.add_argument("--alone", action="store_true", help="print the peak of one network, in bytes")
    asked = parser.parse_args()
    if asked.alone:
        print(train(asked.width))
        return
    weights, least, most = 4 * LAYERS * asked.width**2, peak(SMALL), peak(asked.width)
    print(
        f"{weights / 2**20:.0f} MiB of weights: {most / 2**20:.0f} MiB, {least / 2**20:.0f} MiB of them with"
        f" {SMALL} x {SMALL}: {(most - least) / weights:.1f} times the weights"
    )


if __name__ == "__main__":
    main()
