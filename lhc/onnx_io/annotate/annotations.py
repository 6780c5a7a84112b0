"""Plans as ONNX metadata: the only module that knows lhc's keys.

Node keys are what Netron shows; ``lhc.plan`` and ``lhc.hardware`` on the model hold everything and survive most
optimisers. Values are strings; keys are set or replaced, never appended. Nothing else of the model changes.

A compiled model has the key ``lhc.compiled`` beside the annotations that it was made from. It holds another graph than
the network that it was made from; ``lhc.source`` names that network.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from lhc.errors import ConfigError, ModelError
from lhc.graph import LayerGraph
from lhc.onnx_io.read.subgraphs import inner_nodes
from lhc.onnx_model import KEY_PREFIX, LAYER_ANN, OWN_LAYER_ANN, OnnxModel, all_nodes, without_annotations
from lhc.support.documents import holds_more

if TYPE_CHECKING:
    from lhc.plan import LayerPlan, Plan

_LIMIT = 32 * 2**20
"""Largest metadata value that is read, in characters."""
_HARDWARE = 2**22
"""Largest hardware description, in characters."""
_NESTED = 1000
"""Layers that a plan may have beyond the operators of the model: products in local functions."""
_ENTRIES = 64
"""Most values that the plan holds for an operator."""


def node_keys(layer: "LayerPlan") -> dict[str, str]:
    """Metadata keys of a node."""
    analog = layer.placement == "analog"
    keys = {
        "lhc.placement": layer.placement,
        "lhc.reason": layer.reason,
        "lhc.detail": layer.detail,
        "lhc.macs": str(layer.macs),
        "lhc.tiles": str(layer.tiles if analog else 0),
    }
    if analog and layer.copies > 1:
        keys["lhc.copies"] = str(layer.copies)
    if layer.precision is not None:
        keys["lhc.precision"] = layer.precision
    if layer.activation_macs:
        keys["lhc.activation_macs"] = str(layer.activation_macs)
    if layer.sensitivity is not None:
        keys["lhc.sensitivity"] = layer.sensitivity_text
    if layer.input_range is not None:
        keys["lhc.input_range"] = " ".join(f"{value:.6g}" for value in layer.input_range)
    return keys


def keys_of_nodes(layers: "Iterable[LayerPlan]") -> dict[str, dict[str, str]]:
    """Metadata keys of each node of the file, by its name.

    A node that stands for several products has the sums of their MACs and tiles, and what each has of its own by its
    part. Its placement is ``mixed`` where its products' differ.
    """
    nodes: dict[str, list[LayerPlan]] = {}
    for layer in layers:
        nodes.setdefault(layer.origin or layer.name, []).append(layer)
    return {name: _keys_of_parts(name, parts) for name, parts in nodes.items()}


def _keys_of_parts(node: str, parts: "Sequence[LayerPlan]") -> dict[str, str]:
    from lhc.plan.recurrent_steps import folded_rows

    if len(parts) == 1:
        return node_keys(parts[0])
    # Steps by the same weights are placed alike.
    products = folded_rows([part for part in parts if part.macs] or parts)
    found = {row.name.removeprefix(f"{node}/"): node_keys(row) for row in products}

    def told(key: str, differing: str) -> str:
        values = {keys[key] for keys in found.values()}
        return values.pop() if len(values) == 1 else differing

    def by_part(key: str) -> str:
        return "; ".join(f"{part}: {keys[key]}" for part, keys in found.items() if key in keys)

    sums = {
        "lhc.placement": told("lhc.placement", "mixed"),
        "lhc.reason": told("lhc.reason", "mixed"),
        "lhc.detail": told("lhc.detail", by_part("lhc.detail")),
        "lhc.macs": str(sum(part.macs for part in parts)),
        "lhc.tiles": str(sum(int(keys["lhc.tiles"]) for keys in found.values())),
    }
    apart = {key: by_part(key) for key in ("lhc.copies", "lhc.precision", "lhc.sensitivity", "lhc.input_range")}
    return sums | {key: value for key, value in apart.items() if value}


def _model_keys(plan: "Plan", graph: LayerGraph) -> dict[str, str]:
    from lhc.plan import SCHEMA_VERSION
    from lhc.plan.summary import summary

    keys = {
        "lhc.schema": str(SCHEMA_VERSION),
        "lhc.version": plan.lhc_version,
        "lhc.source": plan.source,
        "lhc.summary": summary(plan, graph),
        "lhc.hardware": plan.hardware.model_dump_json(),
        "lhc.plan": json.dumps(
            [layer.model_dump(mode="json") for layer in plan.layers], separators=(",", ":"), ensure_ascii=False
        ),
    }
    if plan.digital is not None:
        keys["lhc.digital"] = plan.digital.model_dump_json()
    if plan.agreement is not None:
        keys["lhc.agreement"] = plan.agreement.model_dump_json()
    if plan.conformance is not None:
        keys["lhc.conformance"] = plan.conformance.model_dump_json()
    if plan.outcome is not None:
        keys["lhc.result"] = plan.outcome.model_dump_json()
    if plan.control:
        keys["lhc.control"] = json.dumps(plan.control)
    if plan.shapes:
        keys["lhc.shapes"] = json.dumps(plan.shapes)
    if plan.command:
        keys["lhc.command"] = plan.command
    return keys


def _add(holder: onnx.ModelProto | onnx.NodeProto, keys: Mapping[str, str]) -> None:
    for key, value in keys.items():
        holder.metadata_props.add(key=key, value=value)


def annotate(model: OnnxModel, plan: "Plan", graph: LayerGraph, layer_ann: bool = False) -> onnx.ModelProto:
    """The model with the plan in its metadata and nothing else changed; earlier keys of lhc are replaced.

    lhc's keys come before those of other tools, which keep their order.

    Args:
        layer_ann: also write onnxruntime's key ``layer_ann``, analog or digital, on nodes that have none.
    """
    proto = without_annotations(model.as_file())
    by_name = keys_of_nodes(plan.layers)
    for name, node in named_nodes(proto.graph):
        if name in by_name:
            _add(node, by_name[name])
            # A device takes a whole node or none of it.
            placement = by_name[name]["lhc.placement"].replace("mixed", "digital")
            if layer_ann and all(entry.key != LAYER_ANN for entry in node.metadata_props):
                _add(node, {LAYER_ANN: placement, OWN_LAYER_ANN: "true"})
    _add(proto, _model_keys(plan, graph))
    put_own_keys_first(proto)
    return proto


def put_own_keys_first(proto: onnx.ModelProto) -> None:
    """Move lhc's keys before those of other tools, in place: viewers show rows in this order, and traces are long."""
    holders: list[onnx.ModelProto | onnx.NodeProto] = [proto, *(node for _, node in named_nodes(proto.graph))]
    for holder in holders:
        ordered = sorted(holder.metadata_props, key=lambda entry: not entry.key.startswith(KEY_PREFIX))
        del holder.metadata_props[:]
        holder.metadata_props.extend(ordered)


def named_nodes(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Operators of the graph by name, then products in their bodies by the names that a plan has for them."""
    yield from ((node.name, node) for node in graph.node)
    yield from ((inner.name, inner.node) for inner in inner_nodes(graph))


def metadata(proto: onnx.ModelProto) -> dict[str, str]:
    """lhc's own keys on a model, with their values."""
    return {entry.key: entry.value for entry in proto.metadata_props if entry.key.startswith(KEY_PREFIX)}


def has_annotations(model: OnnxModel) -> bool:
    """Whether the model carries a plan."""
    return "lhc.plan" in metadata(model.proto)


def read_plan(model: OnnxModel) -> "Plan | None":
    """The plan that a model carries; None where it carries none.

    Raises:
        ModelError: malformed, larger than 32 MiB, or written by a newer lhc.
    """
    keys = metadata(model.proto)
    if "lhc.plan" not in keys:
        return None
    from lhc.plan import SCHEMA_VERSION, Plan  # takes as long to load as onnx: only where there is a plan

    if any(len(value) > _LIMIT for value in keys.values()):
        raise ModelError(f"{model.label}: lhc metadata larger than {_LIMIT >> 20} MiB; annotate the model again")
    schema = keys.get("lhc.schema", "")
    if schema != str(SCHEMA_VERSION):
        raise ModelError(
            f"{model.label}: annotated with schema {schema!r}, this lhc reads {SCHEMA_VERSION};"
            " update lhc or run 'lhc partition' again"
        )
    try:
        fields = {
            "lhc_version": keys.get("lhc.version", ""),
            "source": keys.get("lhc.source", ""),
            "hardware": json.loads(keys.get("lhc.hardware", "null")),
            "layers": json.loads(keys["lhc.plan"]),
            "control": json.loads(keys.get("lhc.control", "{}")),
            "shapes": json.loads(keys.get("lhc.shapes", "{}")),
            "digital": json.loads(keys.get("lhc.digital", "null")),
            "agreement": json.loads(keys.get("lhc.agreement", "null")),
            "conformance": json.loads(keys.get("lhc.conformance", "null")),
            "outcome": json.loads(keys["lhc.result"]) if "lhc.result" in keys else None,
            "command": keys.get("lhc.command", ""),
        }
        _check_size(fields, sum(1 for _ in named_nodes(model.proto.graph)))
        return Plan.parse(json.dumps(fields), "lhc.plan")
    except (ConfigError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{model.label}: its lhc metadata cannot be read: {error}; run 'lhc partition' again"
        ) from error


def _check_size(fields: Mapping[str, object], nodes: int) -> None:
    """Refuse what is much larger than any plan: a validator would list every fault of it."""
    layers = fields["layers"]
    if isinstance(layers, list) and len(layers) > nodes + _NESTED:
        raise ValueError(f"{len(layers)} layers planned, {nodes} in the model")
    most = _ENTRIES * (nodes + _NESTED)
    if holds_more([layers, *map(fields.get, ("shapes", "digital", "agreement", "conformance", "outcome"))], most):
        raise ValueError(f"more than {most} values for {nodes} layers")
    if len(json.dumps(fields["hardware"])) > _HARDWARE:
        raise ValueError(f"a hardware description of more than {_HARDWARE >> 10} KiB")


def contradictions(model: OnnxModel, plan: "Plan") -> list[str]:
    """Contradictions between keys on nodes and ``lhc.plan``: somebody edited one of them.

    ``lhc.plan`` is what lhc goes by.
    """
    planned = keys_of_nodes(plan.layers)
    found = []
    for name, node in named_nodes(model.in_file.graph):
        keys = {entry.key: entry.value for entry in node.metadata_props if entry.key.startswith(KEY_PREFIX)}
        keys.pop(OWN_LAYER_ANN, None)
        written = planned.pop(name, None)
        if written is None:
            if keys:
                found.append(f"node {name!r} carries a placement that lhc.plan does not know")
            continue
        placement = written["lhc.placement"]
        expected = _as_written(written, keys)
        wrong = sorted(key for key in keys.keys() | expected.keys() if keys.get(key) != expected.get(key))
        if not keys:
            found.append(f"node {name!r} lost its keys; lhc.plan has it {placement}")
        elif wrong:
            found.append(f"node {name!r}: {', '.join(wrong)} differ from lhc.plan, which has it {placement}")
    if not model.proto.functions:  # products in local functions have no node of their own
        found += [f"lhc.plan places {name!r}, which is not in the model" for name in planned]
    return found


def _as_written(expected: dict[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """Metadata that a node would carry.

    Earlier versions wrote the MACs of two activations under ``lhc.macs``, and sensitivities without saying how they
    were found.
    """
    if keys.get("lhc.sensitivity") == (figure := expected.get("lhc.sensitivity", "").partition(" with ")[0]) != "":
        expected = expected | {"lhc.sensitivity": figure}
    apart = expected.get("lhc.activation_macs")
    if apart is None or "lhc.activation_macs" in keys or expected["lhc.macs"] != "0":
        return expected
    return {key: value for key, value in expected.items() if key != "lhc.activation_macs"} | {"lhc.macs": apart}


def metadata_of_file(path: Path) -> dict[str, str]:
    """lhc's keys on the model in a file; none where there is no such file or no model in it."""
    try:
        return metadata(onnx.load_model(str(path), format="protobuf", load_external_data=False))
    except (DecodeError, OSError, ValueError):
        return {}


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
        return _chip_text(keys)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{model.label}: its key {COMPILED_KEY} cannot be read: {error}; compile it again") from error


def compiled_in(path: Path) -> str | None:
    """Sentence on the chip that a compiled file is; None where there is no such file, or none that can be read."""
    keys = metadata_of_file(path)
    try:
        return _chip_text(keys) if COMPILED_KEY in keys else None
    except (TypeError, ValueError):
        return None


def _chip_text(keys: Mapping[str, str]) -> str:
    what = ", ".join(f"{key} {value}" for key, value in dict(json.loads(keys[COMPILED_KEY])).items())
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
