"""Products computed in whole units of samples, for engines whose noise cannot begin anywhere.

A *unit* is a fixed number of samples, the last one padded with zeros. It depends on the layer's shape only, so results
depend neither on how the caller batches samples nor on order or memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.engines.protocol import Digital
from lhc.runtime.operators.im2col import padded, window_layout
from lhc.runtime.position_in_sample_stream import Position, Unit

UNIT_VECTORS = 4096
"""Aimed number of vectors in a unit: enough for noise to be drawn in large batches."""
UNIT_SAMPLES = 64
"""Most samples in a unit."""
GROUP_VALUES = 2**18
"""Aimed number of unfolded inputs of the groups that are driven in one call, for 1024 vectors."""


def _samples_per_unit(vectors_per_sample: int) -> int:
    """A power of two, so that units tile any multiple of it."""
    wanted = min(UNIT_SAMPLES, max(1, UNIT_VECTORS // max(vectors_per_sample, 1)))
    return 1 << (wanted.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class _UnitPart:
    """Part of a unit of samples that one call holds.

    Attributes:
        items: the full unit; what the call does not hold of it is zero.
        number: of the unit.
        wanted: vectors of the unit that the call holds.
        own: items of the unit that the call holds.
        place: where they are among the items of the call.
    """

    items: Tensor
    number: int
    wanted: range
    own: slice
    place: slice


def _in_units(x: Tensor, position: Position, vectors: int) -> Iterator[_UnitPart]:
    """Cut a call into fixed units of its first axis.

    Args:
        x: ``(items, ...)``; every sample has the same number of items, or else the call counts as one sample.
        position: of the call.
        vectors: products that one item takes.
    """
    samples, first = position.of(len(x))
    items = x.shape[0] // samples
    per_unit = _samples_per_unit(items * vectors)
    for unit in range(first // per_unit, -(-(first + samples) // per_unit)):
        start, stop = max(unit * per_unit, first), min((unit + 1) * per_unit, first + samples)
        place = slice((start - first) * items, (stop - first) * items)
        before = (start - unit * per_unit) * items
        own = slice(before, before + place.stop - place.start)
        block = x[place]
        if block.shape[0] < per_unit * items:
            block = block.new_zeros((per_unit * items, *block.shape[1:]))
            block[own] = x[place]
        yield _UnitPart(block, unit, range(own.start * vectors, own.stop * vectors), own, place)


class ProductsByUnit(ABC):
    """One chip, whose products are computed unit by unit."""

    chips = 1
    completes = completes_epilogue = False

    @abstractmethod
    def products(self, vectors: Tensor, first_group: int, unit: Unit) -> Tensor:
        """Products with the matrices of consecutive groups.

        Args:
            vectors: of these groups, ``(groups, inputs, vectors)``.
            first_group: number of the first.
            unit: fixes the noise.

        Returns:
            ``(groups, outputs of a group, vectors)``; what is not wanted may be anything.
        """

    def convolve(
        self, x: Tensor, geometry: ConvGeometry, position: Position, use: int, digital: Digital | None = None
    ) -> Tensor:
        """See `Products`."""
        out = geometry.output_sizes(tuple(x.shape[2:]))
        results = []
        for block in _in_units(x, position, prod(out)):
            unit, images = Unit(block.number, block.wanted, use), len(block.items)
            outputs = self._windows(block.items, geometry, unit).view(-1, images, *out).transpose(0, 1)
            results.append(outputs[block.own])
        return torch.cat(results)[None]

    def _windows(self, items: Tensor, geometry: ConvGeometry, unit: Unit) -> Tensor:
        """Products of all groups, ``(outputs, vectors)``."""
        channels = items.shape[1] // geometry.groups
        inputs = channels * prod(geometry.kernel)
        together = max(1, GROUP_VALUES // (1024 * inputs))
        blocks = []
        for first in range(0, geometry.groups, together):
            count = min(together, geometry.groups - first)
            image = padded(items[:, first * channels : (first + count) * channels], geometry)
            windows = image.as_strided(*window_layout(image, geometry)).reshape(count, inputs, -1)
            blocks.append(self.products(windows, first, unit).flatten(0, 1))
        return torch.cat(blocks)

    def multiply(self, rows: Tensor, position: Position, use: int, digital: Digital | None = None) -> Tensor:
        """See `Products`."""
        results = []
        for block in _in_units(rows, position, prod(rows.shape[1:-1])):
            vectors = block.items.reshape(-1, rows.shape[-1]).T[None]
            products = self.products(vectors, 0, Unit(block.number, block.wanted, use))[0]
            results.append(products.T.reshape(*block.items.shape[:-1], len(products))[block.own])
        return torch.cat(results)[None]
