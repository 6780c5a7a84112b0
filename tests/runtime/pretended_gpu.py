"""A GPU that this machine has not: tensors of the CPU that say they lie on one, and refuse what such tensors refuse.

They are computed by the CPU, so that results can be compared. What it stands for is where tensors lie: that none of the
CPU meets one of the GPU, and that none of the GPU is handed to NumPy. It knows nothing of a GPU's arithmetic, memory or
speed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["GPU", "GpuTensor", "pretended_gpu"]

GPU = torch.device("cuda", 0)
_READ = (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__)
_ARRAYS = (torch.Tensor.numpy, torch.Tensor.__array__)
_computed_there: Counter[str] = Counter()
_INDEXED = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)


class GpuTensor(Tensor):
    """A tensor of the CPU that says it lies on the GPU."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it says it is."""
        return GPU

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Compute on the CPU; see that operands lie on one device."""
        return _computed(func, args, dict(kwargs or {}))


class _Factories(TorchFunctionMode):
    """Tensors that are made on the GPU."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        return _computed(func, args, dict(kwargs or {}))


def _computed(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> object:
    with torch._C.DisableTorchFunction():
        far = _is_far(func, args, kwargs)
        nearby = tree_map(_nearby, (tuple(args), kwargs))
        found = func(*nearby[0], **nearby[1])
        _computed_there[func.__name__] += far
        return tree_map(lambda one: _told(one, far), found)


def _is_far(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the result lies on the GPU.

    Raises:
        TypeError: as PyTorch's where a tensor of a GPU is handed to NumPy.
        RuntimeError: as where tensors of both meet.
    """
    flat, _ = tree_flatten((args, kwargs))
    devices = [one for one in flat if isinstance(one, torch.device)]
    if devices:  # of a factory, or of Tensor.to
        return devices[0].type == "cuda"
    tensors = [one for one in flat if isinstance(one, Tensor)]
    if func in _ARRAYS and isinstance(tensors[0], GpuTensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    if func is torch.Tensor.cpu or func in _READ:
        return False
    # Indices may lie on the CPU, and numbers without axes.
    operands = [args[0], args[-1]] if func in _INDEXED else tensors
    places = {isinstance(one, GpuTensor) for one in operands if isinstance(one, Tensor) and one.ndim > 0}
    if len(places) > 1:
        raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
    return True in places or (not places and any(isinstance(one, GpuTensor) for one in tensors))


def _nearby(one: object) -> object:
    return torch.device("cpu") if isinstance(one, torch.device) else one


def _told(one: object, far: bool) -> object:
    if not isinstance(one, Tensor) or isinstance(one, GpuTensor) == far:
        return one
    return one.as_subclass(GpuTensor if far else Tensor)


@contextmanager
def pretended_gpu(patch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """PyTorch has a GPU, it says; how often it computes what there."""
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "current_device", lambda: 0)
    _computed_there.clear()
    with _Factories():
        yield _computed_there
