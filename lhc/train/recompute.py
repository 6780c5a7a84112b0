"""A tensor that a gradient needs, made again for it instead of kept: a chip's weights are as large as its own."""

from collections.abc import Callable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

__all__ = ["recomputed"]

_Saved = Tensor | tuple[tuple[int, ...], tuple[int, ...], int]
"""A tensor that is kept, or how a view of the one that is made again lies in it: shape, strides, offset."""


def recomputed(tensor: Tensor, make: Callable[[], Tensor]) -> saved_tensors_hooks:
    """Context in which a tensor is computed again for its gradient instead of kept.

    Args:
        tensor: has no gradient itself.
        make: makes the same tensor, in the same layout.
    """
    memory = tensor.untyped_storage().data_ptr()

    def keep(saved: Tensor) -> _Saved:
        if saved.untyped_storage().data_ptr() != memory:
            return saved
        return tuple(saved.shape), saved.stride(), int(saved.storage_offset())

    def give(kept: _Saved) -> Tensor:
        return kept if isinstance(kept, Tensor) else make().as_strided(*kept)

    return saved_tensors_hooks(keep, give)
