"""Peak memory of commands, as multiples of the weights: networks of real sizes with random weights.

python benchmarks/memory.py FOLDER resnet50 bert-base

Networks are exported once into FOLDER (torchvision, transformers). Every command is a process of its own; its peak is
what the system counts (ru_maxrss). What the same command takes on a network of 0.6 million weights is given beside it:
libraries, and loops that are compiled at the first run of an installation, as here at every run. Two chips and few
samples: more of them bring more time, since `--memory` bounds what is kept of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

SAMPLES, TOKENS, VOCABULARY = 16, 64, 30_522
SMALLEST = "bert-small"
IMAGES = {"resnet50": "resnet50", "mobilenetv2": "mobilenet_v2", "vit-b": "vit_b_16"}
"""Names in torchvision."""
SIZES = {SMALLEST: (256, 1, 512), "bert-mid": (512, 8, 2048), "bert-base": (768, 12, 3072), "gpt2": (768, 12, 3072)}
"""Width, blocks and inner width."""
SEARCH = ("-q", "--force", "--objective", "macs", "--metric", "nmse", "--max-drop", "10")
SEARCH += ("--samples", "12", "--draws", "2", "--max-draws", "4")


def made(name: str, folder: Path) -> tuple[Path, Path]:
    """A network and samples for it."""
    path, samples = folder / f"{name}.onnx", folder / f"{name}.npz"
    if path.exists():
        return path, samples
    torch.manual_seed(0)
    network, inputs = _network(name, np.random.default_rng(0))
    example = tuple(torch.from_numpy(array[:2]) for array in inputs.values())
    axes = {tensor: {0: "N"} for tensor in (*inputs, "answer")}
    torch.onnx.export(
        network.eval(),
        example,
        str(path),
        input_names=list(inputs),
        output_names=["answer"],
        dynamic_axes=axes,
        dynamo=False,
    )
    np.savez(samples, allow_pickle=False, **inputs)
    return path, samples


def _network(name: str, random: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    """A network and its samples."""
    if name in IMAGES:
        images = random.normal(size=(SAMPLES, 3, 224, 224)).astype("f4")
        return getattr(import_module("torchvision").models, IMAGES[name])(weights=None), {"image": images}
    transformers = import_module("transformers")
    width, blocks, inner = SIZES[name]
    if name == "gpt2":
        of_gpt = {"n_embd": width, "n_layer": blocks, "n_head": width // 64, "use_cache": False}
        network = transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **of_gpt))
    else:
        sizes = {"hidden_size": width, "num_hidden_layers": blocks, "intermediate_size": inner}
        sizes["vocab_size"] = VOCABULARY if name != SMALLEST else 100
        config = transformers.BertConfig(num_attention_heads=width // 64, attn_implementation="eager", **sizes)
        network = transformers.BertForSequenceClassification(config)
    return network, {"input_ids": random.integers(0, 30_000 if name != SMALLEST else 100, (SAMPLES, TOKENS))}


def peak(*command: str) -> int:
    """Most bytes that a command of lhc holds.

    Raises:
        RuntimeError: it fails.
    """
    with tempfile.TemporaryDirectory() as cache:  # nothing is taken from earlier runs
        environment = os.environ | {"LHC_CACHE": cache}
        process = subprocess.Popen([sys.executable, "-m", "lhc", *command], env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"lhc {' '.join(command)} ends with {os.waitstatus_to_exitcode(status)}")
    return 1024 * usage.ru_maxrss


def peaks(name: str, folder: Path, memory: str) -> dict[str, int]:
    """Peaks of all commands on a network, in bytes."""
    path, samples = made(name, folder)
    placed, compiled = path.with_suffix(".lhc.onnx"), path.with_suffix(".sim.onnx")
    bounded = ("--memory", memory)
    commands = {
        "analyze": (str(path), "--data", str(samples)),
        "partition": (str(path), "--data", str(samples), "-o", str(placed), *bounded, *SEARCH),
        "run": (str(placed), "--data", str(samples), "--samples", "12", "--draws", "2", *bounded),
        "compile": (str(placed), "--force", "-o", str(compiled)),
    }
    return {command: peak(command, *options) for command, options in commands.items()}


def main() -> None:
    """Measure the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", choices=[*IMAGES, *SIZES])
    parser.add_argument("--memory", default="2GiB")
    given = parser.parse_args()
    least = peaks(SMALLEST, given.folder, given.memory)
    for name in given.networks:
        found = peaks(name, given.folder, given.memory)
        weights = (given.folder / f"{name}.onnx").stat().st_size
        for command, held in found.items():
            above = held - least[command]
            print(
                f"{name} {command}: {held / 2**20:.0f} MiB, {held / weights:.1f} times the {weights / 2**20:.0f} MiB;"
                f" {above / 2**20:.0f} MiB above a small network, {above / weights:.1f} times"
            )


if __name__ == "__main__":
    main()
