"""FusedConv and FusedGemm (com.microsoft): a product with an activation behind it, and with a sum before that.

    FusedConv(x, w, b, z) = activation(Conv(x, w, b) + z)
    FusedGemm(a, b, c)    = activation(Gemm(a, b, c))

onnxruntime, docs/ContribOperators.md.
"""

import numpy as np
import onnx

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule

__all__ = ["rewrite"]

_NUMBERS = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
"""Attributes of activations, in the order in which fused operators list them."""


@rule("FusedConv", "FusedGemm", domain="com.microsoft")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where a factor (of a convolution: the weight) is constant and the activation known."""
    node, activation, last = site.node, site.text("activation"), site.node.output[0]
    convolves = node.op_type == "FusedConv"
    numbers = _numbers(node)
    clips = convolves and len(numbers) >= 2 and site.opset >= 11
    if not (activation in ("", *_NUMBERS) or (activation == "Clip" and clips)):
        return False
    if not (site.is_constant(1) or (site.is_constant(0) and not convolves)):
        return False
    summand = site.name(3) if convolves else ""
    inputs = [name for name in node.input[:3] if name]
    y = site.product("", "Conv" if convolves else "Gemm", *inputs, output=None if activation or summand else last)
    site.nodes[-1].attribute.extend(a for a in node.attribute if not a.name.startswith("activation"))
    if summand:
        y = site.add("Add", y, summand, output=None if activation else last)
    if activation == "Clip":
        bounds = [site.store(f"{node.name}/bound", np.array(number, np.float32)) for number in numbers[:2]]
        site.add("Clip", y, *bounds, output=last)
    elif activation:
        site.add(activation, y, output=last)
        given = zip(_NUMBERS[activation], numbers, strict=False)
        site.nodes[-1].attribute.extend(onnx.helper.make_attribute(name, number) for name, number in given)
    return True


def _numbers(node: onnx.NodeProto) -> list[float]:
    """Attributes of the activation; those that are not given have their defaults."""
    given = {a.name: a for a in node.attribute}
    if "activation_params" in given:
        return list(given["activation_params"].floats)
    return [given[name].f for name in ("activation_alpha", "activation_beta") if name in given]
