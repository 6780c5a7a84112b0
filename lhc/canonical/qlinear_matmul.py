"""QLinearMatMul: a product of dequantised factors, quantised again.

    QLinearMatMul(a, b) = quantised(MatMul(dequantised(a), dequantised(b)))

onnx, docs/Operators.md. Scales and zero points are constant, one for a whole activation.
"""

from lhc.canonical.integer_values import floats_of, is_one, matrix_values, quantised_output
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where the second factor is a constant matrix."""
    if not is_one(site, 1, 2, 6, 7) or site.rank(3) != 2 or site.is_constant(0):
        return False
    matrix = matrix_values(site, 3, 4, 5, 1)
    if matrix is None:
        return False
    y = site.product("", "MatMul", floats_of(site, 0), site.store(f"{site.name(3)}/dequantised", matrix))
    quantised_output(site, y, 6, 7)
    return True
