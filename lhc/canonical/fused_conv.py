"""FusedConv (com.microsoft): a convolution with a sum and an activation behind it.

    FusedConv(x, w, b, z) = activation(Conv(x, w, b) + z)

onnxruntime, docs/ContribOperators.md.
"""

from lhc.canonical.fused_activation import add_activation, is_known
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]

_OWN = ("activation", "activation_params")


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where the weight is constant and the activation known."""
    activation = site.text("activation")
    if not site.is_constant(1) or not is_known(activation):
        return False
    node, summand = site.node, site.name(3)
    inputs = [name for name in node.input[:3] if name]
    numbers = next((list(a.floats) for a in node.attribute if a.name == "activation_params"), [])
    if activation == "Clip" and (len(numbers) < 2 or site.opset < 11):
        return False
    last = node.output[0]
    y = site.product("", "Conv", *inputs, output=None if activation or summand else last)
    site.nodes[-1].attribute.extend(a for a in node.attribute if a.name not in _OWN)
    if summand:
        y = site.add("Add", y, summand, output=None if activation else last)
    if activation:
        add_activation(site, activation, numbers, y)
    return True
