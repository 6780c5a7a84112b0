"""Constant folding: operators that are computed while a model is read, so that a weight behind them is known.

Exporters, quantisers and parametrizations such as weight_norm put operators between a stored weight and the product
that uses it. Those that only move values about (`lhc.graph.MOVES`) give views here, without copies where that can be,
and ConstantOfShape takes no memory. All others are computed by onnx's reference implementation (`evaluated`): any
operator of ONNX's own with one output, but for those that hold graphs, draw random numbers, or mean something else in
another opset though they look alike (Softmax over other than the last axis before opset 13). QuantizeLinear and
DequantizeLinear of com.microsoft are those of ONNX. The size of what is computed is inferred first.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from lhc.errors import ModelError
from lhc.graph import MOVES, RANDOM_OPS

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
_SMALL_ARRAY = 1024
"""Values that shape inference is told."""


def evaluated_type(node: onnx.NodeProto, types: Sequence[int | None]) -> int | None:
    """Element type of what an operator of constants computes; None if it is not one that is evaluated.

    Args:
        types: ONNX element types of its inputs; None for inputs left out.
    """
    node, schema = _under_own_domain(node), _schema_of(node)
    if schema is None or len(node.output) != 1:
        return None
    given = {name: helper.make_tensor_type_proto(t, None) for name, t in zip(node.input, types, strict=True) if t}
    try:
        found = shape_inference.infer_node_outputs(schema, node, given).get(node.output[0])
    except _REFUSALS:
        return None
    return found.tensor_type.elem_type or None if found is not None else None


def evaluated(node: onnx.NodeProto, inputs: Sequence[Array | None], most: int) -> Array:
    """Outputs of an operator of constants.

    Args:
        node: one for which `evaluated_type` knows a type.
        most: values that it may have.

    Raises:
        ValueError: its inputs do not fit, or it is too large.
    """
    from onnx.reference import ReferenceEvaluator

    node, schema = _under_own_domain(node), _schema_of(node)
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
    known = {n: numpy_helper.from_array(a, n) for n, a in feeds.items() if a.size <= _SMALL_ARRAY}
    try:
        found = shape_inference.infer_node_outputs(schema, node, types, known)[node.output[0]].tensor_type
    except _REFUSALS as error:
        raise ValueError(str(error).splitlines()[0]) from error
    sizes = [dim.dim_value for dim in found.shape.dim if dim.HasField("dim_value")]
    if not found.HasField("shape") or len(sizes) < len(found.shape.dim):
        raise ValueError("its size cannot be told")
    if math.prod(sizes) > most:
        raise ValueError(f"{math.prod(sizes)} values, at most {most} are computed while reading")


def _under_own_domain(node: onnx.NodeProto) -> onnx.NodeProto:
    found = onnx.NodeProto()
    found.CopyFrom(node)
    found.domain = ""
    return found


def _schema_of(node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
    """The newest definition of an operator that has its attributes and inputs; None where it is not evaluated."""
    graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
    if node.op_type in _LEFT_OUT | _CHANGED or not _is_onnx_own(node) or graphs:
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


FOLD_LIMIT = 2**28
"""Most values of a tensor that is computed while reading."""


_NUMBERS = {
    *(TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16),
    *(TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, TensorProto.BOOL, TensorProto.INT4, TensorProto.UINT4),
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
}
"""Element types of constants that are computed with."""
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def _is_onnx_own(node: onnx.NodeProto) -> bool:
    """Whether ONNX defines the operator, be it under another domain."""
    return node.domain in ("", "ai.onnx") or (node.domain == "com.microsoft" and node.op_type in _QUANTIZERS)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes that these operators have: integers, lists of them, and tensors."""
    kinds = {onnx.AttributeProto.INT: "i", onnx.AttributeProto.INTS: "ints", onnx.AttributeProto.TENSOR: "t"}
    return {a.name: getattr(a, kinds[a.type]) for a in node.attribute if a.type in kinds}


def folded_type(node: onnx.NodeProto, types: Sequence[int | None]) -> int | None:
    """Element type of what an operator computes; None if it is not one that is folded.

    Args:
        types: ONNX element types of its inputs, which are constants; None for inputs left out.
    """
    if not types or any(t is not None and t not in _NUMBERS for t in types):
        return None
    if _gives_view(node):
        return types[0] if node.op_type in MOVES else _fill(node).data_type
    found = evaluated_type(node, types)
    return found if found in _NUMBERS else None


def _gives_view(node: onnx.NodeProto) -> bool:
    single = len(node.output) == 1 or node.op_type == "Split"
    return single and _is_onnx_own(node) and (node.op_type in MOVES or node.op_type == "ConstantOfShape")


def _fill(node: onnx.NodeProto) -> TensorProto:
    """What a ConstantOfShape is full of."""
    found: TensorProto | None = _attributes(node).get("value")
    return helper.make_tensor("", TensorProto.FLOAT, (1,), (0.0,)) if found is None else found


def fold(node: onnx.NodeProto, inputs: Sequence[Array | None], output: int = 0) -> Array:
    """Output of an operator; a view of its input where that is enough.

    Args:
        node: one for which `folded_type` knows a type.
        inputs: values of its inputs; None for inputs left out.
        output: which of its outputs.

    Raises:
        ModelError: its inputs do not fit together, or the result is too large.
    """
    try:
        if node.op_type == "Split":
            return _parts(node, inputs)[output]
        return _view(node, inputs) if _gives_view(node) else evaluated(node, inputs, FOLD_LIMIT)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise ModelError(f"{node.op_type} {node.name!r} of constants cannot be computed: {error}") from error


def _view(node: onnx.NodeProto, inputs: Sequence[Array | None]) -> Array:
    attributes = _attributes(node)
    x = inputs[0]
    assert x is not None
    if node.op_type == "Transpose":
        return x.transpose(tuple(attributes["perm"]) if "perm" in attributes else None)
    if node.op_type == "Reshape":
        return x.reshape(_shape(x, _numbers(inputs, attributes, "shape") or (), bool(attributes.get("allowzero"))))
    if node.op_type == "Flatten":
        axis = attributes.get("axis", 1)
        return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    if node.op_type == "Squeeze":
        return np.squeeze(x, _numbers(inputs, attributes, "axes"))
    if node.op_type == "Unsqueeze":
        return np.expand_dims(x, _numbers(inputs, attributes, "axes") or ())
    if node.op_type == "Slice":
        part = x[_pieces(x, inputs, attributes)]
        return part.copy() if min(part.strides, default=0) < 0 else part  # PyTorch takes nothing backwards
    if node.op_type == "ConstantOfShape":
        shape = tuple(int(size) for size in x)
        if not 0 <= math.prod(shape) <= FOLD_LIMIT:
            raise ValueError(f"{math.prod(shape)} values, at most {FOLD_LIMIT} are computed while reading")
        return np.broadcast_to(numpy_helper.to_array(_fill(node)).reshape(()), shape)
    return x


def _numbers(inputs: Sequence[Array | None], attributes: dict[str, Any], name: str) -> tuple[int, ...] | None:
    """A list of integers that is an attribute in older opsets and the second input in newer ones."""
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(number) for number in inputs[1].reshape(-1))
    return tuple(attributes[name]) if name in attributes else None


def _parts(node: onnx.NodeProto, inputs: Sequence[Array | None]) -> list[Array]:
    """Parts of a Split: of the given sizes, else equal ones, of which the last may be smaller."""
    attributes, x = _attributes(node), inputs[0]
    assert x is not None
    axis, sizes = attributes.get("axis", 0), _numbers(inputs, attributes, "split")
    if sizes is None:
        others = len(node.output) - 1
        each = -(-x.shape[axis] // len(node.output))
        sizes = (each,) * others + (x.shape[axis] - each * others,)
    if len(sizes) != len(node.output) or sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ValueError(f"parts of {sizes} do not make up {x.shape[axis]}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _pieces(x: Array, inputs: Sequence[Array | None], attributes: dict[str, Any]) -> tuple[slice, ...]:
    """Slices of a Slice along every axis; its lists are attributes in older opsets."""
    given: list[Any] = [attributes.get(name) for name in ("starts", "ends", "axes", "steps")]
    if len(inputs) > 1:
        given = [None if array is None else array.reshape(-1) for array in (*inputs[1:], None, None)][:4]
    starts, ends, axes, steps = given
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    pieces = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        low = -1 if step < 0 else 0
        first, last = (int(np.clip(n + size if n < 0 else n, low, size + low)) for n in (start, end))
        first = max(first, 0)
        pieces[axis] = slice(first, None if last < 0 else last, int(step))
    return tuple(pieces)


def _shape(x: Array, wanted: tuple[int, ...], zero_is_zero: bool) -> tuple[int, ...]:
    if zero_is_zero:
        return wanted
    return tuple(x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted))
