"""What a network and its gradients are on a GPU that is pretended."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lhc.runtime.gradients.network import DifferentiableModel, parity
from tests.runtime.pretended_gpu import GPU, GpuTensor, pretended_gpu

__all__ = ["assert_same_on_gpu"]


def assert_same_on_gpu(network: DifferentiableModel, feeds: Mapping[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Nothing meets a tensor of the processor there, and all is what the processor computes."""
    expected, gradients = _answers(network, feeds)
    with pretended_gpu(patch):
        network.compute_on(GPU)
        found, there = _answers(network, feeds)
        assert isinstance(found, GpuTensor)
        assert torch.equal(found.cpu(), expected)
        assert [torch.equal(a.cpu(), b) for a, b in zip(there, gradients, strict=True)] == [True] * len(gradients)
        assert np.isfinite(list(parity(network, feeds).values())).all()


def _answers(network: DifferentiableModel, feeds: Mapping[str, Any]) -> tuple[Tensor, list[Tensor]]:
    """The first output and gradients of its squares, at weights and at inputs."""
    given = {name: torch.from_numpy(np.asarray(a)).to(network.device) for name, a in feeds.items()}
    floats = [x.requires_grad_(True) for x in given.values() if x.is_floating_point()]
    output: Tensor = next(iter(network(given).values()))
    points = [*network.parameters(), *floats]
    if not output.requires_grad:
        return output, []
    found = torch.autograd.grad(output.double().square().sum(), points, allow_unused=True)
    return output.detach(), [gradient for gradient in found if gradient is not None]  # type: ignore[redundant-expr]
