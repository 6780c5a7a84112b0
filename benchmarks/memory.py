"""Peak memory of commands, as multiples of the weights: networks of real sizes with random weights.

python benchmarks/memory.py FOLDER resnet50 bert-base

Networks are exported once into FOLDER (torchvision, transformers). Every command is a process of its own; its peak is
what the system counts (ru_maxrss). What the same command takes on a network of 0.6 million weights is taken off:
libraries, and loops that are compiled at the first run in FOLDER. So is one block of activations: the tensors of one
call at their most. Two chips and few samples: more of them bring more time, since
`--memory` bounds what is kept of them.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lhc
from lhc.costs.crossings import held_elements
from lhc.runtime.onnxruntime.batched_calls import call_samples

SAMPLES, USED, TOKENS, VOCABULARY = 16, 6, 64, 30_522
"""Samples of a file, and those that are used."""
SMALLEST = "bert-small"
IMAGES = {
    "resnet50": ("resnet50", 224),
    "mobilenetv2": ("mobilenet_v2", 224),
    "vit-b": ("vit_b_16", 224),
    "deeplab": ("segmentation.deeplabv3_resnet50", 128),
}
"""Names in torchvision, and the side of images."""
SIZES = {SMALLEST: (256, 1, 512), "bert-mid": (512, 8, 2048), "bert-base": (768, 12, 3072), "gpt2": (768, 12, 3072)}
"""Width, blocks and inner width."""
COMMANDS = ("analyze", "partition", "run", "compile")
SEARCH: tuple[str, ...] = ("-q", "--force", "--objective", "macs", "--metric", "nmse", "--max-drop", "10")
SEARCH += ("--samples", str(USED), "--draws", "2", "--max-draws", "4")


def made(name: str, folder: Path) -> tuple[Path, Path]:
    """A network and samples for it."""
    path, samples = folder / f"{name}.onnx", folder / f"{name}.npz"
    if path.exists():
        return path, samples
    torch.manual_seed(0)
    network, inputs = _network(name, np.random.default_rng(0))
    example = {tensor: torch.from_numpy(array[:2]) for tensor, array in inputs.items()}
    ordered = len(inputs) == 1
    axes = {tensor: {0: "N"} for tensor in (*inputs, "answer")}
    torch.onnx.export(
        network.eval(),
        tuple(example.values()) if ordered else (),
        str(path),
        kwargs=None if ordered else example,
        input_names=list(inputs),
        output_names=["answer"],
        dynamic_axes=axes,
        dynamo=False,
    )
    np.savez(samples, allow_pickle=False, **inputs)
    return path, samples


class _Answer(torch.nn.Module):
    """One of the answers of a network, which gives a dictionary of them."""

    def __init__(self, network: torch.nn.Module, answer: str, masked: bool = False) -> None:
        """``masked``: it is told that no token is padding, and looks for none that begins a text."""
        super().__init__()
        self.network, self.answer, self.masked = network, answer, masked

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Logits."""
        more = {"attention_mask": torch.ones_like(given)} if self.masked else {}
        answer: torch.Tensor = self.network(given, **more)[self.answer]
        return answer


def _network(name: str, random: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """A network and its samples."""
    if name in IMAGES:
        path, side = IMAGES[name]
        make = attrgetter(path)(import_module("torchvision").models)
        network = _Answer(make(weights_backbone=None), "out") if name == "deeplab" else make(weights=None)
        return network, {"image": random.normal(size=(SAMPLES, 3, side, side)).astype("f4")}
    transformers = import_module("transformers")
    width, blocks, inner = SIZES[name]
    if name == "gpt2":
        of_gpt = {"n_embd": width, "n_layer": blocks, "n_head": width // 64, "use_cache": False}
        gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **of_gpt))
        network = _Answer(gpt, "logits", masked=True)
    else:
        sizes = {"hidden_size": width, "num_hidden_layers": blocks, "intermediate_size": inner}
        sizes["vocab_size"] = VOCABULARY if name != SMALLEST else 100
        config = transformers.BertConfig(num_attention_heads=width // 64, attn_implementation="eager", **sizes)
        network = transformers.BertForSequenceClassification(config)
    texts = {"input_ids": random.integers(0, 30_000 if name != SMALLEST else 100, (SAMPLES, TOKENS))}
    return network, texts


def peak(folder: Path, *command: str) -> int:
    """Most bytes that a command of lhc holds; ``folder`` keeps compiled loops, and nothing that was measured is used.

    Raises:
        RuntimeError: it fails.
    """
    environment = os.environ | {"LHC_CACHE": str(folder / "cache")}
    process = subprocess.Popen([sys.executable, "-m", "lhc", *command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"lhc {' '.join(command)} ends with {os.waitstatus_to_exitcode(status)}")
    return 1024 * usage.ru_maxrss


def block(name: str, folder: Path) -> int:
    """Bytes of the tensors of one call, at their most."""
    path, samples = made(name, folder)
    graph = lhc.analyze(path, samples).facts
    return 4 * held_elements(graph) * min(call_samples(graph), USED)


def peaks(name: str, folder: Path, memory: str, wanted: Sequence[str]) -> dict[str, int]:
    """Peaks of commands on a network, in bytes."""
    path, samples = made(name, folder)
    placed, compiled = path.with_suffix(".lhc.onnx"), path.with_suffix(".sim.onnx")
    bounded = ("--memory", memory, "--fresh")
    commands = {
        "analyze": (str(path), "--data", str(samples)),
        "partition": (str(path), "--data", str(samples), "-o", str(placed), *bounded, *SEARCH),
        "run": (str(placed), "--data", str(samples), "--samples", str(USED), "--draws", "2", *bounded),
        "compile": (str(placed), "--force", "-o", str(compiled)),
    }
    return {command: peak(folder, command, *commands[command]) for command in wanted}


def main() -> None:
    """Measure the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", choices=[*IMAGES, *SIZES])
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument(
        "--commands", nargs="+", choices=COMMANDS, default=COMMANDS, help="run needs a partition before"
    )
    given = parser.parse_args()
    made(SMALLEST, given.folder)
    peaks(SMALLEST, given.folder, given.memory, ["partition"])  # compiles loops
    least = peaks(SMALLEST, given.folder, given.memory, given.commands)
    for name in given.networks:
        made(name, given.folder)
        weights, call = (given.folder / f"{name}.onnx").stat().st_size, block(name, given.folder)
        for command in given.commands:
            held = peaks(name, given.folder, given.memory, [command])[command]
            above = held - least[command]
            print(
                f"{name} {command}: {held / 2**20:.0f} MiB, {above / 2**20:.0f} MiB above a small network; without"
                f" {call / 2**20:.0f} MiB of activations {(above - call) / weights:.1f} times the"
                f" {weights / 2**20:.0f} MiB of weights",
                flush=True,
            )


if __name__ == "__main__":
    main()
