"""Operators that multiply by stored weights, rewritten in memory into MatMul, Gemm and Conv, one rule a module.

Whoever computes with a network, counts it or trains it sees products alone; the file keeps its operators, and what is
not analog runs as the file has it.
"""

from lhc.canonical.canonical_where_analog import nested_again, placed_form, placed_proto, written_branches
from lhc.canonical.canonicalize import canonical, dequantises
from lhc.canonical.control_flow.unresolved import unresolved_control_flow
from lhc.canonical.digital_columns import splittable, with_digital_columns
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.canonical.rules.conv_transpose import transposed_again

__all__ = [
    "RewriteContext",
    "canonical",
    "dequantises",
    "nested_again",
    "placed_form",
    "placed_proto",
    "rule",
    "splittable",
    "transposed_again",
    "unresolved_control_flow",
    "with_digital_columns",
    "written_branches",
]
