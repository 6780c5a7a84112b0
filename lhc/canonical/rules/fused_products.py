"""Fused products of com.microsoft: FusedConv, FusedGemm, FusedMatMul and TransposeMatMul.

FusedConv and FusedGemm are a product with an activation behind it, and with a sum before that:

    FusedConv(x, w, b, z) = activation(Conv(x, w, b) + z)
    FusedGemm(a, b, c)    = activation(Gemm(a, b, c))

FusedMatMul and TransposeMatMul are a MatMul of transposed factors, times a number:

    FusedMatMul(a, b) = alpha · aᵀ bᵀ      each transposed on request

Definitions: onnxruntime, docs/ContribOperators.md. Batches that are transposed are left alone.
"""

import numpy as np
import onnx

from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule

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
def rewrite_with_activation(site: RewriteContext) -> bool:
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


@rule("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def rewrite_fused_matmul(site: RewriteContext) -> bool:
    """Rewrite where one factor is a constant matrix, and axes that are transposed are known."""
    constants = [site.is_constant(index) and site.rank(index) == 2 for index in (0, 1)]
    if not any(constants) or site.integer("transBatchA") or site.integer("transBatchB"):
        return False
    ranks = [site.rank(0), site.rank(1)]
    turned = [site.integer(name) == 1 for name in ("transA", "transB")]
    if any(turn and (rank is None or rank < 2) for turn, rank in zip(turned, ranks, strict=True)):
        return False
    factors = []
    for index, (turn, rank) in enumerate(zip(turned, ranks, strict=True)):
        if turn and rank is not None:
            factors.append(site.add("Transpose", site.name(index), perm=[*range(rank - 2), rank - 1, rank - 2]))
        else:
            factors.append(site.name(index))
    alpha, last = site.number("alpha", 1.0), site.node.output[0]
    y = site.product("", "MatMul", *factors, output=last if alpha == 1 else None)
    if alpha != 1:
        held = site.constants.dtype(site.name(1 if constants[1] else 0))
        site.add("Mul", y, site.store(f"{site.node.name}/alpha", np.array(alpha, held)), output=last)
    return True
