"""What shapes a product takes: checked before compiled loops, which do not look where they read, are given its input.

onnxruntime refuses the same. A network whose axes have names instead of sizes can be given anything.
"""

from collections.abc import Sequence

import onnx

from lhc.errors import DataError
from lhc.graph import Layer
from lhc.runtime.unfold import ConvGeometry

__all__ = ["OperandShapes"]

Shape = tuple[int, ...]


class OperandShapes:
    """Of one Conv, Gemm or MatMul with a constant weight."""

    def __init__(self, node: onnx.NodeProto, layer: Layer) -> None:
        """Describe the product.

        Args:
            node: the operator.
            layer: its facts; the weight must be known.
        """
        assert layer.weight is not None
        self._where = f"{layer.op_type} {layer.name!r}"
        self._op = node.op_type
        self._operand = layer.weight.operand
        self._weight = layer.weight.shape
        self._geometry = ConvGeometry.of(node, self._weight[2:]) if node.op_type == "Conv" else None
        flags = {a.name: bool(a.i) for a in node.attribute if a.name in ("transA", "transB")}
        self._transposed = flags.get("transA", False), flags.get("transB", False)

    def check(self, x: Sequence[int], extra: Sequence[int] | None) -> None:
        """Refuse what does not fit.

        Args:
            x: shape of the activation.
            extra: shape of the bias of a Conv or of C of a Gemm, where there is one.

        Raises:
            DataError: names layer, shapes found and shapes that it takes.
        """
        found = tuple(x)
        outputs = self._conv(found) if self._geometry is not None else self._product(found)
        if extra is None:
            return
        shape = tuple(extra)
        if self._geometry is not None:
            fits = shape == outputs
        else:
            pairs = zip(reversed(shape), reversed(outputs), strict=False)
            fits = len(shape) <= len(outputs) and all(size in (1, wanted) for size, wanted in pairs)
        if not fits:
            raise DataError(f"{self._where}: what it adds has shape {shape}, its outputs take {outputs}")

    def _conv(self, x: Shape) -> Shape:
        """Shape of the bias."""
        assert self._geometry is not None
        channels = self._weight[1] * self._geometry.groups
        axes = len(self._geometry.kernel)
        groups = f" in {self._geometry.groups} groups" if self._geometry.groups > 1 else ""
        takes = f"(?, {', '.join([str(channels), *['?'] * axes])})"
        self._refuse_unless(len(x) == axes + 2 and x[1] == channels, x, takes + groups)
        sizes = x[2:]
        if 0 not in x and any(size < 1 for size in self._geometry.output_sizes(sizes)):
            raise DataError(
                f"{self._where}: its input has shape {x}, which with its padding is smaller than its kernel"
                f" {self._geometry.kernel}"
            )
        return (self._weight[0],)

    def _product(self, x: Shape) -> Shape:
        """Shape of the output, as far as C of a Gemm meets it."""
        weight_in_rows = self._operand == 0  # the weight is on the left
        stored = self._weight[::-1] if self._transposed[self._operand] else self._weight
        inner = stored[-1] if weight_in_rows else stored[0]
        axis = -2 if weight_in_rows != self._transposed[1 - self._operand] else -1
        if self._op == "Gemm":
            takes = f"(?, {inner})" if axis == -1 else f"({inner}, ?)"
            self._refuse_unless(len(x) == 2 and x[axis] == inner, x, takes)
            items = x[-1 if axis == -2 else -2]
            return (stored[0], items) if weight_in_rows else (items, stored[1])
        takes = f"(..., {inner})" if axis == -1 else f"(..., {inner}, ?) or ({inner},)"
        at = -1 if len(x) == 1 else axis
        self._refuse_unless(len(x) > 0 and x[at] == inner, x, takes)
        return ()  # a MatMul adds nothing

    def _refuse_unless(self, fits: bool, x: Shape, takes: str) -> None:
        if not fits:
            raise DataError(f"{self._where}: its input has shape {x}, its weight {self._weight} takes {takes}")
