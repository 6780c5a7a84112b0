"""The tiles of a layer inside its function: inputs of the call, partial sums over row splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.functions.library import FLOAT, Library, Values, call, value
from lhc.lowering.functions.tile_product import product_function
from lhc.lowering.functions.tile_read import TileProduct

Element = int
"""Element type of a layer's input and output, as ONNX numbers them; products are float32."""


def numbered(name: str, index: int, count: int) -> str:
    """The name of one of several; plain where there is only one."""
    return name if count == 1 else f"{name}_{index + 1}"


@dataclass(frozen=True)
class TileGrid:
    """Grid of tiles that a layer's products are spread over.

    Attributes:
        rows: number of row splits; the tiles of each form one product.
    """

    product: TileProduct
    rows: int

    @property
    def _own(self) -> tuple[str, ...]:
        """Arrays that every row split has of its own."""
        return ("weights", "scales", *(name for name in self.product.tensors if name != "deviates"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs that tiles need, in the order of a call."""
        names = [numbered(name, row, self.rows) for row in range(self.rows) for name in self._own]
        return (*names, *self.product.numbers, *(["deviates"] if self.product.noise == "input" else []))

    def sum(
        self, op: OpBuilder, library: Library, v: Values, vectors: Sequence[Any], magnitudes: Sequence[Any] = ()
    ) -> Any:
        """Products with the vectors of every row split, added.

        Args:
            vectors: of every row split, ``(..., inputs)``.
            magnitudes: theirs, ``(...)``, where the product does not compute them.
        """
        function = product_function(library, self.product)
        total = None
        for row, x in enumerate(vectors):
            driven = {"x": x} | ({"magnitudes": magnitudes[row]} if self.product.measured else {})
            own = {name: v[numbered(name, row, self.rows)] for name in self._own}
            own |= {"deviates": self.deviates(op, v, row)} if self.product.noise == "input" else {}
            product = call(op, function, {**v, **own, **driven}, value("product"))
            total = product if total is None else op.Add(total, product, _outputs=["partial_sum"])
        return total

    def deviates(self, op: OpBuilder, v: Values, row: int) -> Any:
        """The deviates of a row split, ``(reads, ...)``, out of those of the layer, ``(reads of all rows, ...)``."""
        reads = self.product.reads
        return v["deviates"] if self.rows == 1 else op.Slice(v["deviates"], [row * reads], [(row + 1) * reads], [0])


def finished(op: OpBuilder, y: Any, element: Element, summand: Any = None, factor: Any = None) -> Any:
    """A layer's output in its own element type: products plus ``factor`` x ``summand``, added digitally.

    Anything narrower than float64 is added in float32, as the runtime does.
    """
    wide = int(ir.DataType.DOUBLE) if element == int(ir.DataType.DOUBLE) else FLOAT
    if summand is not None:
        y = y if wide == FLOAT else op.Cast(y, to=wide)
        summand = summand if element == wide else op.Cast(summand, to=wide)
        if factor is not None:
            summand = op.Mul(summand, factor if wide == FLOAT else op.Cast(factor, to=wide))
        y = op.Add(y, summand, _outputs=["sum"])
    return y if element == FLOAT or (element == wide and summand is not None) else op.Cast(y, to=element)
