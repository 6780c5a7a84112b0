"""Device that PyTorch computes on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from lhc.options.declaration.value_parsing import AskedEngine

__all__ = ["CPU", "computing_on", "device_of", "gpu_name", "made_here", "torch_device"]

CPU = torch.device("cpu")


def torch_device() -> torch.device:
    """A GPU where PyTorch has one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else CPU


def gpu_name() -> str | None:
    """Name of PyTorch's GPU; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def device_of(engine: AskedEngine) -> torch.device:
    """Where gradients are computed beside an engine: with products in PyTorch where these are, else on the CPU."""
    return torch_device() if engine == "aihwkit" else CPU


def computing_on(device: torch.device) -> AbstractContextManager[object]:
    """New tensors are made on a device, and it computes in float32; on the CPU that is so, and torch asks at calls."""
    return nullcontext() if device.type == "cpu" else _on_gpu(device)


@contextmanager
def _on_gpu(device: torch.device) -> Iterator[None]:
    # By PyTorch's default convolutions there keep 10 of a float32's 23 bits, too few to equal onnxruntime.
    rounds = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.device(device):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = rounds


def made_here(tensor: Tensor) -> Tensor:
    """A tensor of the CPU, where new ones are made."""
    return tensor.to(torch.get_default_device())
