"""DAC slices and ADC mismatch as ONNX operators.

Inputs that are driven slice by slice have all reads of a product side by side, on an axis of their own. ADC mismatch is
offsets, and codes of unequal steps (`lhc.hardware.converters.adc_mismatch`).
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.hardware.converters.codes import InputSlices
from lhc.lowering.functions.library import Values, sizes

__all__ = [
    "codes_of_slices",
    "deviates_of_slices",
    "found_codes",
    "images_of_slices",
    "in_slices",
    "sum_of_slices",
    "with_offsets",
]


def codes_of_slices(op: OpBuilder, slices: InputSlices, codes: Any, axis: int, behind: int) -> Any:
    """Codes that every read is driven with.

    Args:
        codes: of all bits.
        axis: where that of the reads is put.
        behind: axes of the result that lie behind it.
    """
    wide, zero = op.Unsqueeze(codes, [axis], _outputs=["codes_beside"]), 0.0
    negative = op.Less(wide, zero, _outputs=["negative"])
    if slices.signed_from:
        size = op.Where(negative, op.Add(wide, slices.signed_from), wide, _outputs=["without_sign"])
    else:
        size = op.Abs(wide, _outputs=["without_sign"])
    shares = _beside(op, [0.5**low for low in slices.lows], behind)
    low = op.Mul(size, shares, _outputs=["from_bit"])
    size_of_slice = slices.greatest + 1
    high = op.Mul(op.Floor(op.Mul(low, 1 / size_of_slice)), size_of_slice, _outputs=["higher_bits"])
    digits = op.Sub(op.Floor(low), high, _outputs=["digits"])
    if not slices.signed_from:
        return op.Where(negative, op.Neg(digits), digits, _outputs=["slices"])
    signs = op.Where(negative, slices.greatest, zero, _outputs=["signs"])
    return op.Concat(digits, signs, axis=axis, _outputs=["slices"])


def sum_of_slices(op: OpBuilder, slices: InputSlices, codes: Any, axis: int, behind: int) -> Any:
    """Sum of all reads, shifted and added; arguments as for `codes_of_slices`."""
    counted = op.Mul(codes, _beside(op, slices.counts, behind), _outputs=["shifted"])
    return op.ReduceSum(counted, [axis], keepdims=0, _outputs=["sum_of_reads"])


def images_of_slices(op: OpBuilder, values: Any) -> Any:
    """Reads ``(images, reads, channels, ...)`` as images of their own."""
    return op.Reshape(values, op.Concat([-1], sizes(op, values, 2), axis=0), _outputs=["images"])


def in_slices(op: OpBuilder, slices: InputSlices, images: Any) -> Any:
    """Images as ``(images, reads, channels, ...)``."""
    return op.Reshape(images, op.Concat([-1, len(slices.counts)], sizes(op, images, 1), axis=0), _outputs=["reads"])


def deviates_of_slices(op: OpBuilder, v: Values, like: Any) -> Any:
    """Deviates of all reads, in the shape of their outputs; None where none are given."""
    return op.Reshape(v["deviates"], op.Shape(like), _outputs=["shaped_deviates"]) if "deviates" in v else None


def _beside(op: OpBuilder, values: Any, behind: int) -> Any:
    """A number for every read, with axes behind it."""
    array = np.array(values, np.float32).reshape(-1, *(1,) * behind)
    return op.Constant(value=ir.tensor(array))


def found_codes(op: OpBuilder, capacitors: int, levels: Any, z: Any) -> Any:
    """The codes of outputs ``z``, in units of a code; five operators a bit.

    Args:
        capacitors: how many there are.
        levels: what each adds, ``(capacitors, ...)``, the rest as it meets the axes of the outputs.
    """
    size = op.Add(op.Abs(z, _outputs=["magnitude"]), 0.5, _outputs=["size"])
    reached: Any = 0.0
    code: Any = 0.0
    for k in reversed(range(capacitors)):
        level = op.Add(op.Gather(levels, k), reached, _outputs=[f"level_{k}"])
        above = op.Greater(level, size, _outputs=[f"above_{k}"])
        code = op.Where(above, code, op.Add(code, float(2**k)) if k < capacitors - 1 else float(2**k))
        reached = op.Where(above, reached, level, _outputs=[f"reached_{k}"])
    signed = op.Where(op.Less(z, 0.0), op.Neg(code), code, _outputs=["signed"])
    return op.Where(op.IsNaN(z), z, signed, _outputs=["found"])  # what is no number stays


def with_offsets(op: OpBuilder, v: Values, z: Any, driven: Any = None) -> Any:
    """Outputs, in units of a code, with what their ADCs add in every read.

    Args:
        driven: 1 for vectors that are read, 0 for all-zero ones; None where these are told later.
    """
    added = op.Div(v["offsets"], v["adc_step"], _outputs=["offsets_in_codes"]) if "adc_step" in v else v["offsets"]
    return op.Add(z, added if driven is None else op.Mul(driven, added), _outputs=["z_with_offsets"])
