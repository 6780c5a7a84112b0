"""Reading a model in order to look at it: weights in other files are neither needed nor read."""

from copy import deepcopy
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from lhc.models import is_zoo_name
from lhc.onnx_io import contradictions, load_model, put_own_keys_first
from lhc.onnx_io.read.model_files import sort_nodes
from lhc.onnx_model import OnnxModel
from lhc.plan import Plan


def open_for_viewing(source: str) -> OnnxModel:
    """A model by path or zoo name, its nodes named as everywhere in lhc, and its keys before those of other tools.

    Raises:
        ModelError: it cannot be read.
    """
    model = _opened(source)
    put_own_keys_first(model.proto)
    return model


def _opened(source: str) -> OnnxModel:
    from lhc.runtime.onnxruntime.sandboxed_open import probe
    from lhc.runtime.onnxruntime.sessions import must_run  # its package loads onnxruntime

    path = Path(source)
    if is_zoo_name(source) and not path.is_file():
        from lhc.pipeline.inputs.model_source import open_model

        return open_model(source).model
    if path.exists() and not path.is_file():
        return load_model(path)  # which refuses it; a pipe is not waited for
    try:
        proto = onnx.load_model(source, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return load_model(path)  # which says what is wrong with it
    if not _outside(proto):
        return load_model(path, probe=probe, runs=must_run)
    probe(path)
    named = load_model(_without_weights(proto), label=source, runs=_is_only_looked_at)
    sort_nodes(proto.graph)
    for node, other in zip(proto.graph.node, named.proto.graph.node, strict=True):
        node.name = other.name
    return OnnxModel(proto, path, named.renamed, source)


def _is_only_looked_at(proto: onnx.ModelProto, label: str) -> None:
    """Nothing that onnx's checker has against a model keeps it from being shown; without weights it cannot be run."""


def has_weights_outside(model: OnnxModel) -> bool:
    """Whether tensors are in other files, so that the source of the annotations cannot be told from the model alone."""
    return _outside(model.proto)


def _outside(proto: onnx.ModelProto) -> bool:
    return any(uses_external_data(tensor) for tensor in proto.graph.initializer)


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that can be checked without the other files: the tensors in them are empty."""
    copy = deepcopy(proto)
    for tensor in copy.graph.initializer:
        if uses_external_data(tensor):
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
    return copy


def annotation_notes(model: OnnxModel, plan: Plan | None) -> tuple[str, ...]:
    """Notes on why nothing is coloured, or what cannot be checked because weights are in other files."""
    if plan is None:
        return ("note: no lhc annotations, so no layer is coloured; 'lhc partition' makes them",)
    if not has_weights_outside(model):
        return ()
    return (
        "note: weights are in other files, so whether they are still those of the plan was not checked",
        *(f"warning: {model.label}: {problem}" for problem in contradictions(model, plan)[:5]),
    )
