"""Operators that multiply by stored weights, rewritten in memory into MatMul, Gemm and Conv, one rule a module.

Whoever computes with a network, counts it or trains it sees products alone; the file keeps its operators, and what is
not analog runs as the file has it.
"""

from lhc.canonical.columns import splittable, with_digital_columns
from lhc.canonical.conv_transpose import transposed_again
from lhc.canonical.form import canonical, dequantises
from lhc.canonical.open_control import open_control
from lhc.canonical.placed import nested_again, placed_form, placed_proto, written_branches

__all__ = [
    "canonical",
    "dequantises",
    "nested_again",
    "open_control",
    "placed_form",
    "placed_proto",
    "splittable",
    "transposed_again",
    "with_digital_columns",
    "written_branches",
]
