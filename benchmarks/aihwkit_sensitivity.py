"""Sensitivity of ResNet20's layers, measured by aihwkit alone: a reference for ``lhc sensitivity``.

For every layer and draw the torch network is converted with that one layer analog (``convert_to_analog``, aihwkit's
own unfolding), programmed, drifted to one day and run on the first test images of CIFAR-10. The damage is
KL(digital || analog) of the class probabilities in nats, mean over the images; the table gives mean and standard
deviation over the draws. Nothing of lhc's runtime, hardware descriptions or statistics is used.

aihwkit manages the ADC's range of a whole call at once, so one saturating vector costs all others resolution. Small
batches keep that away from the result as far as aihwkit allows.

``LHC_DATA=FOLDER OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/aihwkit_sensitivity.py -o kl.json``
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from aihwkit.inference.compensation.drift import GlobalDriftCompensation
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.parameters.mapping import MappingParameter
from torch import nn

from lhc.models import cifar10
from lhc.models.resnet20 import ResNet20, build
from lhc.models.weights import read_weights
from lhc.models.zoo_entry import data_folder

__all__ = ["layer_kl", "main", "tile_config"]

T_INFERENCE_S = 86400.0


def tile_config() -> TorchInferenceRPUConfig:
    """The tile of LionHeart's published code: 256x255, PCM, 8-bit converters, output noise 0.06."""
    return TorchInferenceRPUConfig(
        mapping=MappingParameter(
            max_input_size=256,
            max_output_size=255,
            digital_bias=True,
            weight_scaling_omega=1.0,
            weight_scaling_columnwise=True,
        ),
        forward=IOParameters(inp_res=1 / 254, out_res=1 / 254, out_noise=0.06),
        noise_model=PCMLikeNoiseModel(g_max=25.0),
        drift_compensation=GlobalDriftCompensation(),
    )


def layer_kl(network: nn.Module, layer: str, images: torch.Tensor, seed: int, batch: int) -> float:
    """Mean KL(digital || analog) in nats with one layer analog, freshly programmed.

    Args:
        network: in evaluation mode, batch-norms folded.
        layer: path of the module to convert.
        images: ``(n, 3, 32, 32)``.
        seed: of programming, drift and output noise.
        batch: images a call.
    """
    others = [name for name in layer_names(network) if name != layer]
    torch.manual_seed(seed)
    analog = convert_to_analog(network, tile_config(), exclude_modules=others).eval()
    analog.program_analog_weights()
    analog.drift_analog_weights(T_INFERENCE_S)
    return kl(log_probabilities(network, images, batch), log_probabilities(analog, images, batch))


def layer_names(network: nn.Module) -> list[str]:
    """Paths of all convolutions and linear layers."""
    return [name for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


@torch.no_grad()
def log_probabilities(network: nn.Module, images: torch.Tensor, batch: int) -> torch.Tensor:
    """Logarithms of the class probabilities, ``(n, classes)`` in double precision."""
    starts = range(0, len(images), batch)
    logits = torch.cat([network(images[start : start + batch]) for start in starts])
    return torch.log_softmax(logits.double(), dim=1)


def kl(digital: torch.Tensor, analog: torch.Tensor) -> float:
    """KL(digital || analog) of two arrays of logarithms, mean over the images."""
    return float((digital.exp() * (digital - analog)).sum(1).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every layer, print a table and write JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folder = data_folder()
    if folder is None:
        parser.error("set LHC_DATA to the folder that holds the weights and cifar10/")
    if options.draws < 2:
        parser.error("--draws: a spread needs at least 2")
    torch.set_num_threads(1)
    weights = folder / ResNet20.weights
    network = build(read_weights(weights), str(weights))
    images = torch.from_numpy(cifar10.load("test")[0][: options.images])
    layers = []
    print(f"{'layer':<16} {'mean':>8} {'std':>8}  KL in nats, {len(images)} images, {options.draws} draws")
    for index, name in enumerate(layer_names(network)):
        start = time.monotonic()
        seeds = np.random.SeedSequence((options.seed, index)).generate_state(options.draws)
        values = [layer_kl(network, name, images, int(seed), options.batch) for seed in seeds]
        layers.append({"name": name, "mean": statistics.fmean(values), "std": statistics.stdev(values)})
        print(f"{name:<16} {layers[-1]['mean']:8.4f} {layers[-1]['std']:8.4f}", flush=True)
        print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    result = {"layers": layers, "images": len(images), "draws": options.draws, "seed": options.seed}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="KL of ResNet20's layers by aihwkit alone")
    parser.add_argument("-o", "--output", type=Path, default=Path("aihwkit_resnet20_kl.json"))
    parser.add_argument("--images", type=int, default=256, help="first test images of CIFAR-10")
    parser.add_argument("--draws", type=int, default=5, help="programmings of every layer, at least 2")
    parser.add_argument("--batch", type=int, default=10, help="images a call")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
