"""The products of a layer and the gradients at their outputs, as matrices: one column a product.

For every part of the samples and every group of a convolution, ``z = W · x`` with x ``(inputs, products)`` and z
``(outputs, products)``. A sum over the products of one part is what one answer of the network feels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from lhc.graph import Layer
from lhc.onnx_io.graphs import weight_matrix
from lhc.runtime.unfold import ConvGeometry

__all__ = ["DifferentiableProduct"]


@dataclass(frozen=True, eq=False)
class DifferentiableProduct:
    """A Conv, Gemm or MatMul with a constant weight.

    Attributes:
        node: the operator.
        layer: its facts; the weight must be known.
        weight: as stored.
    """

    node: onnx.NodeProto
    layer: Layer
    weight: np.ndarray

    @property
    def operand(self) -> int:
        """Which input of the operator is the weight."""
        assert self.layer.weight is not None
        return self.layer.weight.operand

    @property
    def activation(self) -> str:
        """The tensor that is multiplied."""
        return str(self.node.input[1 - self.operand])

    @property
    def bias(self) -> str | None:
        """What is added to the products, if anything: bias of a Conv, C of a Gemm."""
        return self.node.input[2] if len(self.node.input) > 2 and self.node.input[2] else None

    @property
    def output(self) -> str:
        """The operator's output."""
        return str(self.node.output[0])

    @cached_property
    def groups(self) -> int:
        """Groups of a convolution; 1 for others."""
        return int(self._attributes.get("group", 1)) if self.node.op_type == "Conv" else 1

    @cached_property
    def matrix(self) -> Tensor:
        """The weights, ``(groups · outputs, inputs)``, float32."""
        return torch.tensor(np.asarray(weight_matrix(self.node, self.operand, self.weight), np.float32))

    def products(self, output: Tensor, bias: Tensor | None) -> Tensor:
        """The operator's output without what is added to it, in the shape of the output."""
        if bias is None:
            return output
        if self.node.op_type == "Conv":
            return output - bias.reshape(-1, *[1] * (output.ndim - 2))
        return output - self._attributes.get("beta", 1.0) * bias

    def inputs(self, x: Tensor) -> Tensor:
        """The activation with the axis that tells vectors apart first: ``(items, ...)``."""
        if self.node.op_type == "Conv":
            return x
        return x.reshape(1, -1) if x.ndim == 1 else self._rows(x, self._in_columns)

    def outputs(self, z: Tensor) -> Tensor:
        """The same of what has the shape of the output."""
        if self.node.op_type == "Conv":
            return z
        if self.weight.ndim == 1:
            return z[..., None] if z.ndim else z.reshape(1, 1)
        return z.reshape(1, -1) if z.ndim == 1 else self._rows(z, self.operand == 0)

    def columns(self, items: Tensor, parts: int) -> Tensor:
        """The vectors that are multiplied; a copy.

        Args:
            items: some of `inputs`.
            parts: in how many equal parts.

        Returns:
            ``(parts, groups, inputs, products)``.
        """
        inputs = self.matrix.shape[1]
        if self.node.op_type != "Conv":
            rows = items.reshape(parts, 1, -1, inputs)
            return rows.transpose(2, 3).clone(memory_format=torch.contiguous_format)
        windows = self._windows(items)
        if parts > 1:
            axis = windows.ndim // 2
            windows = windows.movedim(axis, 0)
        copy = windows.clone(memory_format=torch.contiguous_format)
        return copy.view(parts, self.groups, inputs, -1)

    def gradients(self, items: Tensor, parts: int) -> Tensor:
        """Gradients at the products.

        Args:
            items: some of `outputs` of the gradient at the operator's output.
            parts: in how many equal parts.

        Returns:
            ``(parts, groups, outputs, products)``.
        """
        outputs = len(self.matrix) // self.groups
        if self.node.op_type == "Conv":
            flat = items.reshape(len(items), self.groups, outputs, -1)
            return flat if parts > 1 or len(flat) == 1 else flat.permute(1, 2, 0, 3).reshape(1, *flat.shape[1:3], -1)
        columns = items.reshape(parts, 1, -1, outputs).transpose(2, 3)
        alpha = self._attributes.get("alpha", 1.0) if self.node.op_type == "Gemm" else 1.0
        return columns if alpha == 1 else alpha * columns

    @cached_property
    def _attributes(self) -> dict[str, float]:
        return {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    @cached_property
    def _geometry(self) -> ConvGeometry:
        return ConvGeometry.of(self.node, tuple(self.weight.shape[2:]))

    @property
    def _in_columns(self) -> bool:
        """Whether the vectors lie in the columns of the activation."""
        if self.node.op_type == "Gemm":
            return bool(self._attributes.get("transA" if self.operand == 1 else "transB", 0)) == (self.operand == 1)
        return self.operand == 0

    @staticmethod
    def _rows(x: Tensor, in_columns: bool) -> Tensor:
        return x.transpose(-1, -2) if in_columns else x

    def _windows(self, x: Tensor) -> Tensor:
        """Every window of a convolution as a view of its padded input, ``(channels, *kernel, samples, *positions)``."""
        geometry, sizes = self._geometry, tuple(x.shape[2:])
        widths = [width for pair in reversed(geometry.padding(sizes)) for width in pair]
        padded = (functional.pad(x, widths) if any(widths) else x).contiguous()
        sample, channel, *spatial = padded.stride()
        taps = [stride * dilation for stride, dilation in zip(spatial, geometry.dilations, strict=True)]
        steps = [stride * step for stride, step in zip(spatial, geometry.strides, strict=True)]
        shape = (x.shape[1], *geometry.kernel, len(x), *geometry.output_sizes(sizes))
        return padded.as_strided(shape, (channel, *taps, sample, *steps))
