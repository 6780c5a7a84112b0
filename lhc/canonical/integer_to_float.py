"""MatMulIntegerToFloat and DynamicQuantizeMatMul (com.microsoft): products of integers with their scales.

    MatMulIntegerToFloat(a, b, s_a, s_b, z_a, z_b, c) = MatMul(s_a (a - z_a), s_b (b - z_b)) + c
    DynamicQuantizeMatMul(a, b, s_b, z_b, c)          = the same of DynamicQuantizeLinear(a)

onnxruntime, docs/ContribOperators.md. The activation has one scale and one zero point, which may be computed.
"""

from onnx import TensorProto

from lhc.canonical.integer_values import matrix_values, may_be_one
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where the second factor is a constant matrix."""
    dynamic = site.node.op_type == "DynamicQuantizeMatMul"
    scale, zero, bias = (2, 3, 4) if dynamic else (3, 5, 6)
    if site.rank(1) != 2 or site.is_constant(0) or not (dynamic or may_be_one(site, 2, 4)):
        return False
    matrix = matrix_values(site, 1, scale, zero, 1)
    if matrix is None:
        return False
    codes, of_codes, nothing = _quantised(site) if dynamic else (site.name(0), site.name(2), site.name(4))
    x = site.add("Cast", codes, to=TensorProto.FLOAT)
    if nothing:
        x = site.add("Sub", x, site.add("Cast", nothing, to=TensorProto.FLOAT))
    x, last = site.add("Mul", x, of_codes), site.node.output[0]
    held = site.store(f"{site.name(1)}/dequantised", matrix)
    y = site.product("", "MatMul", x, held, output=None if site.name(bias) else last)
    if site.name(bias):
        site.add("Add", y, site.name(bias), output=last)
    return True


def _quantised(site: OperatorSite) -> tuple[str, str, str]:
    """The activation as integers of its own range, their scale and zero point."""
    codes = site.add("DynamicQuantizeLinear", site.name(0))
    scale, zero = f"{codes}/scale", f"{codes}/zero"
    site.taken.update((scale, zero))
    site.nodes[-1].output.extend((scale, zero))
    return codes, scale, zero
