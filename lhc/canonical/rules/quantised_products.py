"""QLinearMatMul, QLinearConv and QGemm: products of dequantised operands, quantised again.

    QLinearMatMul(a, b)  = quantised(MatMul(a', b'))                      ' dequantised
    QLinearConv(x, w, b) = quantised(Conv(x', w', s_x · s_w · b))
    QGemm(a, b, c)       = quantised(alpha · a' b' + alpha · s_a · s_b · c)      each transposed on request

onnx, docs/Operators.md; onnxruntime, docs/ContribOperators.md. A QGemm without a scale for it is not quantised again. A
convolution with channels last stays as it is. Scales and zero points are constant, one for a whole activation.
"""

import numpy as np

from lhc.canonical.integer_operands import floats_of, is_one, matrix_values, quantised_output
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array

__all__ = ["rewrite"]

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
