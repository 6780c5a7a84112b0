"""Analog operators: Conv, Gemm and MatMul as products on tiles, with the rest of the operator digital.

Products are computed in *units*: fixed numbers of samples, the last one padded with zeros. The split depends on the
layer's shape only, so results depend neither on how the caller batches samples nor on order or memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from lhc.conductances import Correction
from lhc.errors import UsageError
from lhc.graph import Layer
from lhc.hardware import Hardware
from lhc.onnx_io.product import Product
from lhc.runtime.large_matrix import LargeMatrix, takes
from lhc.runtime.matrix import AnalogMatrix
from lhc.runtime.operand_shapes import OperandShapes
from lhc.runtime.stream import Position, Unit
from lhc.runtime.unfold import padded, turned
from lhc.runtime.vectors import Products, rows_of_matrix, windows

__all__ = ["AnalogLayer", "analog_layer"]

UNIT_VECTORS = 4096
"""Aimed number of vectors in a unit: enough for noise to be drawn in large batches."""
UNIT_SAMPLES = 64
"""Most samples in a unit."""
GROUP_VALUES = 2**18
"""Aimed number of unfolded inputs of the groups that are driven in one call, for 1024 vectors."""

Array = npt.NDArray[Any]


def _samples_per_unit(vectors_per_sample: int) -> int:
    """A power of two, so that units tile any multiple of it."""
    wanted = min(UNIT_SAMPLES, max(1, UNIT_VECTORS // max(vectors_per_sample, 1)))
    return 1 << (wanted.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class _UnitPart:
    """What a call holds of one unit.

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
    samples, first = (position.samples, position.first) if x.shape[0] % position.samples == 0 else (1, position.first)
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


class AnalogLayer(ABC):
    """One operator whose product runs on tiles. Holds no programmed state."""

    def __init__(self, form: Product, layer: Layer, weight: Array, use: int) -> None:
        """Describe the operator.

        Args:
            form: of its product.
            layer: its facts; the weight must be known.
            weight: the stored weight.
            use: number of this node among those that share the weight's devices.
        """
        assert layer.weight is not None
        self.name = layer.name
        self.use = use
        self.layer = layer
        self.tile_set = layer.weight.tile_set
        self.devices = layer.weight.devices
        self.form = form
        self.groups = form.groups
        self.activation = form.activation
        self.digital_inputs = () if form.bias is None else (form.bias,)
        self.output = layer.outputs[0]
        self._weight_axes = weight.ndim
        self._matrix = form.matrix(weight)
        self._operands = OperandShapes(form, layer)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Inputs of one product, and outputs of one group."""
        return self._matrix.shape[1], len(self._matrix) // self.groups

    def map_onto(
        self, hardware: Hardware, ranges: Sequence[float] | None = None, copies: int = 1, multiplies: bool = False
    ) -> AnalogMatrix | LargeMatrix:
        """Tiles that hold this layer's matrix, not programmed yet.

        Args:
            hardware: geometry, converters, devices.
            ranges: static input range of each row split, where the hardware has them.
            copies: of every weight.
            multiplies: the tiles themselves are to give products, as aihwkit computes them.

        Raises:
            UsageError: the hardware has static input ranges and none are given.
        """
        if hardware.needs_calibration and ranges is None:
            raise UsageError(
                f"layer {self.name!r} on hardware {hardware.name!r} needs calibration data: its tiles have static input"
                " ranges; give samples, or a model that was partitioned for this hardware"
            )
        splits = -(-self._matrix.shape[1] // hardware.tiles.rows)
        if hardware.needs_calibration and ranges is not None and len(ranges) != splits:
            raise UsageError(
                f"layer {self.name!r} takes {splits} tiles in height on hardware {hardware.name!r} and has"
                f" {len(ranges)} static input ranges, which were calibrated on other hardware; give samples, or"
                " partition the model for this hardware"
            )
        large = not multiplies and takes(self._matrix.size, hardware)
        kind = LargeMatrix if large else AnalogMatrix
        return kind(self._matrix, self.groups, hardware, self.devices, ranges, copies)

    def run(
        self,
        matrix: Products,
        x: Array,
        extra: Array | None,
        position: Position,
        corrections: Sequence[Correction | None] | None = None,
    ) -> list[Array]:
        """The operator's output on every chip.

        Args:
            matrix: programmed tiles.
            x: the activation.
            extra: bias of a Conv, C of a Gemm; added digitally.
            position: fixes the noise.
            corrections: of every chip; none where they are not calibrated.

        Raises:
            DataError: the activation, or what is added, does not fit the operator.
        """
        self._operands.check(x.shape, None if extra is None else extra.shape)
        values = torch.from_numpy(np.require(x, requirements=["C", "W"])).to(torch.float32)
        chips = self._run(matrix, values, position)
        of_chips = (None,) * len(chips) if corrections is None else corrections
        completed = (self.completed(output, extra, c) for output, c in zip(chips.numpy(), of_chips, strict=True))
        # np.ascontiguousarray would make a scalar a vector.
        return [np.asarray(output, dtype=x.dtype, order="C") for output in completed]

    def completed(self, output: Array, extra: Array | None, correction: Correction | None) -> Array:
        """What is digital about the operator: a chip's correction of its products, then its bias."""
        if correction is not None:
            gain, offset = (self.form.per_output(v, output.ndim) for v in (correction.gain, correction.offset))
            output = output * gain + offset
        return self._add(output, extra)

    def before_bias(self, output: Array, extra: Array | None = None) -> Array:
        """The products, from the operator's output."""
        return output if extra is None else output - self._add(np.zeros_like(output), extra)

    def by_output(self, output: Array) -> Array:
        """The operator's output as ``(outputs of the matrix, values)``."""
        if len(self._matrix) == 1:
            return output.reshape(1, -1)
        return np.moveaxis(output, self.form.output_axis(output.ndim), 0).reshape(len(self._matrix), -1)

    @abstractmethod
    def _run(self, matrix: Products, x: Tensor, position: Position) -> Tensor:
        """The products, ``(chips, ...)`` with the shape of the operator's output."""

    def _add(self, output: Array, extra: Array | None) -> Array:
        return output if extra is None else _sum(output, extra)


class AnalogConv(AnalogLayer):
    """Conv: every output position is one product per group."""

    def __init__(self, form: Product, layer: Layer, weight: Array, use: int) -> None:
        super().__init__(form, layer, weight, use)
        assert form.window is not None
        self._geometry = form.window

    def _run(self, matrix: Products, x: Tensor, position: Position) -> Tensor:
        out = self._geometry.output_sizes(tuple(x.shape[2:]))
        positions = int(np.prod(out))
        if 0 in x.shape:
            return x.new_zeros((matrix.chips, len(x), len(self._matrix), *out))

        convolution = matrix.convolution(self._geometry)
        result = x.new_empty((matrix.chips, len(x), len(self._matrix), *out))
        for block in _in_units(x, position, positions):
            unit, target = Unit(block.number, block.wanted, self.use), result[:, block.place]
            if convolution is not None:
                convolution.outputs(block.items, unit, target.numpy())
                continue
            outputs = self._products(matrix, block.items, out, unit)
            outputs = outputs.view(*outputs.shape[:2], len(block.items), *out).transpose(1, 2)
            target.copy_(outputs[:, block.own])
        return result

    def _products(self, matrix: Products, items: Tensor, out: tuple[int, ...], unit: Unit) -> Tensor:
        """Products of all groups, ``(chips, outputs, vectors)``."""
        channels = items.shape[1] // self.groups
        together = max(1, GROUP_VALUES // (1024 * self.matrix_shape[0]))
        blocks = []
        for first in range(0, self.groups, together):
            count = min(together, self.groups - first)
            image = padded(items[:, first * channels : (first + count) * channels], self._geometry)
            vectors = windows(image, self._geometry, count)
            blocks.append(matrix.products(vectors, first, unit).flatten(1, 2))
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)

    def _add(self, output: Array, extra: Array | None) -> Array:
        return output if extra is None else _sum(output, self.form.per_output(extra, output.ndim))


class AnalogMatMul(AnalogLayer):
    """MatMul and Gemm: every row of the activation is one product (every column, with the weight on the left)."""

    def _run(self, matrix: Products, x: Tensor, position: Position) -> Tensor:
        vector = x.ndim == 1
        rows = x.reshape(1, -1) if vector else turned(x, self.form.reads_columns)
        if rows.numel() == 0:
            products = rows.new_zeros((matrix.chips, *rows.shape[:-1], len(self._matrix)))
        else:
            products = self._products(matrix, rows, position)
        products = products if self.form.alpha == 1 else products * self.form.alpha
        if self._weight_axes == 1:
            return products[:, 0, 0] if vector else products[..., 0]
        return products[:, 0] if vector else turned(products, self.form.writes_columns)

    def _products(self, matrix: Products, rows: Tensor, position: Position) -> Tensor:
        result = rows.new_empty((matrix.chips, *rows.shape[:-1], len(self._matrix)))
        for block in _in_units(rows, position, int(np.prod(rows.shape[1:-1]))):
            items = block.items
            vectors = rows_of_matrix(items.reshape(-1, items.shape[-1]))
            products = matrix.products(vectors, 0, Unit(block.number, block.wanted, self.use))[:, 0]
            # Of a unit that a call fills in part, only that part is laid out anew.
            wanted = products[:, :, block.wanted.start : block.wanted.stop].transpose(1, 2)
            result[:, block.place] = wanted.reshape(len(products), -1, *items.shape[1:-1], products.shape[1])
        return result

    def _add(self, output: Array, extra: Array | None) -> Array:
        if extra is None:
            return output
        return _sum(output, np.float32(self.form.beta) * extra)


def _sum(output: Array, extra: Array) -> Array:
    """The sum; in place of the output where that is of the same type."""
    return np.add(output, extra, out=output if extra.dtype == output.dtype else None)


def analog_layer(node: onnx.NodeProto, layer: Layer, weight: Array, use: int = 0) -> AnalogLayer:
    """The analog form of a Conv, Gemm or MatMul with a constant weight."""
    form = Product.of_layer(node, layer)
    kind = AnalogMatMul if form.window is None else AnalogConv
    return kind(form, layer, weight, use)
