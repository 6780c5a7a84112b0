"""Mark of a compiled model: the key ``lhc.compiled``, beside the annotations it was made from.

A compiled model holds another graph than the network that it was made from; ``lhc.source`` names that network.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.onnx_io.annotate.annotations import annotate, metadata, metadata_of_file, named_nodes, node_keys
from lhc.onnx_model import OnnxModel, all_nodes

if TYPE_CHECKING:
    from lhc.plan import Plan

__all__ = ["COMPILED_KEY", "compiled_from", "compiled_note", "mark_compiled", "refuse_compiled"]

COMPILED_KEY = "lhc.compiled"


def mark_compiled(
    proto: onnx.ModelProto, model: OnnxModel, plan: "Plan", graph: LayerGraph, about: Mapping[str, object]
) -> None:
    """Give a compiled model all metadata of the network: lhc's, and everybody else's, which conversions lose.

    Args:
        proto: the compiled model, whose nodes have the names that they had; changed in place.
    """
    before = annotate(model, plan, graph)
    by_name = dict(named_nodes(before.graph))
    parts = {layer.name: node_keys(layer) for layer in plan.layers if layer.origin not in (None, layer.name)}
    for node in all_nodes(proto.graph):
        if node.name in by_name:
            del node.metadata_props[:]
            node.metadata_props.extend(by_name[node.name].metadata_props)
        for key, value in parts.get(node.name, {}).items():
            node.metadata_props.add(key=key, value=value)
    del proto.metadata_props[:]
    proto.metadata_props.extend(entry for entry in before.metadata_props if entry.key != "lhc.source")
    proto.metadata_props.add(key="lhc.source", value=model.source)
    proto.metadata_props.add(key=COMPILED_KEY, value=json.dumps(dict(about)))


def compiled_note(model: OnnxModel) -> str | None:
    """Sentence on the chip that a compiled model is; None for any other model."""
    keys = metadata(model.proto)
    if COMPILED_KEY not in keys:
        return None
    try:
        about = dict(json.loads(keys[COMPILED_KEY]))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{model.label}: its key {COMPILED_KEY} cannot be read: {error}; compile it again") from error
    what = ", ".join(f"{key} {value}" for key, value in about.items())
    return f"a compiled model ({what}) of the network {str(keys.get('lhc.source'))[:12]}"


def refuse_compiled(model: OnnxModel) -> None:
    """Refuse a compiled model where a network is needed.

    Raises:
        ModelError: it is one.
    """
    if COMPILED_KEY in metadata(model.proto):
        raise ModelError(
            f"{model.label}: is a compiled model, whose analog layers are functions; onnxruntime runs it as it is,"
            " lhc takes the network that it was made from"
        )


def compiled_from(path: Path) -> str | None:
    """The ``lhc.source`` of a file that lhc compiled; None for any other file."""
    keys = metadata_of_file(path)
    return keys.get("lhc.source") if COMPILED_KEY in keys else None
