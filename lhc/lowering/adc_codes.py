"""Codes of ADCs whose steps differ (`lhc.hardware.adc_mismatch`) in operators: five for every bit."""

from typing import Any

from onnxscript import OpBuilder

__all__ = ["found_codes"]


def found_codes(op: OpBuilder, capacitors: int, levels: Any, z: Any) -> Any:
    """The codes of outputs ``z``, in units of a code.

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
