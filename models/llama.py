"""PyTorch definition of a Llama-2-style decoder (Touvron et al., 2023) for whole sequences.

A layer: ``x -> x + o(attention(norm(x)))``, then ``x -> x + down(silu(gate(norm(x))) * up(norm(x)))``. RMS norm,
rotary positions on interleaved pairs (Su et al., 2021), grouped key and value heads (Ainslie et al., EMNLP 2023). No
projection has a bias; the output layer shares the embedding's weights.

Products between activations (scores, weighted values) have no constant operand and stay digital on any machine.

Imports torch when it is loaded, as `lhc.models.residual_networks` does.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5
"""Of all RMS norms."""
THETA = 10_000.0
"""Base of the rotary frequencies."""
PADDING = 0
"""Index that fills up short sequences (``<unk>``, which the tokenizer never gives)."""


class LlamaAttention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, width: int, heads: int, key_heads: int) -> None:
        """``heads`` heads of queries, which share ``key_heads`` heads of keys and values."""
        super().__init__()
        self.size = width // heads
        self.shared = heads // key_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, key_heads * self.size, bias=False)
        self.v_proj = nn.Linear(width, key_heads * self.size, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        query = _rotated(self._split(self.q_proj(x)))
        key = _rotated(self._split(self.k_proj(x))).repeat_interleave(self.shared, 1)
        value = self._split(self.v_proj(x)).repeat_interleave(self.shared, 1)
        index = torch.arange(x.shape[1], device=x.device)
        future = index[None, :] > index[:, None]
        scores = (query @ key.transpose(-1, -2) / self.size**0.5).masked_fill(future, torch.finfo(x.dtype).min)
        output: Tensor = self.o_proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return output

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (-1, self.size)).transpose(1, 2)


def _rotated(x: Tensor) -> Tensor:
    """Turn each pair ``(2i, 2i + 1)`` of ``(n, heads, sequence, size)`` by position times ``theta^(-2i / size)``."""
    size = x.shape[-1]
    frequencies = THETA ** (-torch.arange(0, size, 2, device=x.device) / size)
    angles = torch.arange(x.shape[-2], device=x.device)[:, None] * frequencies
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos())
    return torch.stack(turned, -1).flatten(-2)


class FeedForward(nn.Module):
    """``down(silu(gate(x)) * up(x))``."""

    def __init__(self, width: int, inner: int) -> None:
        """``inner`` is the width between the projections."""
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        result: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


class LlamaLayer(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, key_heads: int, inner: int) -> None:
        """Sizes as in `Llama`."""
        super().__init__()
        self.input_layernorm = nn.RMSNorm(width, eps=EPSILON)
        self.self_attn = LlamaAttention(width, heads, key_heads)
        self.post_attention_layernorm = nn.RMSNorm(width, eps=EPSILON)
        self.mlp = FeedForward(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        x = x + self.self_attn(self.input_layernorm(x))
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Llama(nn.Module):
    """The whole decoder, from indices to logits."""

    def __init__(self, words: int, width: int, layers: int, heads: int, key_heads: int, inner: int) -> None:
        """A decoder.

        Args:
            inner: width between the projections of the feed-forward.
        """
        super().__init__()
        self.embed_tokens = nn.Embedding(words, width)
        self.layers = nn.ModuleList(LlamaLayer(width, heads, key_heads, inner) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=EPSILON)
        self.lm_head = nn.Linear(width, words, bias=False)
        self.lm_head.weight = self.embed_tokens.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """``(n, sequence)`` indices to logits of the next index, ``(n, sequence, words)``; 0 behind padding.

        Sequences are filled up at the end, so no other logit depends on the padding.
        """
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.lm_head(self.norm(x))
        return torch.where(input_ids[..., None] == PADDING, 0.0, logits)
