"""Curvature of the loss over the weights of single layers, as HILAL describes a layer by it.

The loss is the mean cross-entropy of the labels; H is its Hessian over one layer's weights. The trace is Hutchinson's
estimate, the mean of v · H v over random signs v (Hutchinson, Commun. Stat. 1990); the greatest eigenvalue comes from
power iteration. H v is the gradient of (gradient · v) (Pearlmutter, Neural Comput. 1994).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.onnx_model import OnnxModel
from lhc.runtime.gradients.network import DifferentiableModel, with_samples_first
from lhc.runtime.onnxruntime.sessions import Array
from lhc.runtime.torch_settings import differentiating
from lhc.samples.sample_axis import SampleAxis

PROBES = 20
ITERATIONS = 20
"""Of both estimates, as in HILAL's published code."""


@dataclass(frozen=True)
class LayerCurvature:
    """Curvature of the loss over one layer's weights.

    Attributes:
        trace: of the Hessian.
        eigenvalue: the greatest in magnitude.
        parameters: how many weights.
        largest: greatest magnitude of a weight.
    """

    trace: float
    eigenvalue: float
    parameters: int
    largest: float


@differentiating()
def loss_curvatures(
    model: OnnxModel,
    graph: LayerGraph,
    names: Sequence[str],
    feeds: Mapping[str, Array],
    labels: Array,
    output: str,
    seed: int = 0,
    sample_axis: SampleAxis = 0,
) -> dict[str, LayerCurvature]:
    """Curvatures of these layers; layers that share their weights have one.

    Args:
        labels: class of every sample, ``(samples,)``.
        output: name of the output that holds logits, ``(samples, classes)``.
        sample_axis: of that output, where samples are not first.

    Raises:
        UnsupportedOperatorError: the network has operators without a gradient.
        ModelError: the output holds whole numbers.
    """
    network = DifferentiableModel(model, graph)
    parameters = dict(network.named_parameters())
    logits = with_samples_first(network(feeds, [output])[output], sample_axis)
    if not logits.is_floating_point():
        raise ModelError(
            f"output {output!r} holds whole numbers, which have no curvature; where it is an ArgMax, give the network"
            " the scores in front of that as an output"
        )
    loss = functional.cross_entropy(logits, torch.as_tensor(np.asarray(labels, np.int64)))
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, LayerCurvature] = {}
    by_weight: dict[str, LayerCurvature] = {}
    for name in names:
        weight = graph[name].weight
        assert weight is not None
        if weight.name not in by_weight:
            by_weight[weight.name] = _curvature(loss, parameters[weight.name], generator)
        found[name] = by_weight[weight.name]
    return found


def _curvature(loss: Tensor, weight: Tensor, generator: torch.Generator) -> LayerCurvature:
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        (result,) = torch.autograd.grad(gradient, weight, vector, retain_graph=True)
        return result

    signs = (
        torch.randint(0, 2, weight.shape, generator=generator).mul(2).sub(1).to(weight.dtype) for _ in range(PROBES)
    )
    trace = sum(float((sign * product(sign)).sum()) for sign in signs) / PROBES
    vector = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    eigenvalue = 0.0
    for _ in range(ITERATIONS):
        vector = vector / vector.norm().clamp_min(1e-30)
        image = product(vector)
        eigenvalue = float((vector * image).sum())
        vector = image
    return LayerCurvature(trace, eigenvalue, weight.numel(), float(weight.detach().abs().max()))
