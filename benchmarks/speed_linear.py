"""One linear layer on tiles, noise on and off: lhc against aihwkit-lightning, aihwkit's tiles and products alone.

lhc is a `HybridSession` of a network of one MatMul, with the engine `fast`. All have tiles
of 256 inputs, converters of 8 bits, ranges of ADCs of 12 and output noise of 0.06 or none; chips are programmed before,
which aihwkit-lightning does not do. Its noise is that of training, so the layer is in training mode for it. It clips
what leaves a range; lhc and aihwkit read such vectors again. It is timed in four forms, of which the fastest counts: a
range for every vector, or fixed ones in its fast mode, each as it is and by `torch.compile`.

Peers are slower than they could be on processors that their libraries do not know:

- aihwkit's C++ tile runs from 1.2 on, which is for Python 3.12 and later; the OpenBLAS of its wheel, of 2021, is told
  by OPENBLAS_CORETYPE which kernels to take.
- MKL, in torch, has AVX-512 for Intel's processors alone. A library of one function, `mkl_serv_intel_cpu_true`, that
  returns 1, in LD_PRELOAD, gives it to others.

``OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=SkylakeX PYTHONPATH=. python benchmarks/speed_linear.py``
(`pip install aihwkit-lightning`; without it the others are timed.)
"""

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from aihwkit.nn import AnalogLinear
from onnx import helper, numpy_helper

import lhc
from benchmarks.aihwkit_sensitivity import T_INFERENCE_S, tile_config
from benchmarks.timing import Images, Spent, best_in_turn, cpp_config, plain_session, write
from lhc.hardware import Hardware
from lhc.runtime import HybridSession

__all__ = ["main"]

NOISE = {"on": 0.06, "off": 0.0}
WORK = 2**30
"""Products of two numbers that are timed at once."""
PEER = "aihwkit-lightning"

Timed = dict[str, Callable[[], object]]


def main() -> None:
    """Time all sizes and batches."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["256x256", "512x512", "768x768"], help="inputs x outputs")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024], help="vectors of a call")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the fastest counts")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if find_spec("aihwkit_lightning") is None:
        print(f"{PEER} is not installed: timed without")
    else:
        print(f"{PEER} {version(PEER)}")
    figures = []
    for size in given.sizes:
        inputs, outputs = (int(number) for number in size.split("x"))
        for batch in given.batches:
            spent = _layer(inputs, outputs, batch, given.repeats)
            print(f"{size}, {batch} vectors; ms of CPU time:")
            for name, one in spent.items():
                print(f"  {name:<60}{1e3 * one.cpu_s:8.3f}")
            faster = dict(_faster(spent))
            print(*(f"  {name}: {ratio:.2f} times as long as lhc" for name, ratio in faster.items()), sep="\n")
            figures.append({"size": size, "vectors": batch, "spent": spent, "times as long as lhc": faster})
    write(given.output, {"layers": figures})


def _layer(inputs: int, outputs: int, batch: int, repeats: int) -> dict[str, Spent]:
    """CPU time of one call of each."""
    random = np.random.default_rng(0)
    weight = (random.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
    x = random.normal(size=(batch, inputs)).astype(np.float32)
    matrix, vectors = torch.from_numpy(weight), torch.from_numpy(x)
    plain = plain_session(_model(weight))
    timed: Timed = {
        "torch.mm": lambda: torch.mm(vectors, matrix.T),
        "onnxruntime": lambda: plain.run(None, {"x": x}),
    }
    for noise, strength in NOISE.items():
        timed |= {f"lhc, {name}, noise {noise}": run for name, run in _ours(weight, x, strength).items()}
        timed |= {f"aihwkit, {name}, noise {noise}": run for name, run in _aihwkit(matrix, vectors, strength).items()}
    if find_spec("aihwkit_lightning") is not None:
        torch.compiler.reset()  # of the layers before, of which it would keep no more than eight
        for noise, strength in NOISE.items():
            forms = _lightning(matrix, vectors, strength)
            timed |= {f"{PEER}, {name}, noise {noise}": run for name, run in forms.items()}
    calls = max(1, WORK // (inputs * outputs * batch))
    spent = best_in_turn([_often(run, calls) for run in timed.values()], repeats)
    return {name: one.times(1 / calls) for name, one in zip(timed, spent, strict=True)}


def _faster(spent: dict[str, Spent]) -> Iterator[tuple[str, float]]:
    """How long the fastest form of each takes, in times of lhc with a range for every vector."""
    for noise in NOISE:
        ours = spent[f"lhc, a range a vector, noise {noise}"].cpu_s
        for peer in (f"{PEER},", "aihwkit, C++", "aihwkit, torch", "torch.mm", "onnxruntime"):
            ends = f"noise {noise}" if "aihwkit" in peer else ""
            found = [one.cpu_s for name, one in spent.items() if name.startswith(peer) and name.endswith(ends)]
            if found:
                yield f"{peer.strip(',')}, noise {noise}", min(found) / ours


def _often(run: Callable[[], object], calls: int) -> Callable[[], object]:
    return lambda: [run() for _ in range(calls)]


def _model(weight: Images) -> onnx.ModelProto:
    outputs, inputs = weight.shape
    x, y = (helper.make_tensor_value_info(n, 1, ["N", size]) for n, size in (("x", inputs), ("y", outputs)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")
    graph = helper.make_graph([node], "layer", [x], [y], [numpy_helper.from_array(weight.T.copy(), "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _ours(weight: Images, x: Images, noise: float) -> Timed:
    machines = [Hardware.load(name) for name in ("lionheart", "static-range")]
    dynamic, static = (
        one.model_copy(
            update={
                "adc": one.adc.model_copy(update={"noise": noise}),
                "compensation": one.compensation.model_copy(update={"outputs": "none"}),
            }
        )
        for one in machines
    )
    model = _model(weight)
    calibrated = lhc.partition(
        model, {"x": x}, hardware=static, strategy="all-analog", metric="nmse", draws=2, max_drop=1e9
    )
    every, fixed = HybridSession(model, dynamic, "all-analog"), calibrated.session()
    return {
        "a range a vector": lambda: every.run(None, {"x": x}),
        "fixed ranges": lambda: fixed.run(None, {"x": x}),
    }


def _aihwkit(matrix: torch.Tensor, vectors: torch.Tensor, noise: float) -> Timed:
    """Its layers, programmed and drifted to one day."""
    found: Timed = {}
    for name, config in (("torch tile", tile_config()), ("C++ tile", cpp_config())):
        if config is not None:
            config.forward.out_noise = noise
            layer = AnalogLinear(*reversed(matrix.shape), bias=False, rpu_config=config).eval()
            layer.set_weights(matrix)
            layer.program_analog_weights()
            layer.drift_analog_weights(T_INFERENCE_S)
            found[name] = _inference(layer, vectors)
    return found


def _lightning(matrix: torch.Tensor, vectors: torch.Tensor, noise: float) -> Timed:
    """Its forms. Ranges of ADCs are the columns' own where that is the faster of both."""
    configs, nn = import_module("aihwkit_lightning.simulator.configs"), import_module("aihwkit_lightning.nn")
    found: Timed = {}
    for name, dynamic, compiled in (
        ("a range a vector", True, False),
        ("a range a vector, compiled", True, True),
        ("fixed ranges", False, False),
        ("fixed ranges, compiled", False, True),
    ):
        config = configs.TorchInferenceRPUConfig()
        config.mapping.max_input_size = 256
        forward, ranges = config.forward, config.pre_post.input_range
        forward.inp_res = forward.out_res = 254
        forward.out_bound, forward.out_noise, forward.out_noise_per_channel = 12.0, noise, not dynamic
        if not dynamic:
            config.clip.type, config.clip.sigma = configs.WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL, 10.0
        ranges.enable, ranges.dynamic, ranges.fast_mode = True, dynamic, not dynamic
        ranges.learn_input_range, ranges.init_from_data, ranges.init_value = False, 0, 4.0
        layer = nn.AnalogLinear(*reversed(matrix.shape), bias=False, rpu_config=config)
        layer.set_weights(matrix)
        layer.train(noise > 0)
        # torch.compile's own deviates take four times as long as torch's.
        run: Any = layer
        if compiled:
            run = torch.compile(layer, dynamic=False, options={"fallback_random": True})
        found[name] = _inference(run, vectors)
    return found


def _inference(layer: Callable[[torch.Tensor], object], vectors: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return layer(vectors)

    return run


if __name__ == "__main__":
    main()
