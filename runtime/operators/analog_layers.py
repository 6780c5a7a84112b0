"""Analog layers: Conv, Gemm and MatMul as matrix-vector products on tiles, with the rest of the operator digital."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from lhc.errors import UsageError
from lhc.graph import Layer
from lhc.hardware import Hardware
from lhc.onnx_io.operators.matrix_product import Product
from lhc.programmed_matrix import Correction, Floats
from lhc.runtime.engines.protocol import Digital, Position, Products
from lhc.runtime.operators.epilogue import Epilogue, Following
from lhc.runtime.operators.im2col import turned, window_peaks
from lhc.runtime.operators.operand_shapes import OperandShapes
from lhc.runtime.operators.sample_axes import SamplePlace
from lhc.runtime.tiles.analog_matrix import AnalogMatrix
from lhc.runtime.torch_settings import isolated

Array = npt.NDArray[Any]


class AnalogLayer(ABC):
    """One operator whose product runs on tiles. Holds no programmed state."""

    def __init__(
        self,
        form: Product,
        layer: Layer,
        weight: Array,
        use: int,
        epilogue: Epilogue | None = None,
        place: SamplePlace | None = None,
    ) -> None:
        """Describe the operator.

        Args:
            layer: its facts; the weight must be known.
            use: number of this node among those that share the weight's devices.
            epilogue: digital operators that a placed network computes with it.
            place: of the samples in its activation; one after the other on the first axis by default.
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
        self.epilogue = epilogue
        self._place = place
        self._weight_axes = weight.ndim
        self._matrix = form.matrix(weight)
        self._operands = OperandShapes(form, layer)

    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that it reads, and of the one that the operator writes."""
        return self.activation, *self.digital_inputs, self.output

    @property
    def written(self) -> str:
        """The tensor that a placed network has from it."""
        return self.output if self.epilogue is None else self.epilogue.output

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Inputs of one product, and outputs of one group."""
        return self._matrix.shape[1], len(self._matrix) // self.groups

    def map_onto(self, hardware: Hardware, ranges: Sequence[float] | None = None, copies: int = 1) -> AnalogMatrix:
        """This layer's matrix on tiles, of whichever chip.

        Args:
            hardware: that of the layer.
            ranges: static input range of each row split, where the hardware has them.
            copies: of every weight.

        Raises:
            UsageError: the hardware has static input ranges and none are given, or other ones.
        """
        if hardware.needs_calibration and ranges is None:
            raise UsageError(
                f"layer {self.name!r} on hardware {hardware.name!r} needs calibration data: its tiles have static input"
                " ranges; give samples, or a model that was partitioned for this hardware"
            )
        columns = hardware.adc.columns
        if columns is not None and len(columns) != len(self._matrix):
            raise UsageError(
                f"layer {self.name!r} has {len(self._matrix)} outputs, and adc.columns {len(columns)} ranges; partition"
                " the model for this hardware"
            )
        if hardware.adc.to_calibrate:
            raise UsageError(
                f"layer {self.name!r} on hardware {hardware.name!r} needs calibration data: the range of its ADCs is"
                " calibrated (adc.range); give samples, or a model that was partitioned for this hardware"
            )
        if hardware.dac.to_calibrate:
            raise UsageError(
                f"layer {self.name!r} on hardware {hardware.name!r} needs calibration data: whether its inputs have"
                " signs is found there (dac.signs); give samples, or a model that was partitioned for this hardware"
            )
        splits = -(-self._matrix.shape[1] // hardware.tiles.rows)
        if hardware.needs_calibration and ranges is not None and len(ranges) != splits:
            raise UsageError(
                f"layer {self.name!r} takes {splits} tiles in height on hardware {hardware.name!r} and has"
                f" {len(ranges)} static input ranges, which were calibrated on other hardware; give samples, or"
                " partition the model for this hardware"
            )
        return AnalogMatrix(self._matrix, self.groups, hardware, self.devices, ranges, copies)

    def run(
        self,
        matrix: Products,
        x: Array,
        extra: Array | None,
        position: Position,
        corrections: Sequence[Correction | None] | None = None,
        following: Following | None = None,
    ) -> list[Array]:
        """The operator's output on every chip.

        Args:
            extra: bias of a Conv, C of a Gemm; added digitally.
            corrections: of every chip; none where they are not calibrated.
            following: what its epilogue does with the output.

        Raises:
            DataError: the activation, or what is added, does not fit the operator.
        """
        self._operands.check(x.shape, None if extra is None else extra.shape)
        with isolated():
            return self._on_chips(matrix, x, extra, position, corrections, following)

    def _on_chips(
        self,
        matrix: Products,
        x: Array,
        extra: Array | None,
        position: Position,
        corrections: Sequence[Correction | None] | None,
        following: Following | None,
    ) -> list[Array]:
        values = torch.from_numpy(np.require(x, requirements=["C", "W"])).to(torch.float32)
        digital = None if 0 in x.shape else self._digital(matrix, extra, corrections)
        if following is not None and digital is not None and self._takes_epilogue(matrix, x, following):
            digital, following = following.after(digital), None
        chips = self._run(matrix, values, position, digital)
        completed: Iterable[Array] = chips.numpy()
        if digital is None:
            of_chips = (None,) * len(chips) if corrections is None else corrections
            completed = (self.completed(output, extra, c) for output, c in zip(completed, of_chips, strict=True))
        if following is not None:
            completed = map(following.of, completed)
        # np.ascontiguousarray would make a scalar a vector.
        return [np.asarray(output, dtype=x.dtype, order="C") for output in completed]

    def _digital(
        self, matrix: Products, extra: Array | None, corrections: Sequence[Correction | None] | None
    ) -> Digital | None:
        """Digital rest for an engine that applies it itself; None where the engine does not."""
        known = [c for c in corrections or () if c is not None]
        if not matrix.completes or not self._takes(extra) or 0 < len(known) < matrix.chips:
            return None
        numbers = np.zeros((matrix.chips, 3, len(self._matrix)), np.float32)
        for chip, correction in zip(numbers, known, strict=False):
            chip[0], chip[1] = correction.gain, correction.offset
        if extra is not None:
            numbers[:, 2] = extra
        return Digital(numbers.reshape(-1), bool(known), extra is not None)

    @abstractmethod
    def _takes(self, extra: Array | None) -> bool:
        """Whether what multiplies can do what is digital about the operator, with what is added."""

    def _takes_epilogue(self, matrix: Products, x: Array, following: Following) -> bool:
        """Whether it can do what follows as well."""
        return False

    def completed(self, output: Array, extra: Array | None, correction: Correction | None) -> Array:
        """Outputs with a chip's correction and then the bias."""
        if correction is not None:
            gain, offset = (self.form.per_output(v, output.ndim) for v in (correction.gain, correction.offset))
            output = output * gain
            output += offset
        return self._add(output, extra)

    def before_bias(self, output: Array, extra: Array | None = None) -> Array:
        """The products, from the operator's output."""
        if extra is None:
            return output
        added = self._add(np.zeros_like(output), extra)
        with np.errstate(invalid="ignore"):  # infinite outputs less infinite biases are none
            return np.subtract(output, added, out=added)

    def by_output(self, output: Array) -> Array:
        """The operator's output as ``(outputs of the matrix, ...)``, where it lies."""
        if len(self._matrix) == 1:
            return output.reshape(1, -1)
        return np.moveaxis(output, self.form.output_axis(output.ndim), 0)

    def peaks(self, x: Array) -> Floats:
        """Greatest magnitude of every input vector, ``(groups, values)``; values in the order of `by_output`.

        Raises:
            DataError: the activation does not fit the operator.
        """
        self._operands.check(x.shape, None)
        return self._peaks(torch.from_numpy(np.require(x, requirements=["C", "W"])).to(torch.float32))

    @abstractmethod
    def _peaks(self, x: Tensor) -> Floats: ...

    @abstractmethod
    def _run(self, matrix: Products, x: Tensor, position: Position, digital: Digital | None) -> Tensor:
        """The products, ``(chips, ...)`` with the shape of the operator's output; completed on request."""

    def _add(self, output: Array, extra: Array | None) -> Array:
        return output if extra is None else _sum(output, extra)


class AnalogConv(AnalogLayer):
    """Conv: every output position is one product per group."""

    def __init__(
        self,
        form: Product,
        layer: Layer,
        weight: Array,
        use: int,
        epilogue: Epilogue | None = None,
        place: SamplePlace | None = None,
    ) -> None:
        super().__init__(form, layer, weight, use, epilogue, place if place is not None and place.axis == 0 else None)
        assert form.window is not None
        self._geometry = form.window

    def _peaks(self, x: Tensor) -> Floats:
        return window_peaks(x, self._geometry).transpose(0, 1).reshape(self.groups, -1).numpy()

    def _takes(self, extra: Array | None) -> bool:
        return extra is None or extra.dtype == np.float32

    def _takes_epilogue(self, matrix: Products, x: Array, following: Following) -> bool:
        shape = (len(x), len(self._matrix), *self._geometry.output_sizes(tuple(x.shape[2:])))
        return matrix.completes_epilogue and following.fits(shape) and self._place is None

    def _run(self, matrix: Products, x: Tensor, position: Position, digital: Digital | None) -> Tensor:
        if 0 in x.shape:
            return x.new_zeros(
                (matrix.chips, len(x), len(self._matrix), *self._geometry.output_sizes(tuple(x.shape[2:])))
            )
        if self._place is None or not self._place.fits(x.shape, position.samples):
            return matrix.convolve(x, self._geometry, position, self.use, digital)
        images = self._place.samples_first(x, position.samples)
        found = matrix.convolve(images.flatten(0, 2), self._geometry, position, self.use, digital)
        return self._place.as_it_was(found.reshape(len(found), *images.shape[:3], *found.shape[2:]))

    def _add(self, output: Array, extra: Array | None) -> Array:
        return output if extra is None else _sum(output, self.form.per_output(extra, output.ndim))


class AnalogMatMul(AnalogLayer):
    """MatMul and Gemm: every row of the activation is one product (every column, with the weight on the left)."""

    def _peaks(self, x: Tensor) -> Floats:
        rows = x if x.ndim == 1 else turned(x, self.form.reads_columns)
        return rows.abs().amax(-1).reshape(1, -1).numpy()

    def _takes(self, extra: Array | None) -> bool:
        return extra is None and self.form.alpha == 1

    def _run(self, matrix: Products, x: Tensor, position: Position, digital: Digital | None) -> Tensor:
        vector = x.ndim == 1
        rows = x.reshape(1, -1) if vector else turned(x, self.form.reads_columns)
        if rows.numel() == 0:
            products = rows.new_zeros((matrix.chips, *rows.shape[:-1], len(self._matrix)))
        else:
            place = self._place_of_rows(rows, position.samples)
            ordered = rows if place is None else place.samples_first(rows, position.samples)
            products = matrix.multiply(ordered, position, self.use, digital)
            products = products if place is None else place.as_it_was(products)
        products = products if self.form.alpha == 1 else products * self.form.alpha
        if self._weight_axes == 1:
            return products[:, 0, 0] if vector else products[..., 0]
        return products[:, 0] if vector else turned(products, self.form.writes_columns)

    def _place_of_rows(self, rows: Tensor, samples: int) -> SamplePlace | None:
        """The place of samples in the rows that are multiplied; None where they are first as they are."""
        place, last = self._place, rows.ndim - 1
        if place is None:
            return None
        if self.form.reads_columns and place.axis >= last - 1:
            place = SamplePlace(2 * last - 1 - place.axis, place.before)
        first = place == SamplePlace() or place.axis == last or not place.fits(rows.shape, samples)
        return None if first else place

    def _add(self, output: Array, extra: Array | None) -> Array:
        if extra is None:
            return output
        return _sum(output, np.float32(self.form.beta) * extra)


def _sum(output: Array, extra: Array) -> Array:
    """The sum; in place of the output where that is of the same type."""
    return np.add(output, extra, out=output if extra.dtype == output.dtype else None)


def analog_layer(
    node: onnx.NodeProto,
    layer: Layer,
    weight: Array,
    use: int = 0,
    epilogue: Epilogue | None = None,
    place: SamplePlace | None = None,
) -> AnalogLayer:
    """The analog form of a Conv, Gemm or MatMul with a constant weight."""
    form = Product.of_layer(node, layer)
    kind = AnalogMatMul if form.window is None else AnalogConv
    return kind(form, layer, weight, use, epilogue, place)
