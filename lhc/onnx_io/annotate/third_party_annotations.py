"""A placement in the forms that others read: ONNX's device configurations, onnxruntime's and onnx-mlir's settings.

ONNX (IR version 11 and later): the model names a configuration with the devices ``digital`` and ``analog``; a product
says that its outputs lie whole on one of them. Every operator of the main graph has its pipeline stage: the smallest
that is not below its producers' and has its device, even stages being digital and odd ones analog.

onnxruntime, from 1.25 on: ``session.layer_assignment_settings``, ``device(=value);device(=value)``, ``=`` for an exact
match: nodes whose key ``layer_ann`` is that value go to that device where an execution provider has it. Where no node
has the key, from 1.32 on: ``session.name_based_layer_assignment``, ``device(text, text); cpu(text)``: an operator goes
to the device of the longest text that is part of its name. Both are wishes, no guarantees.

onnx-mlir: ``--config-file``, JSON with ``nnpa_ops_config``, rules in the order of which the first that matches counts;
types and names are regular expressions of ECMAScript, for whole names.

A device takes a whole operator or none of it: one of whose products some are analog (``mixed``) is digital.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from lhc.errors import ConfigError, UsageError
from lhc.onnx_io.annotate.annotations import keys_of_nodes, named_nodes, read_plan
from lhc.onnx_io.read.subgraphs import inner_nodes
from lhc.onnx_model import CONFIGURATION, CONFIGURED_IR, EARLIER_IR, LAYER_ANN, OnnxModel, operator_graph

if TYPE_CHECKING:
    from lhc.plan import Plan
    from lhc.plan.layer_plan import Placement

_DEVICE = re.compile(r"(cpu|gpu|cuda|dml|npu|fpga|accelerator|gpu:\w+)")
"""What onnxruntime calls devices."""
_DEVICES: "tuple[Placement, ...]" = ("digital", "analog")
"""Of the configuration; even and odd stages are theirs."""
_NOT_IN_NAMES = re.compile(r"[,;()]|^[\s=]|\s$")
"""What onnxruntime's setting cannot say."""
_SPECIAL = re.compile(r"[\^$\\.*+?()\[\]{}|]")
"""What means something in an expression of ECMAScript."""


def add_device_configurations(proto: onnx.ModelProto, plan: "Plan") -> None:
    """Write a placement into a model as a device configuration, in place; an older IR version becomes 11.

    Args:
        proto: a model as its file holds it, without lhc's configuration.
    """
    import networkx as nx

    keys = keys_of_nodes(plan.layers)
    proto.metadata_props.add(key=EARLIER_IR, value=str(proto.ir_version))
    proto.ir_version = max(proto.ir_version, CONFIGURED_IR)
    proto.configuration.add(name=CONFIGURATION, num_devices=len(_DEVICES), device=_DEVICES)
    operators = operator_graph(proto.graph)
    stages: dict[int, int] = {}
    for number in nx.lexicographical_topological_sort(operators):
        node = proto.graph.node[number]
        device = _configure(node, keys.get(node.name))
        stage = max((stages[writer] for writer in operators.predecessors(number)), default=0)
        stages[number] = stage + (stage % len(_DEVICES) != device)
        node.device_configurations[-1].pipeline_stage = stages[number]
    for inner in inner_nodes(proto.graph):
        if inner.name in keys:
            _configure(inner.node, keys[inner.name])


def _configure(node: onnx.NodeProto, keys: Mapping[str, str] | None) -> int:
    """Write the device that a product's outputs lie on; returns its number, 0 for other operators."""
    device = int(keys is not None and keys["lhc.placement"] == "analog")
    configured = node.device_configurations.add(configuration_id=CONFIGURATION)
    for output in filter(None, () if keys is None else node.output):
        configured.sharding_spec.add(tensor_name=output, device=[device])
    return device


def configured_placements(model: OnnxModel) -> "dict[str, Placement]":
    """Operators that a device configuration places, whoever wrote it; empty where none has a device ``analog``."""
    proto = model.in_file
    devices = {one.name: list(one.device) for one in proto.configuration if "analog" in one.device}
    placements: dict[str, Placement] = {}
    for name, node in named_nodes(proto.graph):
        for one in node.device_configurations:
            names = devices.get(one.configuration_id, [])
            used = {index for spec in one.sharding_spec for index in spec.device if spec.tensor_name in node.output}
            if used:
                analog = all(0 <= index < len(names) and names[index] == "analog" for index in used)
                placements[name] = "analog" if analog else "digital"
    return placements


def lost_configurations(model: OnnxModel, plan: "Plan") -> bool:
    """Whether lhc wrote device configurations into a model, and another tool took some off its products."""
    written = any(entry.key == EARLIER_IR for entry in model.in_file.metadata_props)
    return written and not {layer.origin or layer.name for layer in plan.layers} <= configured_placements(model).keys()


def _named_placements(model: OnnxModel, plan: "Plan") -> "dict[str, tuple[onnx.NodeProto, Placement]]":
    """Operators of the file and how they are placed, by the names in the file.

    Where bodies have operators of one name, placed differently, they are digital.
    """
    keys = keys_of_nodes(plan.layers)
    graph = model.in_file.graph
    found: dict[str, tuple[onnx.NodeProto, Placement]] = {}
    for name, node in named_nodes(graph):
        if name in keys and node.name:
            analog = keys[name]["lhc.placement"] == "analog" and found.get(node.name, (node, "analog"))[1] == "analog"
            found[node.name] = node, "analog" if analog else "digital"
    return found


def layer_assignment(model: OnnxModel, device: str) -> tuple[str, str]:
    """Name and value of the session option that sends analog layers to a device and leaves digital ones on the CPU.

    Raises:
        UsageError: onnxruntime knows no such device, or the model has no placement.
    """
    if _DEVICE.fullmatch(device) is None:
        known = "cpu, gpu, cuda, dml, npu, fpga, accelerator or gpu:VENDOR"
        raise UsageError(f"--layer-assignment {device!r}: onnxruntime's devices are {known}")
    values = {e.value for node in model.proto.graph.node for e in node.metadata_props if e.key == LAYER_ANN}
    if values & {"analog", "digital"}:
        return "layer_assignment_settings", f"{device}(=analog);cpu(=digital)"
    plan = read_plan(model)
    if plan is None:
        raise UsageError(f"{model.label}: no placement, and no node has lhc's layer_ann; 'lhc partition' makes them")
    return "name_based_layer_assignment", _name_assignment(model, plan, device)


def _name_assignment(model: OnnxModel, plan: "Plan", device: str) -> str:
    """The value of ``session.name_based_layer_assignment`` that sends analog operators to a device.

    Digital ones are named for the CPU, and so is every other operator in whose name that of an analog one stands.

    Raises:
        UsageError: a name cannot be written in it.
    """
    placed = _named_placements(model, plan)
    analog = [name for name, (_, placement) in placed.items() if placement == "analog"]
    graph = model.in_file.graph
    others = {node.name for node in graph.node if any(name in node.name for name in analog)}
    digital = [name for name, (_, placement) in placed.items() if placement == "digital"]
    digital += sorted(others - placed.keys())
    for name in (*analog, *digital):
        if _NOT_IN_NAMES.search(name):
            raise UsageError(
                f"{model.label}: onnxruntime's setting cannot hold the name {name!r}; write its key layer_ann instead"
                " ('lhc partition --layer-ann')"
            )
    sides = ((device, analog), ("cpu", digital))
    return "; ".join(f"{side}({', '.join(names)})" for side, names in sides if names)


def nnpa_config(model: OnnxModel, plan: "Plan") -> str:
    """The placement as JSON for ``onnx-mlir --config-file``, a rule an operator; without those of other domains."""
    rules = [
        {
            "pattern": {
                "match": {"node_type": f"onnx\\.{node.op_type}", "onnx_node_name": _SPECIAL.sub(r"\\\g<0>", name)},
                "rewrite": {"device": "nnpa" if placement == "analog" else "cpu"},
            }
        }
        for name, (node, placement) in _named_placements(model, plan).items()
        if node.domain in ("", "ai.onnx")
    ]
    return json.dumps({"nnpa_ops_config": rules}, indent=2)


def placements_in(path: Path, model: OnnxModel) -> "dict[str, Placement] | None":
    """Placements of a model's operators in a settings file of onnx-mlir or onnxruntime; None for other files.

    Raises:
        ConfigError: a ``.json`` or ``.txt`` that holds no such settings.
    """
    if path.suffix not in (".json", ".txt"):
        return None
    try:
        text = path.read_text(encoding="utf-8")
        devices = _by_rules if path.suffix == ".json" else _by_names
        graph = model.in_file.graph
        return dict(devices(text, {name: node for name, node in named_nodes(graph) if node.name}))
    except (OSError, ValueError, TypeError, KeyError, re.error) as error:
        kind = "onnx-mlir's nnpa_ops_config" if path.suffix == ".json" else "onnxruntime's name_based_layer_assignment"
        why = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{path}: cannot be read as {kind}: {why}") from error


def _by_rules(text: str, nodes: Mapping[str, onnx.NodeProto]) -> "Iterator[tuple[str, Placement]]":
    rules = [rule["pattern"] for rule in json.loads(text)["nnpa_ops_config"]]
    for rule in rules:
        if {"inputs", "outputs"} & rule["match"].keys():
            raise ValueError("rules for sizes of tensors are not read")
    for name, node in nodes.items():
        for rule in rules:
            match, device = rule["match"], rule["rewrite"].get("device", "")
            of_type = re.fullmatch(match["node_type"], f"onnx.{node.op_type}")
            if of_type and re.fullmatch(match.get("onnx_node_name", ".*"), node.name):
                if device:
                    yield name, "analog" if device.lower() == "nnpa" else "digital"
                break


def _by_names(text: str, nodes: Mapping[str, onnx.NodeProto]) -> "Iterator[tuple[str, Placement]]":
    sides = [re.fullmatch(r"\s*([\w:]+)\s*\((.*)\)\s*", side, re.DOTALL) for side in text.split(";") if side.strip()]
    if not sides or None in sides:
        raise ValueError("write device(name, name); cpu(name)")
    texts = [(part.strip(), side[1]) for side in sides if side for part in side[2].split(",") if part.strip()]
    texts.sort(key=lambda one: -len(one[0]))
    for name, node in nodes.items():
        device = next((device for part, device in texts if part in node.name), None)
        if device is not None:
            yield name, "digital" if device == "cpu" else "analog"
