"""Networks of one operator, whatever it is, and what it counts by hand."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lhc.graph import LayerGraph
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from tests.onnx_io.built_models import Shape

MICROSOFT = "com.microsoft"


def built(
    node: onnx.NodeProto,
    inputs: dict[str, Shape],
    constants: dict[str, np.ndarray],
    outputs: dict[str, Shape] | None = None,
) -> LayerGraph:
    """The graph of a network of one operator; shapes of its outputs are stored in it."""
    shapes = outputs or dict.fromkeys(filter(None, node.output))
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    domains = ("", MICROSOFT, "ai.onnx.ml", "com.ms.internal.nhwc", "com.microsoft.nchwc", "acme", "ai.onnx.preview")
    versions = {"": 23, "com.ms.internal.nhwc": 22, "ai.onnx.ml": 3}
    imports = [helper.make_opsetid(domain, versions.get(domain, 1)) for domain in domains]
    return read_graph(checked(helper.make_model(graph, opset_imports=imports, ir_version=11)))


def checked(proto: onnx.ModelProto) -> OnnxModel:
    """The model, its outputs with the shapes that inference finds: onnx asks for some."""
    for value, found in zip(proto.graph.output, onnx.shape_inference.infer_shapes(proto).graph.output, strict=True):
        value.CopyFrom(found)
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.dim.add()
    return load_model(proto, "net")


@dataclass(frozen=True)
class Counted:
    """One operator.

    Attributes:
        inputs: shape of every input in order; a name of a weight where it is stored, empty where it is not given.
        weights: stored ones by the name that ``inputs`` has.
        macs, activations, parameters: by hand.
        out: shape of the first output, where counting needs it.
    """

    id: str
    op: str
    inputs: tuple[Shape | str, ...]
    weights: dict[str, Any]
    macs: int
    parameters: int
    activations: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = MICROSOFT
    out: Shape | None = None
    note: str = ""

    def graph(self) -> LayerGraph:
        names = [name if isinstance(name, str) else f"x{index}" for index, name in enumerate(self.inputs)]
        outputs = ["y", "z"] if self.op.endswith("Classifier") else ["y"]
        node = helper.make_node(self.op, names, outputs, name="layer", domain=self.domain, **self.attributes)
        given = {f"x{index}": shape for index, shape in enumerate(self.inputs) if not isinstance(shape, str)}
        stored = {
            name: value if isinstance(value, np.ndarray) else np.ones(value, np.float32)
            for name, value in self.weights.items()
        }
        return built(node, given, stored, None if self.out is None else {"y": self.out})


def u8(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)
