"""One thread per process, and a private random generator, while lhc computes.

Spinning threads of numeric libraries have been seen to slow a run tenfold on two cores; lhc runs in parallel
over processes instead. The caller's settings and generator state are restored.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["differentiating", "isolated"]


@contextmanager
def isolated() -> Iterator[None]:
    """Run torch on one thread, without gradients, leaving the caller's generator as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def differentiating() -> Iterator[None]:
    """The same with gradients."""
    with isolated(), torch.inference_mode(False), torch.enable_grad():
        yield
