"""Errors of the products of single layers on a machine, with the digital network's inputs."""

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.onnx_model import OnnxModel
from lhc.runtime.engines.protocol import Position
from lhc.runtime.executor import HybridExecutor, Ranges
from lhc.runtime.lazy_programming import lazy_reads
from lhc.runtime.onnxruntime.activation_recorder import Observed, in_groups
from lhc.runtime.onnxruntime.sessions import Array


def product_errors(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    copies: Mapping[str, int],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    ranges: Mapping[str, Ranges],
    t_s: float,
    chips: int,
    seed: int,
) -> dict[str, float]:
    """Squared error of layers' outputs on uncalibrated chips, as a share of the outputs' own squares.

    Args:
        copies: of the weights of every layer that is of interest.
        blocks: ``(samples, feeds)``, gone through for every group of layers (`in_groups`).
        ranges: static input ranges by layer, where the hardware has them.
        t_s: seconds after the first read.
        chips: the first so many of the seed.

    Raises:
        DataError: the model does not run on these samples.
    """
    executor = HybridExecutor(model, graph, copies, ranges, copies)
    errors, squares = dict.fromkeys(copies, 0.0), dict.fromkeys(copies, 0.0)

    for some in in_groups(executor.layers, lambda layer: layer.tensors(), graph, sum(samples for samples, _ in blocks)):
        observed = Observed(model, graph, [tensor for layer in some for tensor in layer.tensors()])
        calls = [(samples, observed(feeds)) for samples, feeds in blocks]
        for chip in range(chips):
            products = lazy_reads(executor, hardware, seed, chip, t_s, (0,))[0].chips[0]
            # A layer is programmed once for all calls.
            for layer, (samples, tensors) in product(some, calls):
                (output,) = executor.run_layer(layer, tensors, products, Position(0, samples))
                right = tensors[layer.output].astype(np.float32, copy=False)
                errors[layer.name] += _square(output - right)
                squares[layer.name] += _square(right)
        del calls  # not beside those of the next layers
    return {name: errors[name] / squares[name] if squares[name] else 0.0 for name in copies}


def _square(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
