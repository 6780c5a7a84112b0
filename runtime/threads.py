"""One thread per process, a private random generator and whole single precision, while lhc computes.

Spinning threads of numeric libraries have been seen to slow a run tenfold on two cores; lhc runs in parallel
over processes instead. The caller's settings and generator state are restored.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["differentiating", "isolated"]


@contextmanager
def isolated(draws: bool = True) -> Iterator[None]:
    """Run torch on one thread, without gradients, leaving the caller's generator as it was; products are exact.

    Args:
        draws: whether torch draws random numbers; to keep its generator's state takes as long as a small product.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")  # a caller may have chosen products of 11 or 8 bits
    try:
        with torch.random.fork_rng(devices=[], enabled=draws), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@contextmanager
def differentiating() -> Iterator[None]:
    """The same with gradients."""
    with isolated(), torch.inference_mode(False), torch.enable_grad():
        yield
