"""QAttention (com.microsoft): attention whose packed projections are products of integers.

    QAttention(x, W, b) = Attention(s_x · (x - z_x), s_W · (W - z_W), b)

onnxruntime, docs/ContribOperators.md. Scale and zero point of the activation may be computed, one for the whole of it.
"""

from onnx import TensorProto

from lhc.canonical.integer_values import matrix_values, may_be_one
from lhc.canonical.packed_attention import write_attention
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]

_BIAS, _SCALE, _WEIGHT_SCALE, _MASK, _ZERO, _WEIGHT_ZERO, _PAST = range(2, 9)


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where weights and bias are constant."""
    if site.integer("do_rotary") or not site.is_constant(_BIAS) or not may_be_one(site, _SCALE, _ZERO):
        return False
    packed = matrix_values(site, 1, _WEIGHT_SCALE, _WEIGHT_ZERO, 1)
    if packed is None or packed.ndim != 2 or site.rank(_MASK) not in (None, 1, 2, 3):
        return False
    x = site.add("Cast", site.name(0), to=TensorProto.FLOAT)
    if site.name(_ZERO):
        x = site.add("Sub", x, site.add("Cast", site.name(_ZERO), to=TensorProto.FLOAT))
    x = site.add("Mul", x, site.name(_SCALE))
    return write_attention(site, x, packed, site.value(_BIAS), (_MASK, None), _PAST)
