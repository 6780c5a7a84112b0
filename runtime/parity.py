"""The parity gate: without noise, quantisers and bounds, every analog operator must equal onnxruntime.

It runs the same code as the noisy emulation (unfolding, split over tiles, column scaling, partial sums, digital
bias) with the chosen hardware's geometry, and catches a wrong orientation, group order or dilation before it is
mistaken for noise.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.model import OnnxModel
from lhc.runtime.executor import HybridExecutor
from lhc.runtime.ort import Array, observe_tensors, relative_error
from lhc.runtime.stream import Position

__all__ = ["PARITY_TOLERANCE", "parity_errors", "parity_tolerance"]

PARITY_TOLERANCE = 1e-4
"""Greatest allowed error, relative to the greatest magnitude of the operator's output, in float32 and float64."""


def parity_tolerance(dtype: str) -> float:
    """The same in any float type: no less than two steps of it, since onnxruntime rounds on the way to its output.

    >>> parity_tolerance("float32"), parity_tolerance("float16")
    (0.0001, 0.001953125)
    """
    return max(PARITY_TOLERANCE, 2 * float(np.finfo(dtype).eps))


def parity_errors(
    model: OnnxModel,
    graph: LayerGraph,
    hardware: Hardware,
    names: Sequence[str],
    feeds: Mapping[str, Array],
    samples: int,
) -> dict[str, float]:
    """Error of each named layer on real inputs, relative to its output's greatest magnitude.

    Every layer is given the digital network's own activations, so errors do not add up.

    Raises:
        ModelError: a layer cannot be analog.
        DataError: the model does not run on these feeds.
    """
    executor = HybridExecutor(model, graph, names)
    machine = hardware.geometry
    chip = executor.program(machine, 0, 0)
    programmed = executor.on_chips([chip.states()], machine, 0, [0])
    products = {**programmed.together, **programmed.chips[0]}
    layers = executor.layers
    inner = {t for layer in layers for t in (layer.activation, *layer.digital_inputs, layer.output)}
    wanted = sorted(t for t in inner if graph.producer(t) is not None)
    tensors = dict(feeds) | observe_tensors(model, wanted, feeds)
    errors = {}
    for layer in layers:
        (output,) = executor.run_layer(layer, tensors, products, Position(0, samples))
        errors[layer.name] = relative_error(output, tensors[layer.output])
    return errors
