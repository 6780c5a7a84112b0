"""What the benchmarks of speed share: time of the processor, aihwkit as the peer, the machine in words.

All of them time the peer and lhc in one run, on the same images and one thread. They state CPU seconds (user and
system time of the process) and wall time; on a busy machine only the first can be compared.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from aihwkit.nn import AnalogLinear
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import InferenceRPUConfig
from torch import nn

from benchmarks.aihwkit_sensitivity import T_INFERENCE_S, layer_names, tile_config
from lhc.models import cifar10, zoo_entry
from lhc.models.resnet20 import ResNet20, build
from lhc.models.weights import read_weights
from lhc.models.zoo_entry import data_folder
from lhc.runtime.onnxruntime.library import onnxruntime

__all__ = [
    "Images",
    "Spent",
    "analog_copy",
    "best",
    "best_in_turn",
    "cpp_config",
    "images",
    "machine",
    "options",
    "plain_session",
    "resnet20",
    "run_batches",
    "timed",
    "write",
]

Images = npt.NDArray[np.float32]
PACKAGES = ("torch", "aihwkit", "onnxruntime", "numba", "numpy")


@dataclass(frozen=True)
class Spent:
    """Time of one thing."""

    cpu_s: float
    wall_s: float

    def times(self, factor: float) -> "Spent":
        """For more or less of the same."""
        return Spent(self.cpu_s * factor, self.wall_s * factor)

    def __str__(self) -> str:
        return f"{self.cpu_s:.3f} s CPU, {self.wall_s:.3f} s wall"


@contextmanager
def timed() -> Iterator[list[Spent]]:
    """Time a block; the list holds the result afterwards."""
    found: list[Spent] = []
    cpu, wall = time.process_time(), time.perf_counter()
    yield found
    found.append(Spent(time.process_time() - cpu, time.perf_counter() - wall))


def best(function: Callable[[], object], repeats: int) -> Spent:
    """The least CPU time of some runs, after one that is not counted."""
    return best_in_turn([function], repeats)[0]


def best_in_turn(functions: Sequence[Callable[[], object]], repeats: int) -> list[Spent]:
    """The least CPU time of some runs of each function, after one that is not counted.

    They run in turn, so that what else the machine does in the meantime slows all of them.
    """
    results: list[list[Spent]] = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, found in zip(functions, results, strict=True):
            with timed() as spent:
                function()
            if repeat:
                found += spent
    return [min(found, key=lambda spent: spent.cpu_s) for found in results]


def options(description: str, count: int, repeats: int = 3) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--images", type=int, default=count, help=f"first test images of CIFAR-10, {count} by default")
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of which the fastest counts")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    return parser


def images(count: int) -> Images:
    """The first test images of CIFAR-10, normalised, ``(count, 3, 32, 32)``."""
    torch.set_num_threads(1)
    if data_folder() is None:
        raise SystemExit("set LHC_DATA to the folder that holds the weights and cifar10/")
    return np.ascontiguousarray(cifar10.load("test")[0][:count])


def resnet20() -> tuple[onnx.ModelProto, nn.Module]:
    """The zoo's ResNet20 as ONNX and in torch, batch-norms folded in both."""
    folder = data_folder()
    assert folder is not None
    weights = folder / ResNet20.weights
    return zoo_entry("resnet20").model(), build(read_weights(weights), str(weights)).eval()


def cpp_config() -> InferenceRPUConfig | None:
    """`tile_config` for aihwkit's C++ tile; None where it does not run (1.1, with newer torch)."""
    tile = tile_config()
    config = InferenceRPUConfig(
        mapping=tile.mapping,
        forward=tile.forward,
        noise_model=tile.noise_model,
        drift_compensation=tile.drift_compensation,
    )
    try:
        AnalogLinear(1, 1, rpu_config=config)
    except RuntimeError:
        return None
    return config


def analog_copy(
    network: nn.Module,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    config: InferenceRPUConfig | None = None,
) -> nn.Module:
    """aihwkit's `convert_to_analog` of some layers (all by default), programmed and drifted to one day.

    Args:
        config: its torch tile by default.
    """
    excluded = [] if layers is None else [name for name in layer_names(network) if name not in layers]
    torch.manual_seed(seed)
    analog: Any = convert_to_analog(network, config or tile_config(), exclude_modules=excluded).eval()
    analog.program_analog_weights()
    analog.drift_analog_weights(T_INFERENCE_S)
    copy: nn.Module = analog
    return copy


def plain_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """onnxruntime alone, on one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def run_batches(session: Any, x: Images, batch: int) -> None:  # noqa: ANN401 — one of two kinds of session
    """Run a session on all images."""
    name = session.get_inputs()[0].name
    for start in range(0, len(x), batch):
        session.run(None, {name: x[start : start + batch]})


def machine() -> dict[str, str]:
    """Processor and versions."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")]
    widest = "AVX-512" if "avx512f" in info else "AVX2" if "avx2" in info else "SSE"
    processor = f"{names[0] if names else platform.machine()} ({widest})"
    return {"processor": processor, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Print where it was run, and keep the figures where a file is named."""
    where = machine()
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    if path is not None:
        plain = json.dumps({"machine": where, **figures}, indent=1, default=asdict)
        path.write_text(plain + "\n", encoding="utf-8")
