"""Small models, and whether they equal onnxruntime when all of their products run on tiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from lhc.hardware import Hardware
from lhc.runtime import HybridSession
from tests.networks import parsed

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

LIONHEART = Hardware.load("lionheart")
IDEAL = Hardware.load("ideal")
TOLERANCE = 1e-5
"""Greatest error allowed, relative to the greatest magnitude of the output."""


def normal(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> Array:
    return rng.normal(size=tuple(shape)).astype(dtype)


def linear(weight: np.ndarray) -> onnx.ModelProto:
    """A product ``a`` with weights ``(inputs, outputs)``."""
    shapes = "g (float[N, {}] x) => (float[N, {}] y)".format(*weight.shape)
    return parsed(f'<ir_version: 8, opset_import: ["": 17]> {shapes} {{ [a] y = MatMul (x, w) }}', {"w": weight})


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Feeds,
    outputs: Mapping[str, int],
    constants: Feeds,
    dtypes: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A model whose inputs have a symbolic first axis.

    Args:
        nodes: operators.
        inputs: name -> an example.
        outputs: name -> number of axes.
        constants: name -> initializer.
        dtypes: of outputs that are not float32.
    """

    def info(name: str, dtype: npt.DTypeLike, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        list(nodes),
        "drawn",
        [info(n, a.dtype, ["batch", *a.shape[1:]] if a.ndim else []) for n, a in inputs.items()],
        [info(n, (dtypes or {}).get(n, "float32"), [f"{n}_{i}" for i in range(axes)]) for n, axes in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def by_onnxruntime(model: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(feeds))]


def error_of(result: Array, expected: Array) -> float:
    """The greatest error, relative to the greatest magnitude that is expected."""
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(result.astype(np.float64) - expected.astype(np.float64)).max(initial=0)) / scale


def assert_equal(
    model: onnx.ModelProto, feeds: Feeds, hardware: Hardware = IDEAL, analog: int = 1, tolerance: float = TOLERANCE
) -> HybridSession:
    """All-analog equals onnxruntime, with that many analog layers; returns the session."""
    session = HybridSession(model, hardware, "all-analog")
    assert len(session.analog) == analog
    expected = by_onnxruntime(model, feeds)
    results = session.run(None, feeds)
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        assert error_of(result, reference) <= tolerance
    return session
