"""FusedGemm (com.microsoft): a Gemm with an activation behind it.

    FusedGemm(a, b, c) = activation(Gemm(a, b, c))

onnxruntime, docs/ContribOperators.md.
"""

from lhc.canonical.fused_activation import add_activation, is_known
from lhc.canonical.site import OperatorSite

__all__ = ["rewrite"]


def rewrite(site: OperatorSite) -> bool:
    """Rewrite where one of the factors is constant and the activation known."""
    activation = site.text("activation")
    if not (site.is_constant(0) or site.is_constant(1)) or not is_known(activation) or activation == "Clip":
        return False
    node = site.node
    given = {a.name: a.f for a in node.attribute}
    numbers = [given[name] for name in ("activation_alpha", "activation_beta") if name in given]
    inputs = [name for name in node.input[:3] if name]
    y = site.product("", "Gemm", *inputs, output=None if activation else node.output[0])
    site.nodes[-1].attribute.extend(a for a in node.attribute if not a.name.startswith("activation"))
    if activation:
        add_activation(site, activation, numbers, y)
    return True
