"""Types and shapes of inner tensors, for segments."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lhc.errors import ModelError
from lhc.onnx_io import declared_shape, load_model
from lhc.runtime.onnxruntime.tensor_types import tensor_types

NET = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
net (float[N, 3, 8, H] x) => (float[N, 5] y) <float[1, 7, 9, 9] c> {
  c = Conv(x, w)
  g = GlobalAveragePool(c)
  f = Flatten(g)
  h = com.microsoft.FastGelu(f)
  y = Softmax(h)
  s = SequenceConstruct(f, h)
  l = SequenceLength(s)
}"""


@pytest.fixture
def net() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NET)
    weights = np.ones((5, 3, 3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model


def shapes(model: onnx.ModelProto, *tensors: str) -> dict[str, object]:
    found = tensor_types(load_model(model), tensors)
    assert {type_.tensor_type.elem_type for type_ in found.values()} == {onnx.TensorProto.FLOAT}
    return {name: declared_shape(onnx.ValueInfoProto(name=name, type=type_)) for name, type_ in found.items()}


def test_sizes_are_those_of_every_batch_and_not_of_the_exporters_example(net: onnx.ModelProto) -> None:
    assert shapes(net, "c", "g", "f") == {"c": (None, 5, 6, None), "g": (None, 5, 1, 1), "f": (None, 5)}


def test_onnxruntime_knows_what_inference_does_not(net: onnx.ModelProto) -> None:
    assert shapes(net, "h") == {"h": (None, 5)}


def test_what_is_no_tensor_is_refused(net: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match=r"'s' passes between digital segments and is a seq\(tensor\(float\)\)"):
        tensor_types(load_model(net), ["s"])
