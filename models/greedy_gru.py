"""PyTorch definition of a GRU that reads a sequence and one that writes another, each symbol the likeliest.

A step: ``r, z = sigmoid(Wx x + Wh h)`` and ``n = tanh(Wx x + r Wh h)``, of its thirds, then ``h = (1 - z) n + z h``
(Cho et al., EMNLP 2014, in the form of cuDNN). Loops are over Python numbers, so an exported graph has every step.

Imports torch when it is loaded.
"""

import torch
from torch import Tensor, nn


class GruCell(nn.Module):
    """One step of a GRU, its products by the input and by the state apart."""

    def __init__(self, width: int) -> None:
        """Of inputs and states of ``width``."""
        super().__init__()
        self.input = nn.Linear(width, 3 * width)
        self.recurrent = nn.Linear(width, 3 * width)

    def forward(self, gates: Tensor, state: Tensor) -> Tensor:
        """``input`` of the symbol ``(n, 3 width)`` and the state ``(n, width)`` to the next state."""
        width = state.shape[1]
        kept = self.recurrent(state)
        reset, update = torch.sigmoid(gates[:, : 2 * width] + kept[:, : 2 * width]).tensor_split(2, 1)
        new = torch.tanh(gates[:, 2 * width :] + reset * kept[:, 2 * width :])
        result: Tensor = (1 - update) * new + update * state
        return result


class GreedyGru(nn.Module):
    """Encoder and decoder; symbol 0 of what is read is padding behind the end."""

    def __init__(self, read: int, written: int, width: int, start: int, steps: int) -> None:
        """So many symbols are read and written, in so many steps, the first given the symbol ``start``."""
        super().__init__()
        self.letters = nn.Embedding(read, width)
        self.phonemes = nn.Embedding(written, width)
        self.encoder = GruCell(width)
        self.decoder = GruCell(width)
        self.output = nn.Linear(width, written)
        self.start = start
        self.steps = steps

    def forward(self, letters: Tensor) -> Tensor:
        """Symbols ``(n, length)`` to scores ``(n, steps, written)``."""
        gates = self.encoder.input(self.letters(letters))
        state = torch.zeros_like(gates[:, 0, : self.letters.embedding_dim])
        for step in range(letters.shape[1]):
            state = torch.where(letters[:, step, None] > 0, self.encoder(gates[:, step], state), state)
        symbol = torch.full_like(letters[:, 0], self.start)
        scores = []
        for _ in range(self.steps):
            state = self.decoder(self.decoder.input(self.phonemes(symbol)), state)
            scores.append(self.output(state))
            symbol = scores[-1].argmax(-1)
        return torch.stack(scores, 1)
