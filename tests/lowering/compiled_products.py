"""Compiled models of one operator beside the fast engine, noise off: equal but for what lies on a rounding edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from hypothesis import assume
from onnx import helper, numpy_helper

from lhc.errors import ModelError
from lhc.graph import LayerGraph
from lhc.hardware import Hardware
from lhc.lowering import lower
from lhc.onnx_io import load_model, read_graph
from lhc.onnx_model import OnnxModel
from lhc.plan import LayerPlan, Plan
from lhc.programmed_matrix import ProgrammedMatrix
from lhc.runtime import HybridExecutor, HybridSession

__all__ = ["ROUNDING", "Drawn", "check", "compare", "inputs_of", "model_of", "plan_of", "run", "values"]

Array = npt.NDArray[Any]

ROUNDING = 1e-5
"""Error, relative to the greatest output, that is float rounding."""
MOVED = 0.01
"""Share of outputs that may lie on an edge."""


@dataclass(frozen=True)
class Drawn:
    """A model of one operator, from x to y, and its input."""

    model: onnx.ModelProto
    x: Array
    what: str

    def __repr__(self) -> str:
        return f"{self.what} on {self.x.shape} {self.x.dtype}"


def model_of(node: onnx.NodeProto, x: Array, axes: int, constants: Mapping[str, Array], opset: int) -> onnx.ModelProto:
    """A model of one node, from x to y."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        "drawn",
        [helper.make_tensor_value_info("x", kind, ["batch", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", kind, [f"y_{i}" for i in range(axes)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Normal numbers."""
    return rng.normal(size=shape).astype(dtype)


def inputs_of(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Positive on average, so that sums grow; the first sample is zero, the last far greater than the others."""
    x = rng.normal(0.3, 1, size=shape)
    x[0], x[-1] = 0, 30 * x[-1]
    return x.astype(dtype)


def plan_of(
    model: OnnxModel, graph: LayerGraph, hardware: Hardware, ranges: tuple[float, ...], copies: int = 1
) -> Plan:
    """The layer analog."""
    (layer,) = graph.candidates
    fields = {"macs": 1, "parameters": 1, "tiles": 1, "weight": None, "output": "y", "detail": ""}
    placed = LayerPlan(
        name=layer.name,
        op_type=layer.op_type,
        placement="analog",
        reason="forced",
        copies=copies,
        input_range=ranges if hardware.needs_calibration else None,
        **fields,  # type: ignore[arg-type]
    )
    return Plan(lhc_version="0", source=model.source, hardware=hardware, layers=(placed,))


def run(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> Array:
    """The output of onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])


def _one_code(matrix: ProgrammedMatrix, hardware: Hardware, drawn: Drawn) -> float:
    """The most that one code of the ADC, or without one of the DAC, is worth in an output."""
    adc, dac = hardware.adc, hardware.dac
    if adc.step is not None:
        step = adc.step * (32 if adc.bound_management == "iterative" else 1)
    elif dac.step is not None:
        step = dac.step * max(float(np.abs(t.weights).max()) for r in matrix.tiles for t in r)
    else:
        return 0.0
    scale = max(float(np.abs(t.scales * t.gain).max()) for row in matrix.tiles for t in row)
    vectors = float(np.abs(drawn.x).max()) if dac.scaling == "abs_max" else 1.0
    return float(2 * step * scale * vectors * len(matrix.tiles))


def check(drawn: Drawn, hardware: Hardware, seed: int) -> None:
    """Compile a layer for a chip and compare it with the engine on the same."""
    model = load_model(drawn.model)
    graph = read_graph(model, sizes=False)
    (inputs, outputs) = HybridExecutor(model, graph, ["layer"]).layers[0].matrix_shape
    rng = np.random.default_rng(seed)
    plan = plan_of(model, graph, hardware, tuple(rng.uniform(0.3, 3, -(-inputs // hardware.tiles.rows)).tolist()))
    try:
        session = HybridSession(model, hardware, plan, seed=seed)
    except ModelError as refusal:
        assume("all equal" not in str(refusal))  # a device model that is not defined for such a tile
        raise
    matrices = HybridExecutor(model, graph, plan.analog, plan.ranges).states(hardware, seed, 0, hardware.t_inference_s)
    compiled = lower(model, graph, plan, matrices, "off")
    onnx.checker.check_model(compiled, full_check=True)
    (expected,) = session.run(None, {"x": drawn.x})
    result = run(compiled, {"x": drawn.x})
    compare(result, expected, drawn, hardware, next(iter(matrices.values())), outputs)


def compare(
    result: Array, expected: Array, drawn: Drawn, hardware: Hardware, matrix: ProgrammedMatrix, outputs: int
) -> None:
    """Equal but for rounding and the few values on an edge."""
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    error = np.abs(result.astype(np.float64) - expected.astype(np.float64))
    rounding = 2e-3 if drawn.x.dtype == np.float16 else ROUNDING
    moved = error > rounding * (np.abs(expected.astype(np.float64)).max(initial=0) or 1.0)
    # Where the ADC does not round, a code of the DAC that moves shows in all outputs of its vector.
    assert moved.sum() <= max(1 if hardware.adc.bits is not None else outputs, MOVED * error.size)
    assert not moved.any() or error.max() <= _one_code(matrix, hardware, drawn)
