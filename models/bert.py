"""PyTorch definition of the BERT encoder (Devlin et al., NAACL 2019) with the heads that the zoo uses.

Modules are named as in Hugging Face's checkpoints, whose weights load as they are; the pooler is left out. Dropout is
left out too: these networks are for inference.

A layer: ``x -> norm(x + output(attention(x)))``, then ``x -> norm(x + down(gelu(up(x))))``, with the exact GELU.
Products between activations (scores, weighted values) have no constant operand and stay digital on any machine.

Imports torch when it is loaded, as `lhc.models.residual_networks` does.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-12
"""Of all layer norms."""
PADDING_LOGIT = -1e4
"""Logit of padding: nothing in any softmax in float32."""


class Embeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised."""

    def __init__(self, words: int, positions: int, width: int) -> None:
        """Tables of ``words``, ``positions`` and two segments, each of ``width``."""
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, ids: Tensor, segments: Tensor) -> Tensor:
        """``(n, sequence)`` indices to ``(n, sequence, width)``."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        words = self.word_embeddings(ids) + self.token_type_embeddings(segments)
        normalised: Tensor = self.LayerNorm(words + self.position_embeddings(positions))
        return normalised


class SelfAttention(nn.Module):
    """``softmax(Q K^T / sqrt(d) + mask) V`` in ``heads`` heads."""

    def __init__(self, width: int, heads: int) -> None:
        """Three projections of ``width``, split over ``heads``."""
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, sequence, width)``; ``mask (n, 1, 1, sequence)`` is added to the scores."""
        query, key, value = (self._split(project(x)) for project in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        attended: Tensor = (scores + mask).softmax(-1) @ value
        return attended.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class Residual(nn.Module):
    """``norm(residual + dense(x))``."""

    def __init__(self, inner: int, width: int) -> None:
        """A projection from ``inner`` to ``width``."""
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """``(n, sequence, inner)`` and ``(n, sequence, width)`` to ``(n, sequence, width)``."""
        normalised: Tensor = self.LayerNorm(residual + self.dense(x))
        return normalised


class BertAttention(nn.Module):
    """Self-attention with its output projection."""

    def __init__(self, width: int, heads: int) -> None:
        """Attention of ``width``, in ``heads`` heads."""
        super().__init__()
        self.self = SelfAttention(width, heads)
        self.output = Residual(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        attended: Tensor = self.output(self.self(x, mask), x)
        return attended


class Expansion(nn.Module):
    """``gelu(dense(x))``."""

    def __init__(self, width: int, inner: int) -> None:
        """A projection from ``width`` to ``inner``."""
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, sequence, width)`` to ``(n, sequence, inner)``."""
        return functional.gelu(self.dense(x))


class BertLayer(nn.Module):
    """Attention, then two dense layers."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        """Block of ``width``; ``inner`` is the width between the dense layers."""
        super().__init__()
        self.attention = BertAttention(width, heads)
        self.intermediate = Expansion(width, inner)
        self.output = Residual(inner, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        attended = self.attention(x, mask)
        result: Tensor = self.output(self.intermediate(attended), attended)
        return result


class Encoder(nn.Module):
    """Layers, one after the other."""

    def __init__(self, layers: int, width: int, heads: int, inner: int) -> None:
        """``layers`` equal layers."""
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(width, heads, inner) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, sequence, width)`` to the same."""
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Bert(nn.Module):
    """The encoder, from indices of word pieces to hidden states."""

    def __init__(self, words: int, positions: int, width: int, layers: int, heads: int, inner: int) -> None:
        """An encoder.

        Args:
            inner: width between the two dense layers of a layer.
        """
        super().__init__()
        self.embeddings = Embeddings(words, positions, width)
        self.encoder = Encoder(layers, width, heads, inner)

    def hidden(self, ids: Tensor, attention_mask: Tensor, segments: Tensor) -> Tensor:
        """``(n, sequence)`` indices, 1/0 mask and segments to ``(n, sequence, width)``."""
        mask = (1.0 - attention_mask.float())[:, None, None] * torch.finfo(torch.float32).min
        states: Tensor = self.encoder(self.embeddings(ids, segments), mask)
        return states


class PairSimilarity(Bert):
    """Cosine similarity of two sentences; a sentence's vector is the mean of its tokens' states, of length 1.

    Both sentences of a pair go through the one encoder as rows of the same batch.
    """

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, 2, sequence)`` indices and 1/0 mask to the similarities ``(n,)`` and the vectors ``(n, 2, width)``."""
        ids, mask = input_ids.flatten(0, 1), attention_mask.flatten(0, 1)
        states = self.hidden(ids, mask, torch.zeros_like(ids))
        weights = mask.float().unsqueeze(-1)
        means = (states * weights).sum(1) / weights.sum(1)
        vectors = torch.unflatten(functional.normalize(means, dim=-1), 0, (-1, 2))
        return (vectors[:, 0] * vectors[:, 1]).sum(-1), vectors


class SpanFinder(Bert):
    """Extractive question answering: where the answer starts and ends."""

    def __init__(self, words: int, positions: int, width: int, layers: int, heads: int, inner: int) -> None:
        """An encoder as `Bert`, and a linear layer of two outputs on its states."""
        super().__init__(words, positions, width, layers, heads, inner)
        self.qa = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """``(n, sequence)`` indices, 1/0 mask and segments to logits of start and end, ``(n, 2, sequence)``."""
        logits = self.qa(self.hidden(input_ids, attention_mask, token_type_ids))
        return masked_spans(logits.transpose(1, 2), attention_mask)


def masked_spans(logits: Tensor, attention_mask: Tensor) -> Tensor:
    """Logits ``(n, 2, sequence)`` with those of padding put out of any comparison."""
    return torch.where(attention_mask[:, None] > 0, logits, PADDING_LOGIT)
