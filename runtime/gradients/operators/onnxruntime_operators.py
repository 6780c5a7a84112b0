"""onnxruntime's own operators as differentiable torch functions: attention, rotary embedding, fused operators.

Formulas are those of onnxruntime's docs/ContribOperators.md as its CPU kernels compute them.

Attention with a cache: keys and values are
``(sequences, heads, tokens, size)``. Caches of few bits, normalised queries and keys, and scores as an output have no
function here.

Operators that its optimisers write: queries, keys and values packed in one tensor have no function here.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from lhc.runtime.gradients.operators.elementwise import Function, Operator
from lhc.runtime.gradients.operators.neural import fused_product


def _apart(x: Tensor, heads: int) -> Tensor:
    """``(sequences, tokens, heads * size)`` -> ``(sequences, heads, tokens, size)``."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _turned(x: Tensor, at: Tensor, cosines: Tensor, sines: Tensor, interleaved: bool) -> Tensor:
    """Pairs of numbers of each head turned by angles of their places ``(sequences, tokens)``; further numbers stay."""
    cos, sin = (table[at][:, None].to(x.dtype) for table in (cosines, sines))
    size = 2 * cos.shape[-1]
    first, second = (x[..., 0:size:2], x[..., 1:size:2]) if interleaved else x[..., :size].chunk(2, dim=-1)
    pair = first * cos - second * sin, first * sin + second * cos
    turned = torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)
    return torch.cat([turned, x[..., size:]], dim=-1)


def _rotary(op: Operator, x: Tensor, places: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """RotaryEmbedding: one place to begin from, or one for every token."""
    if op.get("is_packed_batching", 0) or op.get("scale", 1.0) != 1.0:
        raise op.unsupported("it is packed or scaled")
    heads = op.get("num_heads", 0) if op.get("rotary_embedding_dim", 0) else x.shape[-1] // (2 * cosines.shape[-1])
    q = x if x.ndim == 4 else _apart(x, heads)
    at = places.long()
    if at.numel() == 1:
        at = (at.reshape(1, 1) + torch.arange(q.shape[2])[None]).expand(len(q), -1)
    turned = _turned(q, at, cosines, sines, bool(op.get("interleaved", 0)))
    return turned if x.ndim == 4 else turned.transpose(1, 2).flatten(2)


def _joined(past: Tensor | None, new: Tensor, lengths: Tensor, total: int) -> Tensor:
    """Cached values of each sequence up to its length, then the new ones, then 0."""
    if past is None:
        past = new[:, :, :0]
    every = torch.cat([past, new], dim=2)
    place, start = torch.arange(max(past.shape[2], total))[None], lengths[:, None]
    at = torch.where(place < start, place, place - start + past.shape[2])
    given = (place < start + new.shape[2])[:, None, :, None]
    at = at.clamp(max=every.shape[2] - 1)[:, None, :, None].expand(-1, every.shape[1], -1, every.shape[3])
    return torch.where(given, every.gather(2, at), torch.zeros((), dtype=new.dtype))


_PLAIN: Mapping[str, object] = {"causal": 1, "k_quant_type": "NONE", "v_quant_type": "NONE", "qk_output": 0}
"""Attributes that have a function with these values alone."""


def _grouped(
    op: Operator,
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    last: Tensor,
    total: Tensor,
    cosines: Tensor | None = None,
    sines: Tensor | None = None,
    places: Tensor | None = None,
    added: Tensor | None = None,
    *more: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """GroupQueryAttention: output, and all keys and values; ``last`` is the place of each sequence's last token."""
    heads, groups = op.attributes["num_heads"], op.attributes["kv_num_heads"]
    if any(op.get(name, plain) != plain for name, plain in _PLAIN.items()) or any(one is not None for one in more):
        raise op.unsupported("it has sinks, norms or a cache of few bits, or sees what is later")
    tokens, everything = query.shape[1], int(total)
    if 0 < op.get("local_window_size", -1) < everything:
        raise op.unsupported("its window is shorter than the sequences")
    if key is None or value is None:
        size = query.shape[2] // (heads + 2 * groups)
        query, key, value = torch.split(query, [heads * size, groups * size, groups * size], dim=2)
    q, k, v = _apart(query, heads), _apart(key, groups), _apart(value, groups)
    before = torch.zeros(len(q), dtype=torch.long)
    if tokens != everything:
        before = last.long().reshape(-1) + 1 - tokens
    at = before[:, None] + torch.arange(tokens)[None]
    if op.get("do_rotary", 0) and cosines is not None and sines is not None:
        rotated = at if places is None else places.long()
        inter = bool(op.get("rotary_interleaved", 0))
        q, k = (_turned(x, rotated, cosines, sines, inter) for x in (q, k))
    keys, values = _joined(past_key, k, before, everything), _joined(past_value, v, before, everything)
    seen = (torch.arange(keys.shape[2])[None, None] <= at[..., None])[:, None]
    k, v = (x.repeat_interleave(heads // groups, dim=1) for x in (keys, values))
    output = _attended(op, q, k, v, seen, added)
    return output.transpose(1, 2).flatten(2), keys, values


def _attended(op: Operator, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, added: Tensor | None) -> Tensor:
    """Values weighted by scores of the keys that are seen."""
    scores = q @ k.transpose(-1, -2) * (op.get("scale", 0.0) or 1 / math.sqrt(q.shape[-1]))
    cap = op.get("softcap", 0.0)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    if added is not None:
        places = min(added.shape[-1], scores.shape[-1])
        scores = scores[..., :places] + added[..., :places]
        seen, v = seen[..., :places], v[:, :, :places]
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    if op.get("smooth_softmax", 0):  # one more key, of score and value 0
        none = torch.zeros_like(scores[..., :1])
        return torch.cat([scores, none], dim=-1).softmax(dim=-1)[..., :-1] @ v
    return scores.softmax(dim=-1) @ v


HEADS: Mapping[str, Function] = {"GroupQueryAttention": _grouped, "RotaryEmbedding": _rotary}
"""Operators of ``com.microsoft`` that have a differentiable function here, by name."""


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
