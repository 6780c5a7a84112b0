"""Peak memory of commands, as multiples of the weights: networks of real sizes with random weights.

python benchmarks/memory.py FOLDER resnet50 bert-base

Networks are exported once into FOLDER (torchvision, transformers). Every command is a process of its own; its peak is
what the system counts (ru_maxrss), libraries (some 200 MB) included. Two chips and few samples: more of them bring more
time, since `--memory` bounds what is kept of them.
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

SAMPLES, TOKENS = 16, 64
IMAGES = {"resnet50": "resnet50", "mobilenetv2": "mobilenet_v2", "vit-b": "vit_b_16"}
"""Names in torchvision."""
SIZES = {"bert-mid": (512, 8, 2048), "bert-base": (768, 12, 3072), "gpt2": (768, 12, 3072)}
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
        config = transformers.BertConfig(num_attention_heads=width // 64, attn_implementation="eager", **sizes)
        network = transformers.BertForSequenceClassification(config)
    return network, {"input_ids": random.integers(0, 30_000, (SAMPLES, TOKENS))}


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


def main() -> None:
    """Measure the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+", choices=[*IMAGES, *SIZES])
    parser.add_argument("--memory", default="2GiB")
    given = parser.parse_args()
    for name in given.networks:
        path, samples = made(name, given.folder)
        placed, compiled = path.with_suffix(".lhc.onnx"), path.with_suffix(".sim.onnx")
        weights = path.stat().st_size
        commands = {
            "analyze": (str(path), "--data", str(samples)),
            "partition": (str(path), "--data", str(samples), "-o", str(placed), "--memory", given.memory, *SEARCH),
            "run": (str(placed), "--data", str(samples), "--samples", "12", "--draws", "2"),
            "compile": (str(placed), "--force", "-o", str(compiled)),
        }
        for command, options in commands.items():
            held = peak(command, *options)
            print(f"{name} {command}: {held / 2**20:.0f} MiB, {held / weights:.1f} times the {weights / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
