"""Constant folding: operators that are computed while a model is read, so that a weight behind them is known.

Those that exporters and quantisers put between a stored weight and the product that uses it are computed here (`fold`),
without copies where that can be. They move values about, convert them, or scale them as parametrizations do
(weight_norm: g · v / ‖v‖)::

    Identity Cast ConstantOfShape Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Concat
    QuantizeLinear DequantizeLinear
    Abs Add Div Max Mul Neg Pow Reciprocal ReduceL2 ReduceSum Sqrt Sub

The last line is computed for floats alone, in their own type.

    y = (x - zero_point) * scale        y = saturate(round_half_even(x / scale) + zero_point)

as the ONNX operators of these names; scale and zero point are one for all, one per index of ``axis``, or one per block
of ``block_size`` along it.

All others are computed by onnx's reference implementation (`evaluated`): any operator of ONNX's own with one output,
but for those that hold graphs, draw random numbers, or mean something else in another opset though they look alike
(Softmax over other than the last axis before opset 13). The size of what is computed is inferred first.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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
    """Outputs of an operator of constants.

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


FOLD_LIMIT = 2**28
"""Most values of a tensor that is computed while reading."""


_INTEGERS = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32}
_FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
_INDICES = {TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT32, TensorProto.UINT64}
_SMALL_TYPES = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2}
_NUMBERS = _INTEGERS | _FLOATS | _INDICES | _SMALL_TYPES | {TensorProto.BFLOAT16}
_QUANTIZED = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16}
_ARITHMETIC: Mapping[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
}
_INPUTS = dict.fromkeys(("Add", "Div", "Max", "Mul", "Pow", "Sub"), 2)
_SUMS: Mapping[str, Callable[[Array, Any, bool], Array]] = {
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.square(x).sum(axes, keepdims=keep)),
    "ReduceSum": lambda x, axes, keep: np.asarray(x.sum(axes, keepdims=keep)),
}


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes that these operators have: integers, lists of them, and tensors."""
    kinds = {onnx.AttributeProto.INT: "i", onnx.AttributeProto.INTS: "ints", onnx.AttributeProto.TENSOR: "t"}
    return {a.name: getattr(a, kinds[a.type]) for a in node.attribute if a.type in kinds}


def folded_type(node: onnx.NodeProto, types: Sequence[int | None]) -> int | None:
    """Element type of what an operator computes; None if it is not one that is folded.

    Args:
        types: ONNX element types of its inputs, which are constants; None for inputs left out.
    """
    listed = _listed_type(node, types)
    if listed is not None:
        return listed
    known = types and all(t is None or t in _NUMBERS for t in types)
    found = evaluated_type(node, types) if known else None
    return found if found in _NUMBERS else None


def _listed_type(node: onnx.NodeProto, types: Sequence[int | None]) -> int | None:
    """The same of the operators that are computed here."""
    if len(node.output) != 1 and node.op_type != "Split":
        return None
    if not types or any(t is not None and t not in _NUMBERS for t in types):
        return None
    attributes = _attributes(node)
    quantizers = ("QuantizeLinear", "DequantizeLinear")
    if node.domain not in ("", "ai.onnx") and not (node.domain == "com.microsoft" and node.op_type in quantizers):
        return None
    if node.op_type in MOVES:
        return types[0]
    if node.op_type == "Concat":
        return types[0] if all(t == types[0] for t in types) else None
    if node.op_type in _ARITHMETIC:
        fits = types[0] in _FLOATS and all(t == types[0] for t in types)
        return types[0] if fits and len(types) == _INPUTS.get(node.op_type, 1) else None
    if node.op_type in _SUMS:
        return types[0] if types[0] in _FLOATS and not attributes.get("noop_with_empty_axes") else None
    if node.op_type == "Cast":
        return attributes.get("to") if attributes.get("to") in _FLOATS else None
    if node.op_type == "ConstantOfShape":
        return attributes["value"].data_type if "value" in attributes else int(TensorProto.FLOAT)
    if node.op_type not in quantizers or len(types) < 2:
        return None
    zero = types[2] if len(types) > 2 else None
    if node.op_type == "DequantizeLinear":
        fits = types[0] in _INTEGERS | _SMALL_TYPES and types[1] in _FLOATS and zero in (None, types[0])
        return types[1] if fits else None
    kind = zero if zero is not None else attributes.get("output_dtype") or int(TensorProto.UINT8)
    return kind if kind in _QUANTIZED and types[0] in _FLOATS and types[1] in _FLOATS else None


def fold(node: onnx.NodeProto, inputs: Sequence[Array | None], result: int, output: int = 0) -> Array:
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
        types = [None if array is None else helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
        if _listed_type(node, types) is None:
            return evaluated(node, inputs, FOLD_LIMIT)
        return _fold(node, inputs, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(result)))
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise ModelError(f"{node.op_type} {node.name!r} of constants cannot be computed: {error}") from error


def _fold(node: onnx.NodeProto, inputs: Sequence[Array | None], dtype: np.dtype[Any]) -> Array:
    attributes = _attributes(node)
    x = inputs[0]
    assert x is not None
    if node.op_type == "Identity":
        return x
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
        value = numpy_helper.to_array(attributes["value"]).reshape(()) if "value" in attributes else 0
        shape = tuple(int(size) for size in x)
        _limit(math.prod(shape))
        return np.broadcast_to(np.asarray(value, dtype), shape)
    if node.op_type in _ARITHMETIC:
        _limit(math.prod(np.broadcast_shapes(*(i.shape for i in inputs if i is not None))))
        with np.errstate(all="ignore"):
            return np.asarray(_ARITHMETIC[node.op_type](*inputs), dtype)
    if node.op_type == "Concat":
        _limit(sum(part.size for part in inputs if part is not None))
        return np.concatenate([part for part in inputs if part is not None], attributes["axis"])
    _limit(x.size)
    if node.op_type in _SUMS:
        with np.errstate(all="ignore"):
            keep = bool(attributes.get("keepdims", 1))
            return np.asarray(_SUMS[node.op_type](x, _numbers(inputs, attributes, "axes") or None, keep), dtype)
    if node.op_type == "Cast":
        return x.astype(dtype)
    scale, zero = _spread(node, inputs, attributes, x)
    if node.op_type == "DequantizeLinear":
        wide = x.astype(np.int32) if zero is None or zero.dtype.kind in "iu" else x.astype(np.float32)
        shifted = wide if zero is None else wide - zero.astype(wide.dtype)
        return (shifted.astype(scale.dtype) * scale).astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.rint(x / scale) + (0 if zero is None else zero.astype(np.float32))
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def _limit(values: int) -> None:
    if not 0 <= values <= FOLD_LIMIT:
        raise ValueError(f"{values} values, at most {FOLD_LIMIT} are computed while reading")


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


def _spread(
    node: onnx.NodeProto, inputs: Sequence[Array | None], attributes: dict[str, Any], x: Array
) -> tuple[Array, Array | None]:
    """Scale and zero point in shapes that broadcast with the values."""
    scale, zero = inputs[1], inputs[2] if len(inputs) > 2 else None
    assert scale is not None
    axis = attributes.get("axis", 1)
    block = attributes.get("block_size", 0)

    def fit(array: Array) -> Array:
        if array.size == 1:
            return array.reshape(())
        if block:
            if block < 0 or array.shape[axis] != -(-x.shape[axis] // block):
                raise ValueError(f"blocks of {block} do not fit shapes {x.shape} and {array.shape}")
            return np.repeat(array, block, axis)[tuple(slice(size) for size in x.shape)]
        return array.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])

    return fit(scale), None if zero is None else fit(zero)
