"""Compiled files against the emulation of the same chip: predictions that differ, and accuracy.

    python -m venv bare && bare/bin/pip install onnxruntime numpy
    python benchmarks/compiled_accuracy.py resnet20 --python bare/bin/python [--samples N] [--hardware H,H]

All eligible layers are analog, on one chip (seed 0, draw 0). The compiled files are run by the Python that is named,
which needs onnxruntime and numpy alone. Noise on, two runs of either kind are compared too: how many predictions differ
because the noise is another.
"""

import argparse
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lhc.commands.compile import compile_draws, placement_of
from lhc.options.by_command import CompileOptions
from lhc.pipeline.inputs.model_source import open_model
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.runtime import HybridExecutor
from lhc.runtime.engines.protocol import Position
from lhc.samples.task import Task
from lhc.support.tables import Table

Predictions = npt.NDArray[np.int64]

PLAIN = """
import sys, importlib.util
assert not [name for name in ("lhc", "torch", "aihwkit") if importlib.util.find_spec(name)], "not a bare environment"
import numpy as np, onnxruntime
model, inputs, outputs, seed = sys.argv[1:]
feeds = dict(np.load(inputs))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
onnxruntime.set_seed(int(seed))
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
count = len(next(iter(feeds.values())))
parts = [session.run(None, {k: v[i : i + 50] for k, v in feeds.items()})[0] for i in range(0, count, 50)]
np.save(outputs, np.concatenate(parts).argmax(-1))
"""


def plain(python: str, model: Path, inputs: Path, seed: int) -> Predictions:
    """Predictions of a compiled file, by onnxruntime in another environment."""
    outputs = model.with_name("outputs.npy")
    command = [python, "-I", "-c", PLAIN, str(model), str(inputs), str(outputs), str(seed)]
    subprocess.run(command, check=True, cwd=model.parent)
    return np.asarray(np.load(outputs))


def emulated(network: NetworkPlacement, task: Task, noise: bool, seed: int) -> Predictions:
    """Predictions of the fast engine on seed 0's draw 0; devices are programmed and read out on the noisy machine."""
    machine = network.plan.hardware
    executor = HybridExecutor(network.model, network.graph, network.plan.analog, network.plan.ranges)
    states = executor.states(machine, 0, 0, machine.t_inference_s)
    quiet = machine.model_copy(update={"adc": machine.adc.model_copy(update={"noise": 0.0})})
    chips = executor.on_chips([states], machine if noise else quiet, seed, [0])
    found = []
    for where, feeds in task.blocks(64):
        start = Position(where.start, where.stop - where.start)
        (outputs,) = executor.finish(executor.prefix(dict(feeds)), chips, start)
        found.append(outputs[0].argmax(-1))
    return np.concatenate(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--python", required=True)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--hardware", default="lionheart,static-range")
    arguments = parser.parse_args()
    opened = open_model(arguments.model)
    if opened.entry is None:
        parser.error("name a model of the zoo, which brings its samples")
    task = opened.entry.task()
    task = task if arguments.samples is None else task.head(arguments.samples)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **{key: np.asarray(array) for key, array in task.inputs.items()})
        for hardware in arguments.hardware.split(","):
            options = CompileOptions(opened, task.head(256), all_analog=True, hardware=hardware)
            network, _ = placement_of(options)
            for noisy in (replace(options, noise="off"), options):
                noise = noisy.noise
                (compiled,) = compile_draws(network, [0], noisy)
                file = compiled.save(folder / "compiled.sim.onnx", force=True)
                ways = [
                    plain(arguments.python, file, folder / "inputs.npz", 1),
                    emulated(network, task, noise == "on", 0),
                ]
                if noise == "on":
                    ways += [plain(arguments.python, file, folder / "inputs.npz", 2), emulated(network, task, True, 1)]
                accuracy = [f"{100 * float((way == task.targets).mean()):.2f} %" for way in ways]
                differ = [str(int((ways[0] != other).sum())) for other in ways[1:3]]
                differ += [str(int((ways[1] != ways[3]).sum()))] if noise == "on" else []
                rows.append(
                    [hardware, noise, " / ".join(accuracy[::2]), " / ".join(accuracy[1::2]), " / ".join(differ)]
                )
    print(Table(["hardware", "noise", "compiled", "emulated", "predictions that differ"], rows).render("table"))
    print(f"\n{arguments.model}, {len(task)} samples, one chip; noise on: two runs of each; differing predictions:")
    print("compiled and emulated / compiled twice / emulated twice")


if __name__ == "__main__":
    main()
