"""A GPU that this machine has not: tensors of the CPU that say they lie on one, and refuse what such tensors refuse.

They are computed by the CPU, so that results can be compared. What it stands for is where tensors lie: that none of the
CPU meets one of the GPU, and that none of the GPU is handed to NumPy. It knows nothing of a GPU's arithmetic, memory or
speed.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["GPU", "GpuTensor", "pretended_gpu"]

GPU = torch.device("cuda", 0)
_READ = (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__)
_ARRAYS = (torch.Tensor.numpy, torch.Tensor.__array__)
_computed_there: Counter[str] = Counter()
_INDEXED = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
_MOVES = (torch.Tensor.to, torch.Tensor.cpu)
_OF_DEVICES = (torch.device, torch._C._nn._parse_to, torch._has_compatible_shallow_copy_type)
_SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]  # it is a descriptor
_TAKE_NUMBERS = re.compile(
    "[ri]?(add|sub|mul|(true)?div|pow|and|or|xor)|fmod|remainder|maximum|minimum|eq|ne|[lg][te]|logical_(and|or|xor)"
    "|where|(masked_)?fill|setitem"
)
"""Functions of tensors of a GPU that take a number of the CPU's, a tensor without axes, by name."""


class GpuTensor(Tensor):
    """A tensor of the CPU that says it lies on the GPU."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it says it is."""
        return GPU

    def __reduce_ex__(self, protocol: Any) -> Any:  # noqa: ANN401 - torch's
        """A file holds it as a tensor of the CPU, which is what `map_location` makes of it."""
        with torch._C.DisableTorchFunction():
            return self.detach().as_subclass(Tensor).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

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
        if func in _OF_DEVICES:
            return func(*args, **kwargs)
        far = _is_far(func, args, kwargs)
        nearby = tree_map(_nearby, (tuple(args), kwargs))
        found = func(*nearby[0], **nearby[1])
        _computed_there[func.__name__] += far
        if func == _SET_DATA:  # which is how a module moves its parameters
            args[0].__class__ = _class_of(args[0], far)
        if func in _MOVES and isinstance(args[0], GpuTensor) != far:
            found = found.clone()
        return tree_map(lambda one: _told(one, far), found)


def _class_of(tensor: Tensor, far: bool) -> type[Tensor]:
    """What a tensor is that moves; parameters stay parameters."""
    if not isinstance(tensor, nn.Parameter):
        return GpuTensor if far else Tensor
    if far:
        tensor._is_param = True  # what torch knows parameters of other classes by
    return GpuTensor if far else nn.Parameter


def _is_far(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the result lies on the GPU.

    Raises:
        TypeError: as PyTorch's where a tensor of a GPU is handed to NumPy.
        RuntimeError: as where tensors of both meet.
    """
    flat, _ = tree_flatten((args, kwargs))
    devices = [one for one in flat if isinstance(one, torch.device)]
    if devices:  # of a factory, or of Tensor.to
        far = devices[0].type == "cuda"
        if far and kwargs.get("generator") is not None:
            raise RuntimeError(f"{func.__name__}: Expected a 'cuda' device type for generator but found 'cpu'")
        return far
    tensors = [one for one in flat if isinstance(one, Tensor)]
    if func in _ARRAYS and isinstance(tensors[0], GpuTensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    if func is torch.Tensor.cpu or func in _READ:
        return False
    if func in (torch.Tensor.to, _SET_DATA) and len(tensors) > 1:  # where another one lies
        return isinstance(tensors[1], GpuTensor)
    if func is torch.Tensor.copy_:
        return isinstance(args[0], GpuTensor)
    # Indices may lie on the CPU.
    operands = [one for one in ((args[0], args[-1]) if func in _INDEXED else tensors) if isinstance(one, Tensor)]
    near = [one for one in operands if not isinstance(one, GpuTensor)]
    if not near or len(near) == len(operands):
        return not near and bool(operands)
    if any(one.ndim > 0 for one in near) or not _TAKE_NUMBERS.fullmatch(func.__name__.strip("_")):
        raise RuntimeError(f"{func.__name__}: expected all tensors to be on the same device")
    return True


def _nearby(one: object) -> object:
    return torch.device("cpu") if isinstance(one, torch.device) else one


def _told(one: object, far: bool) -> object:
    if not isinstance(one, Tensor) or isinstance(one, GpuTensor) == far:
        return one
    return one.as_subclass(GpuTensor if far else Tensor)


@contextmanager
def pretended_gpu(patch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """PyTorch has a GPU, it says; how often it computes what there."""
    _computed_there.clear()
    with patch.context() as here, _Factories():
        here.setattr(torch.cuda, "is_available", lambda: True)
        here.setattr(torch.cuda, "current_device", lambda: 0)
        here.setattr(torch.cuda, "get_device_name", lambda: "GPU X")
        # A PyTorch that is built for CUDA would ask the driver whether steps of an optimiser are being recorded.
        here.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
        here.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        yield _computed_there
