"""MatMul by a stack of matrices: a product by each, put together again.

    MatMul(x, W) = Concat(MatMul(x_0, W_0), MatMul(x_1, W_1), …),      W (matrices, inputs, outputs)

x has a matrix of vectors for every one of W, or one for all. So experts are written that compute side by side, and
products of single heads: MACs are those of all matrices, which is what the operator multiplies. Parts are the numbers
of the matrices. A stack that is picked from is `gathered_matmul`'s.
"""

from lhc.canonical.gathered_matmul import rewrite_picked
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where an operand is picked from a stack, or the second is one and it is known whether the first is."""
    if not site.constants.is_stored(site.name(1)):
        return rewrite_picked(site)
    if site.rank(1) != 3 or site.is_constant(0):
        return False
    shape = site.shape(site.name(0))
    count = site.constants.shape(site.name(1))[0]
    if shape is None or len(shape) not in (2, 3) or count < 2 or (len(shape) == 3 and shape[0] not in (1, count)):
        return False
    if site.constants.dtype(site.name(1)) not in ("float16", "float32", "float64"):
        return False
    stack, x = site.value(1), site.name(0)
    apart = len(shape) == 3 and shape[0] == count
    if len(shape) == 3 and not apart:
        x = site.add("Gather", x, site.numbers(0), axis=0)
    outputs = []
    for number, matrix in enumerate(stack):
        vectors = site.add("Gather", x, site.numbers(number), axis=0) if apart else x
        weight = site.store(f"{site.name(1)}/{number}", matrix)
        outputs.append(site.unsqueeze(site.product(str(number), "MatMul", vectors, weight), 0))
    site.add("Concat", *outputs, output=site.node.output[0], axis=0)
    return True
