"""Products of integers: those whose scales are applied behind them, and those that apply them.

    MatMulInteger(a, b, z_a, z_b) = round(MatMul(a - z_a, b - z_b)),      as 32-bit integers; ConvInteger alike
    MatMulIntegerToFloat(a, b, s_a, s_b, z_a, z_b, c) = MatMul(s_a (a - z_a), s_b (b - z_b)) + c
    DynamicQuantizeMatMul(a, b, s_b, z_b, c)          = the same of DynamicQuantizeLinear(a)

onnx, docs/Operators.md; the last two are com.microsoft's: onnxruntime, docs/ContribOperators.md. The activation has one
scale and one zero point, which may be computed. Without scales the weights are integers as floats: tiles scale them by
their own largest anyway.
"""

from onnx import TensorProto

from lhc.canonical.integer_operands import codes_of_own_range, float_codes, matrix_values, may_be_one
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule

__all__ = ["rewrite", "rewrite_with_scales"]

_ROUND_OPSET = 11


@rule("ConvInteger", "MatMulInteger", on_request=True)
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where the weight is constant and the activation has one zero point."""
    convolves = site.node.op_type == "ConvInteger"
    if (
        site.opset < _ROUND_OPSET
        or not may_be_one(site, 2)
        or site.is_constant(0)
        or (not convolves and site.rank(1) != 2)
    ):
        return False
    weight = matrix_values(site, 1, None, 3, 0 if convolves else 1)
    if weight is None:
        return False
    x = float_codes(site, site.name(0), site.name(2))
    held = site.store(f"{site.name(1)}/floats", weight)
    y = site.product("", "Conv" if convolves else "MatMul", x, held)
    site.nodes[-1].attribute.extend(site.node.attribute)
    site.add("Cast", site.add("Round", y), output=site.node.output[0], to=TensorProto.INT32)
    return True


@rule("DynamicQuantizeMatMul", "MatMulIntegerToFloat", domain="com.microsoft", on_request=True)
def rewrite_with_scales(site: RewriteContext) -> bool:
    """Rewrite where the second factor is a constant matrix."""
    dynamic = site.node.op_type == "DynamicQuantizeMatMul"
    scale, zero, bias = (2, 3, 4) if dynamic else (3, 5, 6)
    if site.rank(1) != 2 or site.is_constant(0) or not (dynamic or may_be_one(site, 2, 4)):
        return False
    matrix = matrix_values(site, 1, scale, zero, 1)
    if matrix is None:
        return False
    codes, of_codes, nothing = (
        codes_of_own_range(site, site.name(0)) if dynamic else (site.name(0), site.name(2), site.name(4))
    )
    x, last = float_codes(site, codes, nothing, of_codes), site.node.output[0]
    held = site.store(f"{site.name(1)}/dequantised", matrix)
    y = site.product("", "MatMul", x, held, output=None if site.name(bias) else last)
    if site.name(bias):
        site.add("Add", y, site.name(bias), output=last)
    return True
