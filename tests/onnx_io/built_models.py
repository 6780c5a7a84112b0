"""Models of a few operators, and their only product."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lhc.graph import Layer, LayerGraph
from lhc.onnx_io import load_model
from lhc.onnx_model import OnnxModel

RNG = np.random.default_rng(20250817)
Shape = tuple[int | str | None, ...]


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    constants: dict[str, np.ndarray],
    outputs: tuple[str, ...] = ("y",),
) -> OnnxModel:
    """A float model, with the output shapes that inference finds."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for value, found in zip(graph.output, onnx.shape_inference.infer_shapes(proto).graph.output, strict=True):
        value.CopyFrom(found)
    proto.graph.CopyFrom(graph)
    return load_model(proto, "net")


def in_nodes(model: OnnxModel) -> OnnxModel:
    """The same model with its constants in Constant nodes, as Paddle and others write them."""
    proto = onnx.ModelProto.FromString(model.proto.SerializeToString())
    held = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in proto.graph.initializer]
    nodes = [*held, *proto.graph.node]
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return load_model(proto, "net")


def only_layer(graph: LayerGraph) -> Layer:
    (layer,) = graph.candidates
    return layer


def product_node(name: str, op: str, *operands: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(op, list(operands), [f"{name}.out"], name=name, **attributes)  # type: ignore[arg-type]
