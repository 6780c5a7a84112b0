"""One thread per process, and a private random generator, while lhc computes.

Spinning threads of numeric libraries have been seen to slow a run tenfold on two cores; lhc runs in parallel
over processes instead. The caller's settings and generator state are restored.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["differentiating", "isolated"]


@contextmanager
def isolated(draws: bool = True) -> Iterator[None]:
    """Run torch on one thread, without gradients, leaving the caller's generator as it was.

    Args:
        draws: whether torch draws random numbers; to keep its generator's state takes as long as a small product.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[], enabled=draws), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def differentiating() -> Iterator[None]:
    """The same with gradients."""
    with isolated(), torch.inference_mode(False), torch.enable_grad():
        yield
