"""Analog products in training: the ordinary operator, with the errors of tiles put on top.

Weights carry a chip's errors (`lhc.train.chip_noise`). The output gets normal noise as large as a tile's output noise
and the rounding of its converters together, for every vector in proportion to its own input scale. With d and a the
steps of DAC and ADC, s the input scale, c the scales of a column's row splits, and rounding errors taken as uniform,

    variance = s² · ((noise² + a²/12) · |c|² + d²/12 · |w|²)

(noise² + a²/12 of all reads together, where inputs are driven in slices; c times the conductance of the column, where
voltages are sensed: `lhc.hardware.converters`). It has a gradient with respect to weights and
static ranges; the input scales of single vectors are held constant. Read noise of products
(`lhc.hardware.circuits.currents`) is drawn beside it with variance read_noise² Σ_j c_j |w_j| x_j², or read_noise² Σ_j
c_j² x_j² / k where it is constant; its size has no gradient.

With k copies of the weights on n tiles for a row split, c is the scale times √n / k. Where chips are calibrated, the
output is corrected as theirs is: each column gets the mean (and deviation) that it has without errors. They are taken
at reads of a calibration, since those of inference have read noise of their own, and on a part of the vectors: every
other position along every axis of a convolution's output where these are many, else every other sample of the batch.

Where the hardware's input ranges are static, inputs are clipped to them, and the ranges are trained: a smaller range
clips more and brings less noise. Left out are what saturates at the ADC and IR drop; evaluations have them.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lhc.graph import Layer
from lhc.hardware import Hardware
from lhc.hardware.converters import column_totals
from lhc.hardware.tile_geometry import split_sizes
from lhc.onnx_io.operators.matrix_product import Product
from lhc.runtime.calibration.chip_outputs import GREATEST_GAIN
from lhc.runtime.engines.counter_rng import deviate_terms
from lhc.runtime.engines.noise import add_noise_to_lines, noise_gradients
from lhc.runtime.gradients.network import OPERATORS
from lhc.runtime.gradients.operators.elementwise import Operator
from lhc.runtime.gradients.operators.neural import convolution
from lhc.runtime.operators.im2col import turned, window_peaks
from lhc.train.chip_noise import DrawnMatrix, KeyedMatrix, by_input, column_scales


def with_noise(output: Tensor, lines: Tensor, places: Tensor) -> Tensor:
    """The output plus ``lines · places`` times standard normal deviates, whose key is of torch's global generator.

    On the CPU compiled loops draw the noise (`lhc.runtime.engines.noise`), in the memory of the output, and draw it
    again for the gradient: torch's generator takes five times as long, and noise that is kept as much memory as the
    outputs. Elsewhere torch draws it.

    Args:
        output: of any shape; its values, in order, are lines as long as a row of ``places``. It may be overwritten.
        lines: factor of every line.
        places: factors within a line, ``(rows, width)``: a row for as many lines that follow each other.
    """
    if output.device.type != "cpu" or output.dtype != torch.float32:
        spread = places.repeat_interleave(len(lines) // len(places), 0) * lines[:, None]
        return output + (spread * torch.randn_like(spread)).reshape(output.shape)
    if output._is_view() or not output.is_contiguous():
        output = output.clone(memory_format=torch.contiguous_format)
    noisy: Tensor = _Noise.apply(output, lines.contiguous(), places.contiguous())  # type: ignore[no-untyped-call]
    return noisy


class _Noise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, lines: Tensor, places: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        ctx.key = torch.randint(2**32, (2,)).numpy().astype(np.uint32)
        ctx.save_for_backward(lines, places)
        ctx.mark_dirty(output)
        values = output.detach().numpy().reshape(len(lines), -1)
        add_noise_to_lines(values, lines.detach().numpy(), places.detach().numpy(), ctx.key, deviate_terms(1.0))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        lines, places = ctx.saved_tensors
        of_lines, of_places = torch.empty_like(lines), torch.zeros_like(places)
        given = gradient.contiguous().numpy().reshape(len(lines), -1)
        found = of_lines.numpy(), of_places.numpy()
        noise_gradients(given, lines.detach().numpy(), places.detach().numpy(), ctx.key, deviate_terms(1.0), *found)
        return gradient, of_lines, of_places


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


_LEAST_VARIANCE = 1e-24
_MANY = 16
"""Positions along every axis of a convolution's output of which every other one will do to correct it."""


class TrainingProduct:
    """One analog Conv, Gemm or MatMul in training.

    Attributes:
        form: what the operator computes.
        strength: share of the full noise, 0 to 1.
        drawn: the chip of this step; where it is made from a key, no longer than it is needed, and again for the
            gradient where the weights are not trained.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        layer: Layer,
        opset: int,
        hardware: Hardware,
        input_range: Tensor | None,
        copies: int = 1,
    ) -> None:
        """Describe the product.

        Args:
            layer: its facts; the weight must be known.
            input_range: of all row splits, ``()``, where the hardware has static ones.
        """
        assert layer.weight is not None
        self.layer = layer
        self.strength = 1.0
        self.drawn: DrawnMatrix | KeyedMatrix | None = None
        self.form = Product.of_layer(node, layer)
        self._operator, self._compute = Operator.of(node, opset, layer.name), OPERATORS[node.op_type]
        self._hardware = hardware
        self._range = input_range
        self._copies = copies
        self._corrects = hardware.compensation.outputs if hardware.corrects_outputs else "none"
        self._output_variance = hardware.output_variance
        self._input_variance = hardware.dac.rounding_variance

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The operator's output on the chip that was drawn."""
        assert self.drawn is not None
        matrix = self.form.matrix(weight)
        chip, drawn = self.drawn, self.drawn.made(matrix)
        scales = column_scales(matrix, self._hardware)
        x = self._clipped(x)
        peaks = self._peaks(x.detach())
        gain, offset = None, None
        if self._corrects != "none":
            gain, offset = self._correction(x.detach(), matrix.detach(), scales.detach(), peaks, drawn)
            if self.form.window is not None:
                bias, offset = offset if bias is None else bias + offset, None

        def realised(errors: Tensor) -> Tensor:
            found = self._realised(matrix, scales, errors)
            return self.form.stored(found if gain is None else found * gain[:, None], weight.shape)

        def again() -> Tensor:
            assert isinstance(chip, KeyedMatrix)
            return realised(chip.made(matrix, calibrated=False).errors)

        now = realised(drawn.errors)
        remade = isinstance(chip, KeyedMatrix) and not matrix.requires_grad
        with recomputed(now, again) if remade else nullcontext():
            output = self._product(x, now, bias)
        if offset is not None:
            output = output + self.form.per_output(offset, output.ndim)
        if self._hardware.currents.read_noise > 0:
            output = output + self._read_noise(x, weight, scales * drawn.gains)
        if self._output_variance == 0 and self._input_variance == 0:
            return output
        units = (scales * drawn.gains * self._totals(matrix, scales)).square()
        variance = (self._output_variance * units * self._reads(scales)).sum(1)
        variance = variance + self._input_variance * matrix.square().sum(1)
        # The least keeps the gradient of the root finite where a column is 0.
        return self._with_noise(output, peaks, self.strength * variance.clamp(min=_LEAST_VARIANCE).sqrt())

    def _realised(self, matrix: Tensor, scales: Tensor, errors: Tensor) -> Tensor:
        return matrix + self.strength * by_input(scales, matrix.shape[1], self._hardware) * errors

    def _totals(self, matrix: Tensor, scales: Tensor) -> Tensor:
        """Full scale of a tile's outputs, ``(outputs, row splits)``, or 1 for all."""
        if self._hardware.adc.sensing == "current":
            return scales.new_ones(1)
        rows = split_sizes(matrix.shape[1], self._hardware.tiles.rows)
        weights = matrix / by_input(torch.where(scales > 0, scales, 1.0), matrix.shape[1], self._hardware)
        parts = torch.split(weights, rows, dim=1)
        return torch.stack([column_totals(part, self._hardware) for part in parts], dim=1)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        operands = (x, weight) if self.form.operand == 1 else (weight, x)
        found: Tensor = self._compute(self._operator, *operands, *(() if bias is None else (bias,)))
        return found

    def _read_noise(self, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        """Noise of products; ``scales``: what a full-scale weight is worth, drift compensation included."""
        with torch.no_grad():
            matrix = self.form.matrix(weight).abs()
            worth = by_input(scales, matrix.shape[1], self._hardware) * matrix
            if self._hardware.currents.constant:
                worth = by_input(scales.square(), matrix.shape[1], self._hardware) / self._copies
            worth = self.form.stored(worth, weight.shape)
            power = (self.form.alpha * self._product(x.square(), worth, None)).clamp(min=0)
            return self.strength * self._hardware.currents.read_noise * power.sqrt() * torch.randn_like(power)

    @torch.no_grad()
    def _correction(
        self, x: Tensor, matrix: Tensor, scales: Tensor, peaks: Tensor, drawn: DrawnMatrix
    ) -> tuple[Tensor, Tensor]:
        """Gain and offset that give every column the moments that it has without errors, ``(outputs,)`` each.

        Values are weighted as in `lhc.runtime.calibration.chip_outputs`; which of them are padding is not known here.
        """
        both = torch.stack([self._realised(matrix, scales, drawn.calibrated), matrix])
        values, square = self._some_products(x, both, peaks.square())
        weights = 1 / (square + square.mean()).clamp(min=_LEAST_VARIANCE)
        total = weights.sum((0, -1), keepdim=True)

        def mean(weighted: Tensor) -> Tensor:
            return weighted.sum((0, -1), keepdim=True) / total

        means = mean(values * weights)
        own, wanted = means.unbind(2)
        gain = torch.ones_like(own)
        if self._corrects == "affine":
            # In the memory of the products, which nobody reads afterwards.
            spread, ideal = mean(values.sub_(means).square_().mul_(weights)).sqrt().unbind(2)
            varies = (spread > 0) & (ideal > 0)
            gain = torch.where(varies, ideal / spread.clamp(min=_LEAST_VARIANCE), gain)
            gain = gain.clamp(1 / GREATEST_GAIN, GREATEST_GAIN)
        return gain.flatten(), self.form.alpha * (wanted - gain * own).flatten()

    def _some_products(self, x: Tensor, matrices: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Products of some vectors with two matrices, ``(samples, groups, 2, outputs, positions)``.

        And of a number that every vector has, ``(samples, groups, 1, 1, positions)``.
        """
        assert self.layer.weight is not None
        window = self.form.window
        if window is None:
            found = self._vectors(x)[::2].flatten(0, -2) @ matrices.flatten(0, 1).T
            return found.view(len(found), 1, 2, -1, 1), square[::2].reshape(-1, 1, 1, 1, 1)
        sizes = square.shape[2:]
        step, every = (2, 1) if min(sizes) >= _MANY else (1, 2)
        x, places = x[::every], (slice(None, None, every), slice(None), *(slice(None, None, step),) * len(sizes))
        stored = matrices.view(2, window.groups, -1, *self.layer.weight.shape[1:]).transpose(0, 1).flatten(0, 2)
        found = convolution(x, stored, None, window.every(step, tuple(x.shape[2:])))
        taken = square[places].flatten(2)[:, :, None, None]
        return found.view(len(x), window.groups, 2, -1, math.prod(found.shape[2:])), taken

    def _reads(self, scales: Tensor) -> Tensor:
        """Per row split, tiles that its copies lie on over the square of the copies, ``(row splits,)``."""
        assert self.layer.weight is not None
        inputs = math.prod(self.layer.weight.shape) // len(scales)
        rows = self._hardware.tiles.rows
        tiles = [math.ceil(self._copies * size / rows) for size in split_sizes(inputs, rows)]
        return torch.tensor(tiles, dtype=scales.dtype, device=scales.device) / self._copies**2

    def _clipped(self, x: Tensor) -> Tensor:
        if self._range is None:
            return x
        least = torch.zeros_like(self._range) if self._hardware.dac.from_zero else -self._range
        return x.clamp(least, self._range)

    def _with_noise(self, output: Tensor, peaks: Tensor, deviation: Tensor) -> Tensor:
        """The output with its noise; ``deviation`` per output, for an input scale of 1."""
        if self._hardware.dac.scaling != "abs_max":
            peaks = torch.ones_like(peaks)
            deviation = deviation if self._range is None else deviation * self._range
        deviation = deviation * self.form.alpha
        places = peaks.reshape(-1, peaks.shape[-1]) if self.form.window is None else peaks.flatten(0, 1).flatten(1)
        outputs_last = self.form.window is None and not self.form.writes_columns and len(deviation) > 1
        if outputs_last or (places.shape[1] == 1 and self.form.groups == 1):
            return with_noise(output, peaks.flatten(), deviation[None])
        return with_noise(output, deviation.repeat(len(places) // self.form.groups), places)

    def _vectors(self, x: Tensor) -> Tensor:
        """Input vectors of a product of matrices, in rows."""
        return x.reshape(1, -1) if x.ndim == 1 else turned(x, self.form.reads_columns)

    def _peaks(self, x: Tensor) -> Tensor:
        """Greatest magnitude of every input vector: ``(samples, groups, *positions)`` of a convolution, else by row."""
        window = self.form.window
        return self._vectors(x).abs().amax(-1) if window is None else window_peaks(x, window)
