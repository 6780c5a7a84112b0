"""The input vectors of a block of products, unfolded only as far as a tile needs them."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lhc.runtime.stream import Unit

__all__ = ["MatrixRows", "Part", "Products", "Vectors", "Windows", "all_rows"]


class Part(Protocol):
    """Some of the vectors of a block, one a column."""

    @property
    def count(self) -> int:
        """Vectors per group."""
        ...

    def rows(self, start: int, stop: int, factor: Tensor | None = None) -> Tensor:
        """Inputs ``start`` to ``stop`` of all vectors, ``(groups, stop - start, count)``, float32; a copy.

        Args:
            start: first input.
            stop: behind the last one.
            factor: multiplies every vector, ``(groups, 1, count)``.
        """
        ...


class Vectors(Protocol):
    """Vectors of a block, for one or more groups."""

    @property
    def groups(self) -> int:
        """How many groups."""
        ...

    @property
    def count(self) -> int:
        """Vectors per group."""
        ...

    def peaks(self, start: int, stop: int) -> Tensor:
        """Greatest magnitude of inputs ``start`` to ``stop`` of every vector, ``(groups, 1, count)``; a copy."""
        ...

    def converted(self, convert: Callable[[Tensor], Tensor]) -> "Vectors":
        """The vectors after an elementwise function that works in place and maps 0 to 0."""
        ...

    def parts(self, most: int) -> Sequence[Part]:
        """The vectors in consecutive parts of about ``most``; the cut depends on shapes alone."""
        ...


class Products(Protocol):
    """What multiplies: the tiles of one or more chips, or something that stands in for them."""

    @property
    def chips(self) -> int:
        """How many chips."""
        ...

    def products(self, vectors: Vectors, first_group: int, unit: Unit) -> Tensor:
        """Products with the matrices of consecutive groups.

        Args:
            vectors: inputs of these groups.
            first_group: number of the first.
            unit: fixes the noise.

        Returns:
            ``(chips, groups, outputs of a group, vectors)``; what is not wanted may be anything.
        """
        ...


class MatrixRows:
    """Rows of a matrix as vectors of one group."""

    groups = 1

    def __init__(self, x: Tensor) -> None:
        """``x``: ``(vectors, inputs)``."""
        self._x = x
        self.count = len(x)

    def peaks(self, start: int, stop: int) -> Tensor:
        return self._x[:, start:stop].abs().amax(dim=1)[None, None]

    def rows(self, start: int, stop: int, factor: Tensor | None = None) -> Tensor:
        chosen = self._x[:, start:stop]
        if factor is None:
            return chosen.clone(memory_format=torch.contiguous_format).T[None]
        return torch.mul(chosen, factor[0].T, out=torch.empty(chosen.shape)).T[None]

    def converted(self, convert: Callable[[Tensor], Tensor]) -> "MatrixRows":
        return MatrixRows(convert(self._x.clone()))

    def parts(self, most: int) -> "list[MatrixRows]":
        return [MatrixRows(part) for part in torch.split(self._x, most)]


class Windows:
    """Windows of a convolution as vectors: im2col, channels first, as the weight (O, I/groups, kernel) is flattened."""

    def __init__(self, padded: Tensor, view: Tensor, groups: int) -> None:
        """Vectors of all windows of an input.

        Args:
            padded: the input with its padding, ``(samples, groups · channels, *spatial)``, contiguous.
            view: its windows without a copy, ``(groups · channels, *kernel, samples, *positions)``.
            groups: how many groups its channels hold.
        """
        self._padded = padded
        self._view = view
        self.groups = groups
        self._sample_axis = view.ndim // 2
        self._taps = math.prod(view.shape[1 : self._sample_axis])
        self.count = math.prod(view.shape[self._sample_axis :])

    def peaks(self, start: int, stop: int) -> Tensor:
        """Over the channels first, then over the taps: a fraction of the unfolded values is read."""
        first, last = -(-start // self._taps), stop // self._taps
        found = []
        if first < last:
            channels = _grouped(self._padded, 1, self.groups)[:, :, first:last]
            highest = torch.maximum(channels.amax(dim=2), channels.amin(dim=2).neg_()).contiguous()
            found.append(self._over_taps(self._windows_of(highest), 0, self._taps))
        grouped = _grouped(self._view, 0, self.groups)
        for channel, low, high in _partial(start, stop, self._taps):
            found.append(self._over_taps(grouped[:, channel].abs(), low, high))
        result = found[0]
        for more in found[1:]:
            result = torch.maximum(result, more)
        return result

    def _over_taps(self, windows: Tensor, low: int, high: int) -> Tensor:
        return windows.reshape(self.groups, self._taps, self.count)[:, low:high].amax(dim=1, keepdim=True)

    def _windows_of(self, plane: Tensor) -> Tensor:
        """The same windows of ``(samples, groups, *spatial)``: ``(groups, *kernel, samples, *positions)``."""
        strides = list(self._view.stride())
        strides[0], strides[self._sample_axis] = plane.stride(1), plane.stride(0)
        return plane.as_strided((self.groups, *self._view.shape[1:]), strides)

    def converted(self, convert: Callable[[Tensor], Tensor]) -> "Windows":
        padded = convert(self._padded.clone())
        return Windows(padded, padded.as_strided(self._view.shape, self._view.stride()), self.groups)

    def parts(self, most: int) -> "list[WindowsPart]":
        """Of whole samples, or of whole lines of a sample."""
        axis = self._sample_axis
        positions = self.count // self._view.shape[axis]
        views = torch.split(self._view, max(1, most // positions), dim=axis)
        if positions > most:
            lines = max(1, most * self._view.shape[axis + 1] // positions)
            views = tuple(part for view in views for part in torch.split(view, lines, dim=axis + 1))
        return [WindowsPart(_grouped(view, 0, self.groups)) for view in views]


class WindowsPart:
    """Some of the windows of an input."""

    def __init__(self, view: Tensor) -> None:
        """``view``: ``(groups, channels, *kernel, samples, *positions)``."""
        self._view = view
        self._kernel_end = (view.ndim + 1) // 2
        self._taps = math.prod(view.shape[2 : self._kernel_end])
        self.count = math.prod(view.shape[self._kernel_end :])

    def rows(self, start: int, stop: int, factor: Tensor | None = None) -> Tensor:
        first, last = start // self._taps, -(-stop // self._taps)
        chosen = self._view[:, first:last]
        block = torch.empty(chosen.shape)
        if factor is None:
            block.copy_(chosen)
        else:
            ones = (1,) * (self._kernel_end - 1)
            torch.mul(chosen, factor.view(len(chosen), *ones, *chosen.shape[self._kernel_end :]), out=block)
        rows = block.view(len(chosen), -1, self.count)
        return rows[:, start - first * self._taps : stop - first * self._taps]


def _grouped(x: Tensor, axis: int, groups: int) -> Tensor:
    """A view in which an axis of channels is one of groups and one of their channels."""
    shape = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    stride = x.stride(axis)
    return x.as_strided(shape, (*x.stride()[:axis], stride * shape[axis + 1], *x.stride()[axis:]), x.storage_offset())


def all_rows(vectors: Vectors, inputs: int) -> Tensor:
    """All inputs of all vectors, ``(groups, inputs, count)``."""
    return torch.cat([part.rows(0, inputs) for part in vectors.parts(vectors.count)], dim=2)


def _partial(start: int, stop: int, taps: int) -> list[tuple[int, int, int]]:
    """Channels that rows ``start`` to ``stop`` hold in part, with their first tap and the one behind their last."""
    first, last = start // taps, (stop - 1) // taps
    if first == last:
        return [] if stop - start == taps else [(first, start % taps, start % taps + stop - start)]
    found = [(first, start % taps, taps)] if start % taps else []
    return found + ([(last, 0, stop % taps)] if stop % taps else [])
