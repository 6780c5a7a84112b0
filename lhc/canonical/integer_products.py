"""MatMulInteger and ConvInteger: products of integers less their zero points, whose scales are applied behind them.

    MatMulInteger(a, b, z_a, z_b) = round(MatMul(a - z_a, b - z_b)),      as 32-bit integers; ConvInteger alike

onnx, docs/Operators.md. The weights are integers as floats: tiles scale them by their own largest anyway.
"""

from onnx import TensorProto

from lhc.canonical.integer_values import matrix_values, may_be_one
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]

_ROUND_OPSET = 11


def rewrite(site: OperatorSite) -> bool:
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
    x = site.add("Cast", site.name(0), to=TensorProto.FLOAT)
    if site.name(2):
        x = site.add("Sub", x, site.add("Cast", site.name(2), to=TensorProto.FLOAT))
    held = site.store(f"{site.name(1)}/floats", weight)
    y = site.product("", "Conv" if convolves else "MatMul", x, held)
    site.nodes[-1].attribute.extend(site.node.attribute)
    site.add("Cast", site.add("Round", y), output=site.node.output[0], to=TensorProto.INT32)
    return True
