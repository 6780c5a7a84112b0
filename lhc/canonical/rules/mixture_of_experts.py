"""MoE and QMoE (com.microsoft): every expert's layers as products, of which a token takes those of its experts.

    y = Σ_e g_e · W2_e act(W1_e (m_e x) + b1_e) + b2_e

g_e is the weight that the router gives expert e for a token, 0 for all but k of them; m_e is 1 for these and 0 for the
others. Vectors of zeros are not driven on tiles, so a tile computes for the tokens that are routed to it; its MACs are
counted as if tokens were spread evenly. Parts are ``0/fc1``, ``0/fc2``, ``1/fc1``, … Weights g are the softmax of the
router's logits, over the chosen experts where the operator normalises them (QMoE does so on CPUs, whatever it says).
SwiGLU's gates and values, which lie in turn in W1, are told apart in its rows. onnxruntime, docs/ContribOperators.md;
CPUs know no third layer, and their gelu is the one by tanh.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from lhc.canonical.integer_operands import unpacked
from lhc.canonical.rewrite_context import RewriteContext
from lhc.canonical.rule_registry import rule
from lhc.onnx_io.read.constants import Array

_ACTIVATIONS = ("gelu", "identity", "relu", "silu", "swiglu")


@rule("MoE", "QMoE", domain="com.microsoft")
def rewrite(site: RewriteContext) -> bool:
    """Rewrite where the experts' weights are constant and a CPU computes the operator."""
    quantised = site.node.op_type == "QMoE"
    second, third, biases = (5, 8, (4, 7)) if quantised else (4, 6, (3, 5))
    act, more = site.text("activation_type", "relu"), range(14, 20)
    given = [2, second, *(index for index in biases if site.name(index))]
    unusual = site.name(third) or site.integer("use_sparse_mixer") or any(site.name(index) for index in more)
    if unusual or act not in _ACTIVATIONS or (act == "swiglu" and site.integer("swiglu_fusion") != 1):
        return False
    if not all(map(site.is_constant, given)) or site.rank(0) not in (2, 3):
        return False
    if quantised:
        layers = [_dequantised(site, 2, 11, "fc1"), _dequantised(site, 5, 12, "fc2")]
    else:
        layers = [site.value(2), site.value(4)]
    first, last = layers
    if first is None or last is None or first.dtype.name not in ("float16", "float32"):
        return False
    _write(site, first, last, [site.value(index) if site.name(index) else None for index in biases], act)
    return True


def _dequantised(site: RewriteContext, weight: int, zero: int, name: str) -> Array | None:
    """Matrices of a QMoE, ``(experts, outputs, inputs)``; None where they are no integers of 2, 4 or 8 bits."""
    bits = site.integer(f"{name}_expert_weight_bits", site.integer("expert_weight_bits", 4))
    size, scales_at = site.integer("block_size"), weight + 1
    constant = all(site.is_constant(index) for index in (scales_at, zero) if site.name(index))
    if not constant or not site.name(scales_at) or bits not in (2, 4, 8) or site.text("quant_type", "int") != "int":
        return None
    if site.integer("weights_prepacked", -1) == 1:
        return None
    packed, scales = site.value(weight), site.value(scales_at)
    experts, outputs = packed.shape[:2]
    codes = unpacked(packed.reshape(experts * outputs, -1), bits).reshape(experts, outputs, -1).astype(np.float32)
    group = np.arange(codes.shape[2]) // size if size > 0 else np.zeros(codes.shape[2], np.int64)
    by_block = scales.reshape(experts, outputs, -1)
    zeros = np.full_like(by_block, 2 ** (bits - 1))
    if site.name(zero):
        stored = site.value(zero)
        rows = stored.reshape(experts * outputs, -1) if stored.ndim == 3 else stored.reshape(experts, -1)
        zeros = unpacked(rows, bits)[:, : by_block[0].size if stored.ndim == 2 else by_block.shape[2]]
        zeros = zeros.reshape(by_block.shape).astype(by_block.dtype)
    values: Array = (codes - zeros[..., group]) * by_block[..., group]
    return values.astype(scales.dtype)


def _write(site: RewriteContext, first: Array, last: Array, biases: list[Array | None], act: str) -> None:
    """The router, every expert, and their sum."""
    experts, chosen = len(first), site.integer("k", 1)
    if act == "swiglu":
        first = np.concatenate([first[:, 0::2], first[:, 1::2]], 1)
        biases[0] = None if biases[0] is None else np.concatenate([biases[0][:, 0::2], biases[0][:, 1::2]], 1)
    weights, taken = _routing(site, chosen, first.dtype)
    x = site.name(0)
    if site.rank(0) == 3:
        x = site.add("Reshape", x, site.numbers([-1, first.shape[2]]))
    parts = []
    for number in range(experts):
        mask, weight = (site.add("Gather", of, site.numbers([number]), axis=1) for of in (taken, weights))
        h = _layer(site, f"{number}/fc1", site.add("Mul", x, mask), first[number], biases[0], number)
        h = site.add("Mul", _activated(site, h, act, first.shape[1] // 2, first.dtype), mask)
        y = _layer(site, f"{number}/fc2", h, last[number], biases[1], number)
        parts.append(site.add("Mul", y, weight))
        for part in ("fc1", "fc2"):
            site.routed[f"{site.node.name}/{number}/{part}"] = (chosen, experts, number)
    output = None if site.rank(0) == 3 else site.node.output[0]
    total = site.add("Sum", *parts, output=output)
    if output is None:
        site.add("Reshape", total, site.add("Shape", site.name(0)), output=site.node.output[0])


def _routing(site: RewriteContext, chosen: int, dtype: "np.dtype[np.generic]") -> tuple[str, str]:
    """Routing of every token and expert: the router's weight, and 1 where the expert is chosen, else 0."""
    logits, (best, where) = site.name(1), (f"{site.node.name}/{name}" for name in ("best", "where"))
    site.add("TopK", logits, site.numbers([chosen]), output=best, axis=1)
    site.nodes[-1].output.append(where)
    if site.integer("normalize_routing_weights") or site.node.op_type == "QMoE":
        shares = site.add("Softmax", best, axis=1)
    else:
        shares = site.add("GatherElements", site.add("Softmax", logits, axis=1), where, axis=1)
    none = site.add("ConstantOfShape", site.add("Shape", logits), value=_number(0, dtype))
    one = site.add("ConstantOfShape", site.add("Shape", best), value=_number(1, dtype))
    weights, taken = (site.add("ScatterElements", none, where, values, axis=1) for values in (shares, one))
    return weights, taken


def _number(value: int, dtype: "np.dtype[np.generic]") -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([value], dtype))


def _layer(site: RewriteContext, part: str, x: str, matrix: Array, biases: Array | None, number: int) -> str:
    y = site.product(part, "MatMul", x, site.store(f"{site.node.name}/{part}/weight", matrix.T))
    return y if biases is None else site.add("Add", y, site.store(f"{site.node.name}/{part}/bias", biases[number]))


def _activated(site: RewriteContext, h: str, act: str, half: int, dtype: "np.dtype[np.generic]") -> str:
    alpha, beta = site.number("activation_alpha", 1.0), site.number("activation_beta", 0.0)

    def held(name: str, value: float) -> str:
        return site.store(f"{site.node.name}/{name}", np.array(value, dtype))

    if act == "identity":
        return h
    if act == "relu":
        return site.add("Relu", h)
    if act == "gelu":
        return site.add("FastGelu", h, domain="com.microsoft")
    if act == "silu":
        return site.add("Mul", h, site.add("Sigmoid", h))
    gate, value = site.cut(h, 0, half, 1), site.cut(h, half, 2 * half, 1)
    limit = site.number("swiglu_limit", np.inf)
    if np.isfinite(limit):
        top, bottom = held("limit", limit), held("lower_limit", -limit)
        gate, value = site.add("Min", gate, top), site.add("Max", site.add("Min", value, top), bottom)
    gated = site.add("Mul", gate, site.add("Sigmoid", site.add("Mul", gate, held("alpha", alpha))))
    return site.add("Mul", gated, site.add("Add", value, held("beta", beta)))
