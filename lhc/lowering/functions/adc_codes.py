"""ADC mismatch as ONNX operators: offsets, and codes of unequal steps (`lhc.hardware.converters.adc_mismatch`)."""

from typing import Any

from onnxscript import OpBuilder

from lhc.lowering.functions.library import Values

__all__ = ["found_codes", "with_offsets"]


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
