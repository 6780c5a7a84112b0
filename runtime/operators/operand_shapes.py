"""Shapes that a product takes, checked first since compiled loops read without bounds checks.

onnxruntime refuses the same. A network whose axes have names instead of sizes can be given anything.
"""

from collections.abc import Sequence

from lhc.errors import DataError
from lhc.graph import Layer
from lhc.onnx_io.operators.matrix_product import ConvGeometry, Product

Shape = tuple[int, ...]


class OperandShapes:
    """Shapes of the operands of one Conv, Gemm or MatMul with a constant weight."""

    def __init__(self, form: Product, layer: Layer) -> None:
        """Look at the product.

        Args:
            layer: its facts; the weight must be known.
        """
        assert layer.weight is not None
        self._where = f"{layer.op_type} {layer.name!r}"
        self._form = form
        self._weight = layer.weight.shape
        self._fitting: set[tuple[Shape, Shape | None]] = set()

    def check(self, x: Sequence[int], extra: Sequence[int] | None) -> None:
        """Refuse what does not fit.

        Args:
            x: shape of the activation.
            extra: shape of the bias of a Conv or of C of a Gemm, where there is one.

        Raises:
            DataError: names layer, shapes found and shapes that it takes.
        """
        found, shape = tuple(x), None if extra is None else tuple(extra)
        if (found, shape) in self._fitting:
            return
        self._check(found, shape)
        self._fitting.add((found, shape))

    def _check(self, found: Shape, shape: Shape | None) -> None:
        window = self._form.window
        outputs = self._of_matrices(found) if window is None else self._of_windows(found, window)
        if shape is None:
            return
        if window is not None:
            fits = shape == outputs
        else:
            pairs = zip(reversed(shape), reversed(outputs), strict=False)
            fits = len(shape) <= len(outputs) and all(size in (1, wanted) for size, wanted in pairs)
        if not fits:
            raise DataError(f"{self._where}: what it adds has shape {shape}, its outputs take {outputs}")

    def _of_windows(self, x: Shape, window: ConvGeometry) -> Shape:
        """Shape of the bias."""
        channels = self._weight[1] * window.groups
        axes = len(window.kernel)
        groups = f" in {window.groups} groups" if window.groups > 1 else ""
        takes = f"(?, {', '.join([str(channels), *['?'] * axes])})"
        self._refuse_unless(len(x) == axes + 2 and x[1] == channels, x, takes + groups)
        sizes = x[2:]
        if 0 not in x and any(size < 1 for size in window.output_sizes(sizes)):
            raise DataError(
                f"{self._where}: its input has shape {x}, which with its padding is smaller than its kernel"
                f" {window.kernel}"
            )
        return (self._weight[0],)

    def _of_matrices(self, x: Shape) -> Shape:
        """Shape of the output, as far as C of a Gemm meets it."""
        inner = self._weight[-1 if self._form.outputs_first else 0]
        axis = -2 if self._form.reads_columns else -1
        if self._form.rank == 2:
            takes = f"(?, {inner})" if axis == -1 else f"({inner}, ?)"
            self._refuse_unless(len(x) == 2 and x[axis] == inner, x, takes)
            outputs, items = self._weight[0 if self._form.outputs_first else -1], x[-1 if axis == -2 else -2]
            return (outputs, items) if self._form.writes_columns else (items, outputs)
        takes = f"(..., {inner})" if axis == -1 else f"(..., {inner}, ?) or ({inner},)"
        at = -1 if len(x) == 1 else axis
        self._refuse_unless(len(x) > 0 and x[at] == inner, x, takes)
        return ()  # a MatMul adds nothing

    def _refuse_unless(self, fits: bool, x: Shape, takes: str) -> None:
        if not fits:
            raise DataError(f"{self._where}: its input has shape {x}, its weight {self._weight} takes {takes}")
