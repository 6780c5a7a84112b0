"""The input vectors of a block of products, unfolded only as far as a tile needs them."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lhc.conductances import Floats
from lhc.errors import DataError
from lhc.onnx_io.product import ConvGeometry
from lhc.runtime.kernels import greatest_of_channels, greatest_of_inputs, unfold
from lhc.runtime.stream import Unit
from lhc.runtime.unfold import window_layout

__all__ = ["Convolution", "Products", "Vectors", "rows_of_matrix", "windows"]

Integers = npt.NDArray[np.int64]

INFINITE = np.float32(np.inf)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of one or more groups, where they lie in an array: nothing is copied.

    Vectors are numbered along lines. Input k of vector n of group g is
    ``data[bases[n // width] + (n % width) * step + offsets[k] + g * group_step]``.

    Attributes:
        data: all values, ``(values,)``.
        offsets: of every input from the vector's place, ``(inputs,)``.
        groups: how many groups.
        group_step: from one group to the next.
        bases: places of the first vectors of lines, ``(lines,)``.
        width: vectors of a line.
        step: from one vector of a line to the next.
        taps: inputs of one channel, which come one after the other; 1 where there are no channels.
        channel_step: from one channel to the next.
        sample_step: from one sample to the next.
    """

    data: Floats
    offsets: Integers
    groups: int
    group_step: int
    bases: Integers
    width: int
    step: int
    taps: int = 1
    channel_step: int = 1
    sample_step: int = 1

    def check(self, inputs: int) -> None:
        """Refuse vectors that do not fit a matrix, or do not lie in the data: compiled loops do not look.

        Args:
            inputs: of the matrix.

        Raises:
            DataError: says how many inputs, or values, there are.
        """
        if len(self.offsets) != inputs:
            raise DataError(f"vectors of {len(self.offsets)} inputs do not fit a matrix that takes {inputs}")
        if self.count == 0:
            return
        first = int(self.bases.min()) + int(self.offsets.min())
        run = (self.groups - 1) * self.group_step + (self.width - 1) * self.step
        last = int(self.bases.max()) + int(self.offsets.max()) + run
        if first < 0 or last >= len(self.data):
            raise DataError(f"vectors lie at {first} to {last} of {len(self.data)}; their shape does not fit the data")

    @property
    def count(self) -> int:
        """Vectors per group."""
        return len(self.bases) * self.width

    def up_to(self, stop: int) -> "Vectors":
        """The first vectors, where they are all on one line; else all of them."""
        return replace(self, width=min(self.width, stop)) if len(self.bases) == 1 else self

    def peaks(self, start: int, stop: int) -> Floats:
        """Greatest magnitude of inputs ``start`` to ``stop`` of every vector, ``(groups, vectors)``."""
        result = np.zeros((self.groups, self.count), np.float32)
        first, last = -(-start // self.taps), stop // self.taps
        if self.taps == 1 or first >= last:
            self._raise_peaks(start, stop, result)
            return result
        planes = np.empty((len(self.data) // self.sample_step, self.groups, self.channel_step), np.float32)
        steps = (self.group_step, self.sample_step)
        greatest_of_channels(self.data, *steps, first, last - first, self.channel_step, planes)
        bases = self.bases // self.sample_step * planes[0].size + self.bases % self.sample_step
        taps = self.offsets[: self.taps]
        greatest_of_inputs(planes.reshape(-1), taps, self.channel_step, bases, self.width, self.step, result)
        self._raise_peaks(start, first * self.taps, result)
        self._raise_peaks(last * self.taps, stop, result)
        return result

    def _raise_peaks(self, start: int, stop: int, peaks: Floats) -> None:
        offsets = self.offsets[start:stop]
        greatest_of_inputs(self.data, offsets, self.group_step, self.bases, self.width, self.step, peaks)

    def unfold(
        self,
        start: int,
        stop: int,
        first: int,
        factors: Floats,
        codes: Floats,
        shift: np.float32,
        limit: np.float32,
    ) -> None:
        """Inputs ``start`` to ``stop`` of some vectors, converted; see `lhc.runtime.kernels.unfold`.

        Args:
            start: first input.
            stop: behind the last one.
            first: number of the first vector.
            factors: of every vector, ``(groups, vectors)``.
            codes: takes the result, ``(groups, stop - start, vectors)``.
            shift: rounds, or 0.
            limit: greatest magnitude.
        """
        place = (self.group_step, self.bases, self.width, self.step, first)
        unfold(self.data, self.offsets[start:stop], *place, factors, shift, codes)
        if limit < INFINITE:
            np.clip(codes, -limit, limit, out=codes)

    def rows(self) -> Tensor:
        """All vectors as they are, ``(groups, inputs, vectors)``."""
        result = np.empty((self.groups, len(self.offsets), self.count), np.float32)
        ones = np.ones((self.groups, self.count), np.float32)
        self.unfold(0, len(self.offsets), 0, ones, result, np.float32(0), INFINITE)
        return torch.from_numpy(result)

    def with_data(self, data: Floats) -> "Vectors":
        """The same places of another array."""
        return replace(self, data=data)


class Products(Protocol):
    """What multiplies: the tiles of one or more chips, or something that stands in for them."""

    @property
    def chips(self) -> int:
        """How many chips."""
        ...

    def convolution(self, geometry: ConvGeometry) -> "Convolution | None":
        """What convolves whole images by itself; None where products are made of their windows."""
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


class Convolution(Protocol):
    """A matrix that is the weights of a convolution, on one or more chips."""

    def outputs(self, items: Tensor, unit: Unit, out: Floats) -> None:
        """Convolve images.

        Args:
            items: a full unit of them, ``(samples, groups · channels, *spatial)``.
            unit: fixes the noise; what it wants are whole samples.
            out: takes the result, ``(chips, wanted samples, groups · outputs, *positions)``.
        """
        ...


def rows_of_matrix(x: Tensor) -> Vectors:
    """Rows of a matrix ``(vectors, inputs)`` as vectors of one group."""
    vectors, inputs = x.shape
    data = x.contiguous().numpy().reshape(-1)
    return Vectors(data, np.arange(inputs), 1, 0, np.zeros(1, np.int64), vectors, inputs)


def windows(image: Tensor, geometry: ConvGeometry, groups: int) -> Vectors:
    """Windows of a convolution: im2col, channels first, as the weight (O, I/groups, kernel) is flattened.

    Args:
        image: the input with its padding, ``(samples, groups · channels, *spatial)``, contiguous.
        geometry: of the convolution.
        groups: how many of its groups the channels hold.
    """
    shape, strides = window_layout(image, geometry)
    axes = len(shape) // 2
    channels = shape[0] // groups
    lines, width, step = _merged(shape[axes:], strides[axes:])
    return Vectors(
        image.numpy().reshape(-1),
        _places((channels, *shape[1:axes]), strides[:axes]),
        groups,
        channels * strides[0],
        _places(*lines),
        width,
        step,
        prod(shape[1:axes]),
        strides[0],
        strides[axes],
    )


@lru_cache(maxsize=512)
def _places(shape: tuple[int, ...], strides: tuple[int, ...]) -> Integers:
    """Places of all elements of a view, in row order."""
    result = np.zeros(1, np.int64)
    for size, stride in zip(shape, strides, strict=True):
        result = (result[:, None] + np.arange(size) * stride).reshape(-1)
    return result


def _merged(
    shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], int, int]:
    """The last axes as one line, as far as they are one: what is left of shape and strides, its width and its step."""
    rest, width, step = len(shape) - 1, shape[-1], strides[-1]
    while rest > 0 and strides[rest - 1] == width * step:
        rest -= 1
        width *= shape[rest]
    return (shape[:rest], strides[:rest]), width, step
