"""Deviates of the counter-based generator, by compiled loops on a processor and by PyTorch elsewhere.

This is the door to the loops of the sealed engine for what is not of it: the engine ``aihwkit``, and training.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lhc.runtime.engines.compiled.kernels.deviates import (
    PITCH,
    add_noise_to_lines,
    fill_deviates,
    noise_gradients,
)
from lhc.runtime.engines.counter_rng import OutputPlaces, Words, deviate_table, deviate_terms, threefry

__all__ = ["add_noise_to_lines", "noise_gradients", "standard_deviates"]


def standard_deviates(
    k0: Words, k1: Words, places: Words, outputs: OutputPlaces, size: int, device: torch.device
) -> Tensor:
    """Standard deviates of the outputs of a matrix for some vectors.

    Args:
        k0: first words of the keys of every vector, ``(chips, vectors)``.
        k1: second words.
        places: of vectors in their samples, ``(vectors,)``.
        outputs: where the noise of outputs is drawn.
        size: how many outputs there are.
        device: where the result lies.

    Returns:
        ``(chips, outputs, vectors)``.
    """
    if device.type != "cpu":
        return _on_device(k0, k1, places, outputs, size, device)
    chips, vectors = k0.shape
    more = -vectors % PITCH
    found = torch.empty((chips, size, vectors))
    fill_deviates(
        np.ascontiguousarray(np.pad(k0, ((0, 0), (0, more)))),
        np.ascontiguousarray(np.pad(k1, ((0, 0), (0, more)))),
        np.pad(places, (0, more)),
        outputs.counters.astype(np.uint32),
        outputs.outputs.reshape(-1),
        deviate_terms(1.0),
        vectors,
        found.numpy(),
    )
    return found


def _on_device(k0: Words, k1: Words, places: Words, outputs: OutputPlaces, size: int, device: torch.device) -> Tensor:
    """The same on tensors of 64-bit words."""
    keys = [torch.from_numpy(key.astype(np.int64)).to(device)[:, None] for key in (k0, k1)]
    place = torch.from_numpy(places.astype(np.int64)).to(device)
    words = threefry(keys[0], keys[1], place, torch.from_numpy(outputs.counters).to(device)[:, None])
    quarters = torch.cat([*(word >> 16 for word in words), *(word & 0xFFFF for word in words)], 1)
    counter, quarter = np.nonzero(outputs.outputs >= 0)
    order = np.empty(size, np.int64)
    order[outputs.outputs[counter, quarter]] = quarter * len(outputs.counters) + counter
    return _table(device)[quarters[:, torch.from_numpy(order).to(device)]]


@lru_cache(maxsize=4)
def _table(device: torch.device) -> Tensor:
    return torch.from_numpy(deviate_table(deviate_terms(1.0))).to(device)
