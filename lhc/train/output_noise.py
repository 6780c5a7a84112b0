"""Normal noise on a product's output, with the gradient of its size; the noise itself is held constant.

On the CPU compiled loops draw it (`lhc.runtime.engines.noise`), in the memory of the output, and draw it again for the
gradient: torch's generator takes five times as long, and noise that is kept as much memory as the outputs. Elsewhere
torch draws it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lhc.runtime.engines.counter_rng import deviate_terms
from lhc.runtime.engines.noise import add_noise_to_lines, noise_gradients

__all__ = ["with_noise"]


def with_noise(output: Tensor, lines: Tensor, places: Tensor) -> Tensor:
    """The output plus ``lines · places`` times standard normal deviates, whose key is of torch's global generator.

    Args:
        output: of any shape; its values, in order, are lines as long as a row of ``places``. It may be overwritten.
        lines: factor of every line.
        places: factors within a line, ``(rows, width)``: a row for as many lines that follow each other.
    """
    if output.device.type != "cpu" or output.dtype != torch.float32:
        spread = places.repeat_interleave(len(lines) // len(places), 0) * lines[:, None]
        return output + (spread * torch.randn_like(spread)).reshape(output.shape)
    if output._is_view() or not output.is_contiguous():
        output = output.clone(memory_format=torch.contiguous_format)
    noisy: Tensor = _Noise.apply(output, lines.contiguous(), places.contiguous())  # type: ignore[no-untyped-call]
    return noisy


class _Noise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, lines: Tensor, places: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        ctx.key = torch.randint(2**32, (2,)).numpy().astype(np.uint32)
        ctx.save_for_backward(lines, places)
        ctx.mark_dirty(output)
        values = output.detach().numpy().reshape(len(lines), -1)
        add_noise_to_lines(values, lines.detach().numpy(), places.detach().numpy(), ctx.key, deviate_terms(1.0))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        lines, places = ctx.saved_tensors
        of_lines, of_places = torch.empty_like(lines), torch.zeros_like(places)
        given = gradient.contiguous().numpy().reshape(len(lines), -1)
        found = of_lines.numpy(), of_places.numpy()
        noise_gradients(given, lines.detach().numpy(), places.detach().numpy(), ctx.key, deviate_terms(1.0), *found)
        return gradient, of_lines, of_places
