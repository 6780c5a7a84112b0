"""QLinearConv: a convolution of dequantised operands, quantised again.

    QLinearConv(x, w, b) = quantised(Conv(dequantised(x), dequantised(w), s_x · s_w · b))

onnx, docs/Operators.md; onnxruntime's own (com.microsoft) with channels last stays as it is.
"""

import numpy as np

from lhc.canonical.integer_values import floats_of, is_one, matrix_values, quantised_output
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where weight and bias are constant."""
    if not is_one(site, 1, 2, 6, 7) or site.integer("channels_last") or (site.name(8) and not site.is_constant(8)):
        return False
    weight = matrix_values(site, 3, 4, 5, 0)
    if weight is None:
        return False
    inputs = [floats_of(site, 0), site.store(f"{site.name(3)}/dequantised", weight)]
    if site.name(8):
        bias = site.value(8) * site.value(1).reshape(()) * site.value(4).reshape(-1)
        inputs.append(site.store(f"{site.name(8)}/dequantised", bias.astype(np.float32)))
    y = site.product("", "Conv", *inputs)
    site.nodes[-1].attribute.extend(a for a in site.node.attribute if a.name != "channels_last")
    quantised_output(site, y, 6, 7)
    return True
