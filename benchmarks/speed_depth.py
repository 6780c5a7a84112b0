"""How the time of commands grows with the number of layers: residual MLPs of 64x64 layers with random weights.

``PYTHONPATH=. python benchmarks/speed_depth.py``

Every command is a process of its own, so start-up counts; nothing that was measured before is used. CPU seconds are
those of the process and of its workers, peaks are what the system counts (ru_maxrss). The answers are compared with
those of the digital network, as there are no labels. A cost that grows with the layers takes 2.5 times as long for
1,600 layers as for 640, one that grows with their square 6.25 times. The budget of ``partition`` is about half of what
all layers on tiles do, at any depth, so that it searches, and tests several placements.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["main", "residual_mlp"]

WIDTH, SAMPLES = 64, 400
DEPTHS = (10, 40, 160, 640, 1600)
COMMANDS = {
    "analyze": ("analyze",),
    "run --all-analog": ("run", "--all-analog", "--fresh", "-q"),
    "partition": ("partition", "--max-drop", "0.005", "--fresh", "-q"),
}
"""What is timed, and how it is called; ``partition`` needs a file to write to."""


@dataclass(frozen=True)
class Taken:
    """What one command took."""

    cpu_s: float
    peak_mib: float


def residual_mlp(depth: int) -> onnx.ModelProto:
    """A residual MLP of ``depth`` layers of 64x64, two a block: x + W2 relu(W1 x).

    The blocks together add about as much as there was at first, whatever their number, so that answers differ between
    samples however deep the network is.
    """
    random = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for number in range(depth // 2):
        first, second, y = f"w{number}a", f"w{number}b", f"y{number}"
        for name, variance in ((first, 2 / WIDTH), (second, 2 / WIDTH / depth)):
            values = random.normal(0, variance**0.5, (WIDTH, WIDTH)).astype(np.float32)
            weights.append(numpy_helper.from_array(values, name))
        nodes.append(helper.make_node("MatMul", [x, first], [f"h{number}"], f"block{number}/first"))
        nodes.append(helper.make_node("Relu", [f"h{number}"], [f"r{number}"], f"block{number}/relu"))
        nodes.append(helper.make_node("MatMul", [f"r{number}", second], [f"d{number}"], f"block{number}/second"))
        nodes.append(helper.make_node("Add", [x, f"d{number}"], [y], f"block{number}/add"))
        x = y
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", x)]
    graph = helper.make_graph(nodes, f"mlp{depth}", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def taken(folder: Path, command: Sequence[str]) -> Taken:
    """Time and peak of a command of lhc.

    Raises:
        RuntimeError: it fails; a budget that is not met is no failure.
    """
    environment = os.environ | {"LHC_CACHE": str(folder / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "lhc", *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise RuntimeError(f"lhc {' '.join(command)} ends with {code}")
    return Taken(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def time_depth(folder: Path, depth: int, commands: Sequence[str]) -> dict[str, Taken]:
    """Time the commands on a network of so many layers."""
    model, samples, placed = folder / f"mlp{depth}.onnx", folder / "samples.npz", folder / f"mlp{depth}.lhc.onnx"
    onnx.save(residual_mlp(depth), model)
    x = np.random.default_rng(1).normal(size=(SAMPLES, WIDTH)).astype(np.float32)
    np.savez(samples, allow_pickle=False, x=x)
    found = {}
    for name in commands:
        output = ("-o", str(placed), "--force") if name == "partition" else ()
        found[name] = taken(folder, [*COMMANDS[name], str(model), "--data", str(samples), *output])
        print(f"{depth:6}  {name:16}  {found[name].cpu_s:7.1f}  {found[name].peak_mib:8.0f}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Time every command on every network, and compare the two deepest."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="numbers of layers, in ascending order")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=tuple(COMMANDS))
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    chosen = parser.parse_args(arguments)
    with TemporaryDirectory() as made:
        folder = Path(made)
        for warm in (name for name in chosen.commands if name != "analyze"):  # compiles what numba compiles
            time_depth(folder, 4, [warm])
        print("layers  command             CPU s  peak MiB")
        figures = {depth: time_depth(folder, depth, chosen.commands) for depth in chosen.depths}
    *_, less, most = (figures[depth] for depth in chosen.depths)
    ratios = {name: most[name].cpu_s / less[name].cpu_s for name in chosen.commands}
    for name, ratio in ratios.items():
        print(f"{name}: {chosen.depths[-1]} layers take {ratio:.1f} times as long as {chosen.depths[-2]}")
    from benchmarks.timing import write  # it loads PyTorch: what starts a process counts in the peak of that

    write(chosen.output, {"taken": figures, "ratios": ratios})


if __name__ == "__main__":
    main()
