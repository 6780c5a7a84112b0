"""CrossSim's own ResNet20 on CIFAR-10, in its published configuration, by CrossSim and by lhc on the same images.

    git clone --branch v3.2.0 https://github.com/sandialabs/cross-sim
    LHC_DATA=... python benchmarks/crosssim_resnet20.py cross-sim --images 1000

The configuration is that of ``applications/dnn/torch/cifar10_resnet/inference_cifar10_resnet.py``: balanced one-sided
pairs, weights of 8 bits with their sign, 1,152 rows, inputs of 8 bits and ADCs of 8 bits with calibrated ranges, no
errors of devices. Both have the ranges that CrossSim ships for every layer. Inputs behind a ReLU have no sign there,
and ranges of ADCs are not symmetric: here they have a ninth bit and the same step, and ADCs clip later. With ``--own``
lhc calibrates ranges of its own, on training images, for ADCs of 8 bits.
"""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.hardware import Hardware
from lhc.models.cifar10 import load
from lhc.onnx_io import load_model, read_graph
from lhc.runtime import HybridExecutor
from lhc.runtime.calibration.converter_ranges import calibrate_adcs, calibrate_ranges
from lhc.runtime.engines.protocol import Position

Array = npt.NDArray[Any]
CALIBRATION = 200
BATCH = 50
MACHINE = """
name: crosssim-resnet20
tiles: {rows: 1152, cols: 1152}
dac: {bits: 9, scaling: static, range_quantile: 0.9999}
adc: {bits: BITS, bound: 12, bound_management: none, range: layer, range_quantile: 0.9999}
mapping: {columnwise: false, cell_bits: 7}
devices: null
compensation: {drift: none, copies: false, outputs: none}
t_inference_s: 0
"""


def shipped(folder: Path) -> tuple[Array, Array]:
    """Least and greatest input of every layer, and of its ADCs, ``(layers, 2)`` each."""
    where = folder / "applications/dnn/torch/cifar10_resnet/calibrated_config"
    return np.load(where / "input_limits_ResNet20.npy"), np.load(where / "adc_limits_ResNet20_balanced.npy")


def by_crosssim(folder: Path, network: Any, images: Array) -> Array:  # noqa: ANN401 - a torch module
    """Its predictions."""
    import torch

    kinds = import_module("simulator.algorithms.dnn.torch.convert")
    inputs, adcs = shipped(folder)
    told = {
        "core_style": "BALANCED", "Nslices": 1, "weight_bits": 8, "weight_percentile": 100, "digital_bias": True,
        "Rmin": 1e4, "Rmax": 1e6, "infinite_on_off_ratio": False, "NrowsMax": 1152, "NcolsMax": None,
        "input_bits": 8, "adc_bits": 8, "adc_range_option": "CALIBRATED", "adc_type": "generic", "useGPU": False,
        "error_model": "none", "noise_model": "none", "drift_model": "none", "t_drift": 0, "adc_per_ibit": False,
        "input_bitslicing": False, "subtract_current_in_xbar": True,
    }  # fmt: skip
    of_layers = import_module("dnn_inference_params").dnn_inference_params
    layers = [
        of_layers(**told, positiveInputsOnly=k > 0, input_range=inputs[k], adc_range=adcs[k])
        for k in range(len(inputs))
    ]
    analog = kinds.from_torch(network, layers, fuse_batchnorm=True, bias_rows=0).eval()
    with torch.no_grad():
        parts = [analog(torch.from_numpy(images[n : n + BATCH])).numpy() for n in range(0, len(images), BATCH)]
    return np.asarray(np.concatenate(parts).argmax(1))


def by_lhc(folder: Path, network: Any, images: Array, calibration: Array | None) -> Array:  # noqa: ANN401
    """Predictions of its tiles."""
    import torch

    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "resnet20.onnx"
        example = torch.from_numpy(images[:1])
        axes = {"x": {0: "n"}}
        torch.onnx.export(network, (example,), str(path), input_names=["x"], dynamic_axes=axes, dynamo=False)
        model = load_model(path)
    graph, machine = (
        read_graph(model, {"x": (1, *images.shape[1:])}),
        Hardware.parse(MACHINE.replace("BITS", "9" if calibration is None else "8"), "benchmark"),
    )
    names = [layer.name for layer in graph.candidates]
    ranges: dict[str, tuple[float, ...]]
    if calibration is None:
        inputs, adcs = shipped(folder)
        ranges = {name: (float(limits[1]),) for name, limits in zip(names, inputs, strict=True)}
        bounds = {name: float(limits[1] - limits[0]) for name, limits in zip(names, adcs, strict=True)}
    else:
        blocks = [(BATCH, {"x": calibration[n : n + BATCH]}) for n in range(0, len(calibration), BATCH)]
        ranges = calibrate_ranges(model, graph, machine, names, blocks)
        bounds, _ = calibrate_adcs(model, graph, machine, names, blocks, ranges)
    machine = machine.with_adc_bounds(bounds)
    executor = HybridExecutor(model, graph, names, ranges)
    programmed = executor.on_chips([executor.states(machine, 0, 0, 0.0)], machine, 0, [0])
    outputs = []
    for n in range(0, len(images), BATCH):
        part = images[n : n + BATCH]
        prefix = executor.prefix({"x": part})
        outputs.append(next(executor.finish(prefix, programmed, Position(n, len(part)), list(graph.outputs)))[0])
    return np.asarray(np.concatenate(outputs).argmax(1))


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="checkout of CrossSim")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--own", action="store_true", help="lhc calibrates its own ranges")
    options = parser.parse_args()
    application = options.folder / "applications/dnn/torch/cifar10_resnet"
    sys.path[:0] = [str(options.folder), str(application), str(application.parents[1])]
    import torch

    network = import_module("build_resnet_cifar10").ResNet_cifar10(3)
    network.load_state_dict(torch.load(application / "models/resnet20_cifar10.pth", map_location="cpu"))
    network.eval()
    images, labels = (part[: options.images] for part in load("test"))
    calibration = load("train")[0][:CALIBRATION] if options.own else None
    ours = by_lhc(options.folder, network, images, calibration)
    with torch.no_grad():
        digital = network(torch.from_numpy(images)).numpy().argmax(1)
    for name, found in (("digital", digital), ("lhc", ours)):
        print(f"{name}: {100 * np.mean(found == labels):.2f} % of {len(labels)} images", flush=True)
    theirs = by_crosssim(options.folder, network, images)
    print(f"CrossSim: {100 * np.mean(theirs == labels):.2f} %")
    paired = (ours == labels).astype(float) - (theirs == labels)
    error = 100 * paired.std() / len(paired) ** 0.5
    print(f"lhc less CrossSim: {100 * paired.mean():+.2f} +- {1.96 * error:.2f} points; same prediction:", end=" ")
    print(f"{100 * np.mean(ours == theirs):.1f} %")


if __name__ == "__main__":
    main()
