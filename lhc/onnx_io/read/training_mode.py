"""Operators that still train: what an export in training mode leaves in a file.

An active Dropout is random: its third input is a stored true, and its ratio is not 0 (0.5 where it is missing). A
BatchNormalization with ``training_mode`` normalises by the samples that it is called with, so that an answer depends
on the other samples of the call.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from lhc.onnx_io.read.constants import Constants
from lhc.onnx_model import OnnxModel, all_nodes, subgraphs


@dataclass(frozen=True)
class TrainingMode:
    """Names of the operators that still train.

    Attributes:
        random: active Dropouts.
        batched: BatchNormalizations that normalise by the batch.
    """

    random: tuple[str, ...]
    batched: tuple[str, ...]


def training_mode(model: OnnxModel) -> TrainingMode:
    """Operators of a model that still train, in bodies and local functions too."""
    graphs = [model.proto.graph, *(onnx.GraphProto(node=function.node) for function in model.proto.functions)]
    random: list[str] = []
    batched: list[str] = []
    for graph in graphs:
        if any(node.op_type in ("Dropout", "BatchNormalization") for node in all_nodes(graph)):
            for node, constants in _with_constants(graph, Constants(graph)):
                if _is_random(node, constants):
                    random.append(node.name)
                elif _is_batched(node):
                    batched.append(node.name)
    return TrainingMode(tuple(random), tuple(batched))


def _with_constants(graph: onnx.GraphProto, constants: Constants) -> Iterator[tuple[onnx.NodeProto, Constants]]:
    for node in graph.node:
        yield node, constants
        for _, body in subgraphs(node):
            yield from _with_constants(body, Constants(body, constants))


def _is_random(node: onnx.NodeProto, constants: Constants) -> bool:
    if node.op_type != "Dropout" or node.domain not in ("", "ai.onnx") or len(node.input) < 3:
        return False
    _, ratio, active = node.input[:3]
    if not constants.is_stored(active) or not constants.value(active).any():
        return False
    return not constants.is_stored(ratio) or bool(constants.value(ratio).any())


def _is_batched(node: onnx.NodeProto) -> bool:
    if node.op_type != "BatchNormalization" or node.domain not in ("", "ai.onnx"):
        return False
    return any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
