"""The products of a layer and the gradients at their outputs, as matrices: one column a product.

For every part of the samples and every group of a convolution, ``z = W · x`` with x ``(inputs, products)`` and z
``(outputs, products)``. A sum over the products of one part is what one answer of the network feels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lhc.graph import Layer
from lhc.onnx_io.operators.matrix_product import Product
from lhc.runtime.operators.im2col import padded, shared, turned, window_layout
from lhc.runtime.torch_settings import CPU


@dataclass(frozen=True, eq=False)
class DifferentiableProduct:
    """A Conv, Gemm or MatMul with a constant weight.

    Attributes:
        weight: as stored.
        device: where gradients are.
    """

    form: Product
    layer: Layer
    weight: np.ndarray
    device: torch.device = CPU

    @property
    def output(self) -> str:
        """The operator's output."""
        return self.layer.outputs[0]

    @cached_property
    def matrix(self) -> Tensor:
        """The weights, ``(groups · outputs, inputs)``, float32."""
        return shared(np.asarray(self.form.matrix(self.weight), np.float32)).to(self.device)

    def products(self, output: Tensor, bias: Tensor | None) -> Tensor:
        """The operator's output without what is added to it, in the shape of the output."""
        if bias is None:
            return output
        if self.form.window is not None:
            return output - bias.reshape(-1, *[1] * (output.ndim - 2))
        return output - self.form.beta * bias

    def inputs(self, x: Tensor) -> Tensor:
        """The activation with the axis that tells vectors apart first: ``(items, ...)``."""
        if self.form.window is not None:
            return x
        return x.reshape(1, -1) if x.ndim == 1 else turned(x, self.form.reads_columns)

    def outputs(self, z: Tensor) -> Tensor:
        """Values in the shape of the output, with the axis that tells vectors apart first."""
        if self.form.window is not None:
            return z
        if self.weight.ndim == 1:
            return z[..., None] if z.ndim else z.reshape(1, 1)
        return z.reshape(1, -1) if z.ndim == 1 else turned(z, self.form.writes_columns)

    def columns(self, items: Tensor, parts: int) -> Tensor:
        """The vectors that are multiplied; a copy.

        Args:
            items: some of `inputs`.
            parts: in how many equal parts, one after the other along the first axis.

        Returns:
            ``(parts, groups, inputs, products)``.
        """
        inputs = self.matrix.shape[1]
        if self.form.window is None:
            rows = items.reshape(parts, 1, -1, inputs)
            return rows.transpose(2, 3).clone(memory_format=torch.contiguous_format)
        image = padded(items, self.form.window)
        windows = image.as_strided(*window_layout(image, self.form.window))
        axis = windows.ndim // 2
        sizes = (*windows.shape[:axis], parts, len(items) // parts, *windows.shape[axis + 1 :])
        by_part = windows.view(sizes).movedim(axis, 0)
        copy = by_part.clone(memory_format=torch.contiguous_format)
        return copy.view(parts, self.form.groups, inputs, -1)

    def gradients(self, items: Tensor, parts: int) -> Tensor:
        """Gradients at the products.

        Args:
            items: some of `outputs` of the gradient at the operator's output.
            parts: in how many equal parts.

        Returns:
            ``(parts, groups, outputs, products)``.
        """
        outputs = len(self.matrix) // self.form.groups
        if self.form.window is not None:
            by_part = items.reshape(parts, len(items) // parts, self.form.groups, outputs, -1)
            return by_part.permute(0, 2, 3, 1, 4).flatten(3)
        columns = items.reshape(parts, 1, -1, outputs).transpose(2, 3)
        return columns if self.form.alpha == 1 else self.form.alpha * columns
