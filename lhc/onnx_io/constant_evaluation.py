"""Operators of constants, computed by onnx's reference implementation (`onnx.reference`).

Any operator of ONNX's own with one output, but for those that hold graphs, draw random numbers, or mean something else
in another opset though they look alike (Softmax over other than the last axis before opset 13). The size of what is
computed is inferred first.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

from lhc.graph import RANDOM_OPS

__all__ = ["evaluated", "evaluated_type"]

Array = npt.NDArray[Any]

_LEFT_OUT = RANDOM_OPS | {"ImageDecoder", "If", "Loop", "Scan", "SequenceMap"}
_OVER_AN_AXIS = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
"""Before opset 13 they take all axes from theirs on as one."""
_CHANGED = frozenset({"BatchNormalization", "Resize", "Upsample"})
"""Their versions differ in more than their inputs and attributes tell."""
_NO_LARGER = frozenset({"Compress", "NonZero", "Unique"})
"""What they give has no more entries than axes times what they read."""
_REFUSALS = (RuntimeError, ValueError, shape_inference.InferenceError, onnx.checker.ValidationError)
"""What shape inference raises of operators that make no sense."""
_SMALL = 1024
"""Values that shape inference is told."""


def evaluated_type(node: onnx.NodeProto, types: Sequence[int | None]) -> int | None:
    """Element type of what an operator of constants computes; None if it is not one that is evaluated.

    Args:
        types: ONNX element types of its inputs; None for inputs left out.
    """
    schema = _schema_of(node)
    if schema is None or len(node.output) != 1:
        return None
    given = {name: helper.make_tensor_type_proto(t, None) for name, t in zip(node.input, types, strict=True) if t}
    try:
        found = shape_inference.infer_node_outputs(schema, node, given).get(node.output[0])
    except _REFUSALS:
        return None
    return found.tensor_type.elem_type or None if found is not None else None


def evaluated(node: onnx.NodeProto, inputs: Sequence[Array | None], most: int) -> Array:
    """What an operator of constants computes.

    Args:
        node: one for which `evaluated_type` knows a type.
        most: values that it may have.

    Raises:
        ValueError: its inputs do not fit, or it is too large.
    """
    from onnx.reference import ReferenceEvaluator

    schema = _schema_of(node)
    assert schema is not None
    feeds = {name: np.asarray(a, order="C") for name, a in zip(node.input, inputs, strict=True) if a is not None}
    _check_size(node, schema, feeds, most)
    graph = helper.make_graph(
        [node],
        "constant",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=node.output[0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", schema.since_version)])
    try:
        with np.errstate(all="ignore"):
            (found,) = ReferenceEvaluator(model).run(None, feeds)
            return np.asarray(found)
    except Exception as error:  # the reference raises whatever numpy does
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_size(node: onnx.NodeProto, schema: onnx.defs.OpSchema, feeds: dict[str, Array], most: int) -> None:
    read = sum(array.size for array in feeds.values())
    if read > most:
        raise ValueError(f"it reads {read} values, at most {most} are computed with")
    if node.op_type in _NO_LARGER:
        return
    types = {
        n: helper.make_tensor_type_proto(int(helper.np_dtype_to_tensor_dtype(a.dtype)), a.shape)
        for n, a in feeds.items()
    }
    known = {n: numpy_helper.from_array(a, n) for n, a in feeds.items() if a.size <= _SMALL}
    try:
        found = shape_inference.infer_node_outputs(schema, node, types, known)[node.output[0]].tensor_type
    except _REFUSALS as error:
        raise ValueError(str(error).splitlines()[0]) from error
    sizes = [dim.dim_value for dim in found.shape.dim if dim.HasField("dim_value")]
    if not found.HasField("shape") or len(sizes) < len(found.shape.dim):
        raise ValueError("its size cannot be told")
    if math.prod(sizes) > most:
        raise ValueError(f"{math.prod(sizes)} values, at most {most} are computed while reading")


def _schema_of(node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
    """The newest definition of an operator that has its attributes and inputs; None where it is not evaluated."""
    graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
    if node.domain not in ("", "ai.onnx") or node.op_type in _LEFT_OUT | _CHANGED or graphs:
        return None
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    if node.op_type in _OVER_AN_AXIS and axis != -1:
        return None
    return _fitting_schema(node.op_type, frozenset(a.name for a in node.attribute), len(node.input))


@cache
def _fitting_schema(op_type: str, attributes: frozenset[str], inputs: int) -> onnx.defs.OpSchema | None:
    version = onnx.defs.onnx_opset_version()
    while version and onnx.defs.has(op_type, version, ""):
        schema = onnx.defs.get_schema(op_type, version, "")
        fits = attributes <= schema.attributes.keys() and schema.min_input <= inputs <= schema.max_input
        if fits and not schema.deprecated:
            return schema
        version = schema.since_version - 1
    return None
