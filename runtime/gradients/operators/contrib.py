"""onnxruntime's own operators that its optimisers write, as differentiable torch functions.

Formulas are those of onnxruntime's docs/ContribOperators.md. Queries, keys and values packed in one tensor have no
function here.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from lhc.runtime.gradients.operators.elementwise import Function, Operator
from lhc.runtime.gradients.operators.neural import fused_product

__all__ = ["CONTRIB"]

_MASKED = -10000.0
"""Added to scores of masked keys by default."""


def _attention(
    op: Operator,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    *past: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """MultiHeadAttention: output, and all keys and values ``(sequences, heads, tokens, size)``.

    Query ``(sequences, tokens, hidden)``; keys and values alike, or with heads in an axis of their own, as those that
    are kept from earlier calls have them.
    """
    if key is None or value is None or query.ndim != 3 or key.ndim == 5:
        raise op.unsupported("queries, keys and values are packed")
    if any(one is not None for one in past[2:]) or any(op.node.output[3:]):
        raise op.unsupported("it shares a buffer with other calls, or shows its scores")
    heads = op.attributes["num_heads"]
    if bias is not None:
        parts = torch.split(bias, [x.shape[2] if x.ndim == 3 else heads * x.shape[3] for x in (query, key, value)])
        # Keys and values with heads in an axis come from elsewhere, where theirs was added.
        query, key, value = (x + b if x.ndim == 3 else x for x, b in zip((query, key, value), parts, strict=True))
    q, k, v = (x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    k, v = (
        x if kept is None else torch.cat([kept, x], dim=2)
        for x, kept in zip((k, v), (*past, None, None)[:2], strict=True)
    )
    scores = q @ k.transpose(-1, -2) * (op.get("scale", 0.0) or 1 / math.sqrt(q.shape[-1]))
    if added is not None:
        scores = scores + added
    if mask is not None:
        scores = scores + _hidden(op, mask, k.shape[2]).to(scores.dtype)
    if op.get("unidirectional", 0):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + k.shape[2] - q.shape[2])
        scores = scores.masked_fill(later, torch.finfo(scores.dtype).min)
    return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2), k, v


def _hidden(op: Operator, mask: Tensor, keys: int) -> Tensor:
    """Additive form of a mask: lengths ``(sequences,)``, or flags ``(sequences, keys)``, with queries between."""
    if mask.ndim == 1:
        mask = torch.arange(keys)[None, :] < mask[:, None]
    elif mask.ndim not in (2, 3):
        raise op.unsupported(f"its mask has {mask.ndim} axes")
    value = op.get("mask_filter_value", _MASKED)
    hidden: Tensor = (mask == 0) * value
    return hidden[:, None, None] if mask.ndim == 2 else hidden[:, None]


def _fast_gelu(op: Operator, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


def _gelu(op: Operator, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias)


def _quick_gelu(op: Operator, x: Tensor) -> Tensor:
    return x * torch.sigmoid(op.get("alpha", 1.702) * x)


def _skip_norm(
    op: Operator, x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Output, two that only training reads, and the sum."""
    total = x + skip if bias is None else x + skip + bias
    normal = functional.layer_norm(total, total.shape[-1:], eps=op.get("epsilon", 1e-12)) * gamma
    return (normal if beta is None else normal + beta), x.new_zeros(0), x.new_zeros(0), total


def _skip_rms(op: Operator, x: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    normal = total * torch.rsqrt((total * total).mean(-1, keepdim=True) + op.get("epsilon", 1e-12)) * gamma
    return normal, x.new_zeros(0), x.new_zeros(0), total


def _embedding(
    op: Operator,
    ids: Tensor,
    segments: Tensor | None,
    words: Tensor,
    places: Tensor,
    of_segments: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Normalised embeddings, how many tokens of each sequence count, and the sum of the embeddings."""
    at = torch.arange(ids.shape[1]) if positions is None else positions.long()
    total = words[ids.long()] + places[at]
    if segments is not None and of_segments is not None:
        total = total + of_segments[segments.long()]
    normal = functional.layer_norm(total, total.shape[-1:], eps=op.get("epsilon", 1e-12)) * gamma + beta
    counted = torch.zeros(len(ids), dtype=torch.int32) if mask is None else mask.sum(dim=1, dtype=torch.int32)
    return normal, counted, total


CONTRIB: Mapping[str, Function] = {
    "BiasGelu": _gelu,
    "EmbedLayerNormalization": _embedding,
    "FastGelu": _fast_gelu,
    "FusedMatMul": fused_product,
    "Gelu": _gelu,
    "MultiHeadAttention": _attention,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms,
    "TransposeMatMul": fused_product,
}
"""Operators of ``com.microsoft`` that have a differentiable function, by name."""
