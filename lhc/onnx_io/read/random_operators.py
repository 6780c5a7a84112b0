"""Operators that draw random numbers whenever the network is called."""

import onnx

from lhc.graph import RANDOM_OPS
from lhc.onnx_model import OnnxModel, all_nodes


def random_operators(model: OnnxModel) -> tuple[onnx.NodeProto, ...]:
    """Operators of a model that draw, in bodies and local functions too.

    An active Dropout is none of them: `training_mode` names it.
    """
    graphs = [model.proto.graph, *(onnx.GraphProto(node=function.node) for function in model.proto.functions)]
    kinds = RANDOM_OPS - {"Dropout"}
    return tuple(
        node
        for graph in graphs
        for node in all_nodes(graph)
        if node.op_type in kinds and node.domain in ("", "ai.onnx")
    )
