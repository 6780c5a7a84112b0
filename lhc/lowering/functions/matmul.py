"""``lhc.analog.AnalogMatMul``: MatMul and Gemm whose products run on tiles."""

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.functions.library import FLOAT, Library, Values
from lhc.lowering.functions.tile_grid import Element, TileGrid, finished


@dataclass(frozen=True)
class MatMul:
    """Structure of a MatMul or Gemm.

    Attributes:
        block_sizes: inputs of each block that fits a tile; empty where there is one.
        blocks: which block each row of tiles is driven with; with copies, several are driven with the same.
        element: type of its input and output.
        transposes_input, transposes_output: vectors, or outputs, lie in columns.
        rank: axes of the input, where one of these holds.
        squeezes: the weight is a vector: outputs have no axis of their own.
        alpha, beta, summand: which of Gemm's digital steps it has.
    """

    grid: TileGrid
    block_sizes: tuple[int, ...]
    blocks: tuple[int, ...]
    element: Element
    transposes_input: bool = False
    transposes_output: bool = False
    rank: int | None = None
    squeezes: bool = False
    alpha: bool = False
    beta: bool = False
    summand: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs of a call."""
        optional = {"summand": self.summand, "alpha": self.alpha, "beta": self.beta}
        return ("x", *self.grid.inputs, *(name for name, needed in optional.items() if needed))


def matmul_function(library: Library, spec: MatMul) -> ir.Function:
    """The function of a MatMul or Gemm."""
    grid = spec.grid
    rows = f"_{grid.rows}" if grid.rows > 1 else ""
    doc = f"Products of a MatMul or Gemm on tiles, {grid.rows} on top of each other."
    return library.function(f"AnalogMatMul{rows}", spec, spec.inputs, lambda op, v: _body(op, library, spec, v), doc)


def _swapped(rank: int | None) -> list[int]:
    assert rank is not None
    return [*range(rank - 2), rank - 1, rank - 2]


def _body(op: OpBuilder, library: Library, spec: MatMul, v: Values) -> Any:
    x = v["x"] if spec.element == FLOAT else op.Cast(v["x"], to=FLOAT)
    if spec.transposes_input:
        x = op.Transpose(x, perm=_swapped(spec.rank), _outputs=["vectors"])
    parts = [x]
    if spec.block_sizes:
        parts = op.Split(
            x, list(spec.block_sizes), axis=-1, _outputs=[f"vectors_{i + 1}" for i in range(len(spec.block_sizes))]
        )
    y = spec.grid.sum(op, library, v, [parts[block] for block in spec.blocks])
    if spec.alpha:
        y = op.Mul(y, v["alpha"])
    if spec.squeezes:
        y = op.Squeeze(y, [-1])
    elif spec.transposes_output:
        y = op.Transpose(y, perm=_swapped(spec.rank))
    return finished(op, y, spec.element, v.get("summand"), v.get("beta"))
