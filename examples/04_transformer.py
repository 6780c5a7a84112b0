"""A small PyTorch transformer: which of its products may be analog, and how much damage does each kind do?

Half a minute. The weights are random, so the figures mean nothing; the way to them is that of a real network.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

import lhc


class Tagger(nn.Module):
    """Two encoder layers that give every position one of eight tags."""

    def __init__(self) -> None:
        """Width 32, four heads."""
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(samples, positions, 32) -> (samples, positions, 8)``."""
        tags: torch.Tensor = self.head(self.encoder(x))
        return tags


def main() -> None:
    """Export, analyze, measure."""
    torch.manual_seed(0)
    samples = np.random.default_rng(0).normal(size=(64, 16, 32)).astype(np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tagger.onnx"
        torch.onnx.export(
            Tagger().eval(),
            (torch.from_numpy(samples[:2]),),
            path,
            input_names=["x"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        print(lhc.analyze(path).table(), end="\n\n")
        print(lhc.sensitivity(path, {"x": samples}, draws=4).table())


if __name__ == "__main__":
    main()
