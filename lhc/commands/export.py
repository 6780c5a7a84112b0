"""A network of the zoo as ONNX."""

from pathlib import Path

import onnx

from lhc.models import zoo_entry


def export(name: str, weights: str | Path | None = None) -> onnx.ModelProto:
    """A network of the zoo as ONNX.

    Args:
        weights: trained weights: an ``.npz`` or a PyTorch state dict; its own by default.

    Raises:
        UsageError: the zoo has no such network, or no weights for it.
        ModelError: the weights cannot be read, or are those of another network.
    """
    return zoo_entry(name).model(None if weights is None else Path(weights))
