"""FusedMatMul and TransposeMatMul (com.microsoft): a MatMul of transposed factors, times a number.

    FusedMatMul(a, b) = alpha · aᵀ bᵀ      each transposed on request

onnxruntime, docs/ContribOperators.md. Batches that are transposed are left alone.
"""

import numpy as np

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule

__all__ = ["rewrite"]


@rule("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where one factor is a constant matrix, and axes that are transposed are known."""
    constants = [site.is_constant(index) and site.rank(index) == 2 for index in (0, 1)]
    if not any(constants) or site.integer("transBatchA") or site.integer("transBatchB"):
        return False
    ranks = [site.rank(0), site.rank(1)]
    turned = [site.integer(name) == 1 for name in ("transA", "transB")]
    if any(turn and (rank is None or rank < 2) for turn, rank in zip(turned, ranks, strict=True)):
        return False
    factors = []
    for index, (turn, rank) in enumerate(zip(turned, ranks, strict=True)):
        if turn and rank is not None:
            factors.append(site.add("Transpose", site.name(index), perm=[*range(rank - 2), rank - 1, rank - 2]))
        else:
            factors.append(site.name(index))
    alpha, last = site.number("alpha", 1.0), site.node.output[0]
    y = site.product("", "MatMul", *factors, output=last if alpha == 1 else None)
    if alpha != 1:
        held = site.constants.dtype(site.name(1 if constants[1] else 0))
        site.add("Mul", y, site.store(f"{site.node.name}/alpha", np.array(alpha, held)), output=last)
    return True
