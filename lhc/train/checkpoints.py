"""Checkpoints: the whole state of a training in one file, replaced as a whole, so that a kill at any time is harmless.

A file belongs to one training: its name holds the digest of all that decides the result (model, samples, placement,
settings). A run that finds its own file goes on behind it and ends with the same bytes as if it had not been cut off.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from lhc.errors import DataError, UsageError
from lhc.samples.task import Array
from lhc.support.files import write_file


def tensors(weights: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """Arrays as a checkpoint holds them."""
    return {name: torch.from_numpy(array) for name, array in weights.items()}


def arrays(weights: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Arrays from what a checkpoint holds of them."""
    return {name: tensor.numpy() for name, tensor in weights.items()}


@dataclass(frozen=True)
class Checkpoint:
    """File that holds the state of one training."""

    path: Path

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, object]) -> "Checkpoint":
        """The checkpoint of a training, in a folder that is made if it does not exist.

        Args:
            facts: what decides the result of the training.

        Raises:
            UsageError: the folder cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--checkpoint {folder}: {error.strerror or error}") from error
        digest = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return cls(folder / f"retraining-{digest[:16]}.pt")

    def write(self, state: Mapping[str, object]) -> None:
        """Replace the state: tensors, numbers, texts, and lists and dicts of these."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_file(self.path, lambda file: file.write(buffer.getbuffer()))

    def read(self) -> dict[str, Any] | None:
        """The state; None where there is none yet.

        Raises:
            DataError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever its formats run into
            raise DataError(f"{self.path}: a damaged checkpoint ({error}); delete it to begin anew") from error
        return state
