"""Products of quantised networks: QLinear operators, QGemm, and products of integers.

QLinearMatMul, QLinearConv and QGemm multiply dequantised operands and quantise again:

    QLinearMatMul(a, b)  = quantised(MatMul(a', b'))                      ' dequantised
    QLinearConv(x, w, b) = quantised(Conv(x', w', s_x · s_w · b))
    QGemm(a, b, c)       = quantised(alpha · a' b' + alpha · s_a · s_b · c)      each transposed on request

onnx, docs/Operators.md; onnxruntime, docs/ContribOperators.md. A QGemm without a scale for it is not quantised again. A
convolution with channels last stays as it is. Scales and zero points are constant, one for a whole activation.

Products of integers are those whose scales are applied behind them, and those that apply them:

    MatMulInteger(a, b, z_a, z_b) = round(MatMul(a - z_a, b - z_b)),      as 32-bit integers; ConvInteger alike
    MatMulIntegerToFloat(a, b, s_a, s_b, z_a, z_b, c) = MatMul(s_a (a - z_a), s_b (b - z_b)) + c
    DynamicQuantizeMatMul(a, b, s_b, z_b, c)          = the same of DynamicQuantizeLinear(a)

onnx, docs/Operators.md; the last two are com.microsoft's: onnxruntime, docs/ContribOperators.md. The activation has one
scale and one zero point, which may be computed. Without scales the weights are integers as floats: tiles scale them by
their own largest anyway.
"""

import numpy as np
from onnx import TensorProto

from lhc.canonical.integer_operands import (
    codes_of_own_range,
    float_codes,
    floats_of,
    is_one,
    matrix_values,
    may_be_one,
    quantised_output,
)
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array

_KINDS = {"QGemm": "Gemm", "QLinearConv": "Conv", "QLinearMatMul": "MatMul"}


@rule("QLinearConv", "QLinearMatMul", on_request=True)
@rule("QGemm", "QLinearConv", domain="com.microsoft", on_request=True)
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where weight and bias are constant."""
    kind = _KINDS[site.node.op_type]
    bias, scale, zero = (6, 7, 8) if kind == "Gemm" else (8, 6, 7)
    requantised = kind != "Gemm" or bool(site.name(scale))
    if not is_one(site, 1, 2, *((scale, zero) if requantised else ())):
        return False
    if site.integer("channels_last") or (site.name(bias) and not site.is_constant(bias)):
        return False
    if (kind == "MatMul" and site.rank(3) != 2) or (kind != "Conv" and site.is_constant(0)):
        return False
    weight = matrix_values(site, 3, 4, 5, 0 if kind == "Conv" or site.integer("transB") else 1)
    if weight is None:
        return False
    inputs = [floats_of(site, 0), site.store(f"{site.name(3)}/dequantised", weight)]
    if site.name(bias):
        inputs.append(site.store(f"{site.name(bias)}/dequantised", _bias(site, kind, site.value(bias))))
    y = site.product("", kind, *inputs, output=None if requantised else site.node.output[0])
    site.nodes[-1].attribute.extend(a for a in site.node.attribute if a.name != "channels_last")
    if requantised:
        quantised_output(site, y, scale, zero)
    return True


def _bias(site: RewriteContext, kind: str, codes: Array) -> Array:
    """Dequantised bias; the order of the factors fixes the rounding."""
    of_inputs, of_weights = site.value(1).reshape(()), site.value(4).reshape(-1)
    if kind == "Conv":
        return np.asarray(codes * of_inputs * of_weights, np.float32)
    return np.asarray(codes * (site.number("alpha", 1.0) * of_inputs * of_weights), np.float32)


_ROUND_OPSET = 11


@rule("ConvInteger", "MatMulInteger", on_request=True)
def rewrite_integers(site: RewriteContext) -> bool:
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
