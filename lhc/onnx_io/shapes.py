"""Tensor shapes by ONNX shape inference, with one sample in the batch."""

from collections.abc import Mapping

import onnx

from lhc.errors import ModelError, UsageError
from lhc.model import OnnxModel

__all__ = ["Dim", "Shape", "declared_shape", "infer_shapes", "input_shapes", "static_batch"]

Dim = int | str | None
"""A size, the name of a symbolic dimension, or None where nothing is known."""
Shape = tuple[Dim, ...]


def declared_shape(value: onnx.ValueInfoProto) -> Shape | None:
    """The shape that an input, output or inner tensor is declared with; None where it has none."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(_dim(d) for d in kind.shape.dim)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    """A size; some exporters write -1 where it is not known."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def input_shapes(model: OnnxModel) -> dict[str, Shape | None]:
    """Declared shape of every input that is not an initializer."""
    graph = model.proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    return {value.name: declared_shape(value) for value in graph.input if value.name not in constants}


def static_batch(model: OnnxModel) -> int | None:
    """The batch size that the file fixes; None where the first axis of the inputs is symbolic."""
    sizes = {shape[0] for shape in input_shapes(model).values() if shape and isinstance(shape[0], int)}
    return int(sizes.pop()) if len(sizes) == 1 else None


def _fixed(
    name: str, declared: Shape | None, given: Mapping[str, tuple[int, ...]], symbols: Mapping[str, int]
) -> Shape | None:
    """The shape to infer with: what was given, else what is declared, with known symbols and a symbolic batch of 1."""
    if name in given:
        shape = given[name]
        fits = declared is None or (
            len(declared) == len(shape)
            and all(not isinstance(d, int) or d == s for d, s in zip(declared, shape, strict=True))
        )
        if not fits:
            raise UsageError(f"--shape {name}={','.join(map(str, shape))} does not fit the model's {name}: {declared}")
        return shape
    if not declared:
        return declared
    batch, *rest = (symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in declared)
    return (batch if isinstance(batch, int) else 1, *rest)


def infer_shapes(
    model: OnnxModel, given: Mapping[str, tuple[int, ...]], observed: Mapping[str, tuple[int, ...]]
) -> dict[str, Shape]:
    """Shape of every tensor that is known.

    Args:
        model: the model.
        given: input name -> full shape.
        observed: tensor name -> shape seen when the model ran; these win.

    Raises:
        UsageError: a given shape names no input or contradicts the model.
        ModelError: inference finds a contradiction.
    """
    inputs = input_shapes(model)
    unknown = sorted(set(given) - set(inputs))
    if unknown:
        raise UsageError(f"--shape names no input: {', '.join(unknown)}; inputs are {', '.join(inputs)}")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    symbols: dict[str, int] = {}
    # What is given comes first: it tells what the symbols of the other inputs stand for.
    for value in sorted(proto.graph.input, key=lambda value: value.name not in given):
        if value.name not in inputs:
            continue
        fixed = _fixed(value.name, inputs[value.name], given, symbols)
        if fixed is not None:
            _bind(value, inputs[value.name], fixed, symbols)
    _forget_stale_shapes(proto.graph, symbols)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelError(f"{model.label}: shape inference fails: {str(error).splitlines()[0]}") from error
    graph = inferred.graph
    shapes = {v.name: declared_shape(v) for v in (*graph.value_info, *graph.output, *graph.input)}
    known: dict[str, Shape] = {name: shape for name, shape in shapes.items() if shape is not None}
    return known | dict(observed)


def _bind(value: onnx.ValueInfoProto, declared: Shape | None, fixed: Shape, symbols: dict[str, int]) -> None:
    """Write a fixed shape into an input and remember what each symbol stands for."""
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for axis, size in enumerate(fixed):
        dim = dims.add()
        if isinstance(size, int):
            dim.dim_value = size
            symbol = declared[axis] if declared else None
            if isinstance(symbol, str):
                symbols[symbol] = size
        elif isinstance(size, str):
            dim.dim_param = size


def _forget_stale_shapes(graph: onnx.GraphProto, symbols: Mapping[str, int]) -> None:
    """Replace bound symbols in stored shapes; drop dimensions that are expressions of them."""
    for value in (*graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                if dim.dim_param in symbols:
                    dim.dim_value = symbols[dim.dim_param]
                else:
                    dim.ClearField("value")
            elif dim.dim_value < 0:
                dim.ClearField("value")
