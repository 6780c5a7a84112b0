"""The tiles of a layer inside its function: inputs of the call, partial sums over row splits, joined columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.library import FLOAT, Library, Values, call, value
from lhc.lowering.tile_product import product_function
from lhc.lowering.tile_read import TileProduct

__all__ = ["Element", "TileGrid", "finished", "numbered"]

Element = int
"""Element type of a layer's input and output, as ONNX numbers them; products are float32."""


def numbered(name: str, index: int, count: int) -> str:
    """The name of one of several; plain where there is only one."""
    return name if count == 1 else f"{name}_{index + 1}"


@dataclass(frozen=True)
class TileGrid:
    """How a layer's products spread over tiles.

    Attributes:
        rows: number of row splits.
        widths: outputs of the tiles that are read apart; empty where all columns form one product.
    """

    product: TileProduct
    rows: int
    widths: tuple[int, ...] = ()

    @property
    def columns(self) -> int:
        """How many products a row split takes."""
        return max(len(self.widths), 1)

    def tile_name(self, name: str, row: int, column: int) -> str:
        """What an input that every tile has is called."""
        return numbered(numbered(name, row, self.rows), column, self.columns)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs that tiles need, in the order of a call."""
        names = []
        for row in range(self.rows):
            for column in range(self.columns):
                names += [self.tile_name(name, row, column) for name in ("weights", "scales")]
                names += [self.tile_name("tile_numbers", row, column)] * self.product.straddles
                names += [self.tile_name("shares", row, column)] * self.product.by_output
                names += [self.tile_name("levels", row, column)] * (self.product.capacitors > 0)
                names += [self.tile_name("offsets", row, column)] * self.product.offsets
                names += [self.tile_name("bases", row, column)] * self.product.subtracts
            names += [numbered("input_range", row, self.rows)] * (self.product.scaling == "range")
            names += [numbered("driven", row, self.rows)] * self.product.by_vector
            names += [numbered("near", row, self.rows)] * ("near" in self.product.tensors)
        return (*names, *self.product.numbers, *(["deviates"] if self.product.noise == "input" else []))

    def sum(
        self, op: OpBuilder, library: Library, v: Values, vectors: Sequence[Any], magnitudes: Sequence[Any] = ()
    ) -> Any:
        """Products with the vectors of every row split, joined over columns and added over rows.

        Args:
            vectors: of every row split, ``(..., inputs)``.
            magnitudes: theirs, ``(...)``, where the product does not compute them.
        """
        function = product_function(library, self.product)
        total = None
        for row, x in enumerate(vectors):
            driven = {"x": x} | ({"magnitudes": magnitudes[row]} if self.product.measured else {})
            parts = [
                call(op, function, {**v, **self._of_tile(op, v, row, column), **driven}, value("product"))
                for column in range(self.columns)
            ]
            joined = parts[0] if len(parts) == 1 else op.Concat(*parts, axis=-1, _outputs=["joined"])
            total = joined if total is None else op.Add(total, joined, _outputs=["partial_sum"])
        return total

    def _of_tile(self, op: OpBuilder, v: Values, row: int, column: int) -> dict[str, Any]:
        """What differs from tile to tile, by the names that ``TileProduct`` has for it."""
        own = ("weights", "scales", "tile_numbers", "shares", "levels", "offsets", "bases")
        names = {name: self.tile_name(name, row, column) for name in own}
        names |= {name: numbered(name, row, self.rows) for name in ("input_range", "driven", "near")}
        given = {name: v[full] for name, full in names.items() if full in v}
        return given | ({"deviates": self.deviates(op, v, row, column)} if self.product.noise == "input" else {})

    def deviates(self, op: OpBuilder, v: Values, row: int, column: int = 0) -> Any:
        """The deviates of one tile, ``(reads, ...)``, out of those of the layer, ``(reads of all rows, ...)``."""
        reads = self.product.reads
        own = v["deviates"]
        if self.rows > 1:
            own = op.Slice(own, [row * reads], [(row + 1) * reads], [0])
        if not self.widths:
            return own
        start = sum(self.widths[:column])
        flat = op.Reshape(own, [reads, -1, sum(self.widths)])
        return op.Slice(flat, [start], [start + self.widths[column]], [2])


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
