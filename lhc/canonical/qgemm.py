"""QGemm (com.microsoft): a Gemm of dequantised operands, quantised again where it has a scale for that.

    QGemm(a, b, c) = quantised(alpha · a' b' + alpha · s_a · s_b · c)      a', b' dequantised, transposed on request

onnxruntime, docs/ContribOperators.md.
"""

import numpy as np
import onnx

from lhc.canonical.integer_values import floats_of, is_one, matrix_values, quantised_output
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where weight and bias are constant."""
    requantised = bool(site.name(7))
    numbers = (1, 2, 7, 8) if requantised else (1, 2)
    if not is_one(site, *numbers) or (site.name(6) and not site.is_constant(6)) or site.is_constant(0):
        return False
    weight = matrix_values(site, 3, 4, 5, 0 if site.integer("transB") else 1)
    if weight is None:
        return False
    inputs = [floats_of(site, 0), site.store(f"{site.name(3)}/dequantised", weight)]
    if site.name(6):
        scale = site.number("alpha", 1.0) * site.value(1).reshape(()) * site.value(4).reshape(-1)
        inputs.append(site.store(f"{site.name(6)}/dequantised", (site.value(6) * scale).astype(np.float32)))
    y = site.product("", "Gemm", *inputs, output=None if requantised else site.node.output[0])
    kept: list[onnx.AttributeProto] = [a for a in site.node.attribute if a.name in ("alpha", "transA", "transB")]
    site.nodes[-1].attribute.extend(kept)
    if requantised:
        quantised_output(site, y, 7, 8)
    return True
