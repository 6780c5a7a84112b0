"""Operators that multiply by stored weights, rewritten in memory into MatMul, Gemm and Conv, one rule a module.

Whoever computes with a network, counts it or trains it sees products alone; the file keeps its operators, and what is
not analog runs as the file has it.
"""

from lhc.canonical.form import canonical, dequantises
from lhc.canonical.placed import placed_form, placed_proto

__all__ = ["canonical", "dequantises", "placed_form", "placed_proto"]
