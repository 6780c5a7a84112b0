"""PyTorch while lhc computes: the device, one thread a process, and random numbers that seeds alone fix.

Spinning threads of numeric libraries have been seen to slow a run tenfold on two cores; lhc runs in parallel over
processes instead. The caller's settings and the caller's random numbers are as they were afterwards.

Settings and generator belong to the whole process. Sessions may compute in several threads at a time: the settings
are kept until the last of them is done, and the generator is used by one thread at a time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from lhc.options.declaration.value_parsing import AskedEngine
from lhc.seeds import GENERATOR_LOCK

CPU = torch.device("cpu")


def torch_device() -> torch.device:
    """A GPU where PyTorch has one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else CPU


def gpu_name() -> str | None:
    """Name of PyTorch's GPU; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def device_of(engine: AskedEngine) -> torch.device:
    """Device of gradients beside an engine: that of products in PyTorch, else the CPU."""
    return torch_device() if engine == "aihwkit" else CPU


def computing_on(device: torch.device) -> AbstractContextManager[object]:
    """New tensors are made on a device, and it computes in float32; on the CPU that is so, and torch asks at calls."""
    return nullcontext() if device.type == "cpu" else _on_gpu(device)


def making_on_cpu() -> AbstractContextManager[object]:
    """New tensors are made on the CPU, whatever the caller computes on; where that is so, torch is not asked at calls.

    A context of torch's for a device costs some microseconds at every call of torch inside it.
    """
    return nullcontext() if torch.get_default_device().type == "cpu" else CPU


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
    """The tensor on the device where new tensors are made."""
    return tensor.to(torch.get_default_device())


class _Settings:
    """torch's number of threads and precision of products, as long as anybody computes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._here = threading.local()  # the number of threads is one of every thread
        self._before = (1, "highest")

    def take(self) -> None:
        """One more computes."""
        with self._lock:
            if self._users == 0:
                self._before = torch.get_num_threads(), torch.get_float32_matmul_precision()
                torch.set_float32_matmul_precision("highest")  # a caller may have chosen products of 11 or 8 bits
            self._users += 1
        self._here.depth = getattr(self._here, "depth", 0) + 1
        if self._here.depth == 1:
            torch.set_num_threads(1)

    def give_back(self) -> None:
        """One less does."""
        self._here.depth -= 1
        if self._here.depth == 0:
            torch.set_num_threads(self._before[0])
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_float32_matmul_precision(self._before[1])


_SETTINGS = _Settings()


@contextmanager
def isolated() -> Iterator[None]:
    """Run torch on one thread, without gradients, with products in whole single precision."""
    _SETTINGS.take()
    try:
        with torch.inference_mode():
            yield
    finally:
        _SETTINGS.give_back()


@contextmanager
def differentiating() -> Iterator[None]:
    """Run torch on one thread, with gradients, with products in whole single precision."""
    with isolated(), torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def seeded_generator(devices: Sequence[torch.device] = ()) -> Iterator[Callable[[int], object]]:
    """Draw from torch's global generator, of which no other thread's draws take part; gives what seeds it.

    The caller's numbers go on behind it as if nothing had been drawn.

    Args:
        devices: GPUs whose generators are seeded too.
    """
    with GENERATOR_LOCK, torch.random.fork_rng(devices=list(devices)):
        yield torch.manual_seed if devices else torch.default_generator.manual_seed
