"""The ONNX model as it was read, and what identifies it."""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import onnx

__all__ = ["KEY_PREFIX", "OnnxModel", "without_annotations"]

KEY_PREFIX = "lhc."
"""Metadata keys that lhc owns start with this."""


def without_annotations(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model without any of lhc's metadata; everything else, foreign keys included, is kept."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for holder in (copy, *copy.graph.node):
        kept = [entry for entry in holder.metadata_props if not entry.key.startswith(KEY_PREFIX)]
        if len(kept) != len(holder.metadata_props):
            kept = [onnx.StringStringEntryProto(key=e.key, value=e.value) for e in kept]
            del holder.metadata_props[:]
            holder.metadata_props.extend(kept)
    return copy


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model in memory, every node with a unique name.

    Attributes:
        proto: the model; not to be changed.
        path: file it came from, or None.
        renamed: ``(old, new)`` names of nodes that had no name or a duplicate one.
        label: how it is called in messages.
    """

    proto: onnx.ModelProto
    path: Path | None = None
    renamed: tuple[tuple[str, str], ...] = field(default=())
    label: str = "model"

    @cached_property
    def source(self) -> str:
        """SHA-256 of graph and weights without lhc's own keys: the same before and after annotation."""
        return sha256(without_annotations(self.proto).SerializeToString(deterministic=True)).hexdigest()
