"""Tensor shapes by ONNX shape inference, with one sample in the batch."""

import math
from collections.abc import Mapping

import onnx

from lhc.errors import ModelError, UsageError
from lhc.model import OnnxModel, external_entries, is_external, subgraphs, without_weights
from lhc.onnx_io.external import SMALL, read_in

__all__ = [
    "Dim",
    "Shape",
    "declared_shape",
    "infer",
    "infer_shapes",
    "inlined",
    "input_shapes",
    "static_batch",
    "tensor_shapes",
]


GIANT = 2**31
"""Most values of a tensor that a model may compute for one sample."""

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
    constants = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
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


def infer_shapes(model: OnnxModel, given: Mapping[str, tuple[int, ...]]) -> dict[str, Shape]:
    """Shape of every tensor of the main graph that is known; arguments and errors are those of `infer`."""
    return tensor_shapes(infer(model, given))


def tensor_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes that a graph is declared with."""
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: shape for value in values if (shape := declared_shape(value)) is not None}


def infer(model: OnnxModel, given: Mapping[str, tuple[int, ...]]) -> onnx.GraphProto:
    """The graph without large weights and local functions, with all shapes found, in the bodies of operators too.

    Args:
        model: the model.
        given: input name -> full shape; other inputs keep theirs, with a batch of one sample.

    Raises:
        UsageError: a given shape names no input or contradicts the model.
        ModelError: inference finds a contradiction.
    """
    inputs = input_shapes(model)
    unknown = sorted(set(given) - set(inputs))
    if unknown:
        raise UsageError(f"--shape names no input: {', '.join(unknown)}; inputs are {', '.join(inputs)}")
    proto = outline(model.proto)
    if proto.functions:
        proto = inlined(proto, model.label)
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
        raise ModelError(f"{model.label}: shape inference fails: {str(error).splitlines()[0][:500]}") from error
    _refuse_giants(inferred.graph, model.label)
    return inferred.graph


def _refuse_giants(graph: onnx.GraphProto, label: str) -> None:
    """Refuse a graph that computes a tensor which no memory holds, before anything is run.

    Raises:
        ModelError: there is one.
    """
    for value in (*graph.value_info, *graph.output):
        sizes = [size for size in declared_shape(value) or () if isinstance(size, int)]
        if math.prod(sizes) > GIANT:
            shape = "x".join(map(str, sizes))
            raise ModelError(
                f"{label}: tensor {value.name[:100]!r} of one sample would hold {shape} values, more than {GIANT:,};"
                " give smaller shapes (--shape)"
            )


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
    for node in graph.node:
        for _, inner in subgraphs(node):
            _forget_stale_shapes(inner, symbols)


def inlined(proto: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """The model with the bodies of its local functions in place of their calls.

    Raises:
        ModelError: onnx cannot do it.
    """
    from onnx import inliner

    try:
        return inliner.inline_local_functions(proto)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{label}: its local functions cannot be inlined: {str(error)[:500]}") from error


def outline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for inference: large weights have their shape and type, but no values."""
    copy = without_weights(proto)
    for tensor in proto.graph.initializer:
        if tensor.ByteSize() <= SMALL and not is_external(tensor):
            copy.graph.initializer.append(tensor)
            continue
        added = copy.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        if is_external(tensor) and int(external_entries(tensor)["length"]) <= SMALL:
            added.CopyFrom(tensor)
            read_in(added)
    return copy
