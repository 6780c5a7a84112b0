"""Tensor shapes by ONNX shape inference, with one sample in the batch."""

import math
from collections.abc import Mapping, Sequence

import onnx

from lhc.errors import ModelError, UsageError
from lhc.onnx_io.read.external_data import SMALL, read_in
from lhc.onnx_model import OnnxModel, external_entries, is_external, subgraphs, without_weights
from lhc.samples.sample_axis import CALL, SampleAxis

EXAMPLE = 128
"""Size of an open dimension, where one has to be named."""
EXAMPLE_SIDE = 224
"""The same of pictures: inputs of four axes or more whose last two are open, but for caches of past tokens."""
SMALLER_EXAMPLE = 64
"""Size of any open dimension where a network does not take these."""
SECOND_OF_SOUND = 16_000
"""The same of waveforms: the windows of a spectrogram are longer than the other examples."""

GIANT = 2**31
"""Most values of a tensor that a model may compute for one sample."""

_RECURRENT = ("AttnLSTM", "DynamicQuantizeLSTM", "GRU", "LSTM", "RNN")
_SECOND_AXIS: Mapping[str, tuple[int, ...]] = {"DecoderAttention": (0, 1)} | dict.fromkeys(_RECURRENT, (0, 5, 6))
"""Inputs of operators whose second axis counts samples."""

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


def sample_axes(model: OnnxModel) -> dict[str, int]:
    """Sample axis of every input: the first, or the second of what such an operator reads as it is.

    Recurrent operators take (steps, sequences, features), unless their ``layout`` is 1; DecoderAttention does so too.
    """
    axes = dict.fromkeys(input_shapes(model), 0)
    graph = model.proto.graph if model.file is None else model.file.proto.graph
    for node in graph.node:
        second = _SECOND_AXIS.get(node.op_type, ())
        if all(a.name != "layout" or a.i == 0 for a in node.attribute):
            axes |= {name: 1 for index, name in enumerate(node.input) if index in second and name in axes}
    return axes


def static_batch(model: OnnxModel, axes: Mapping[str, SampleAxis] | None = None) -> int | None:
    """The batch size that the file fixes; None where the axis of the inputs that counts samples is symbolic.

    Args:
        axes: of inputs that have samples elsewhere than on the first axis.
    """
    places = axes or {}
    declared = ((shape, places.get(name, 0)) for name, shape in input_shapes(model).items() if shape)
    found = (shape[axis] for shape, axis in declared if axis != CALL and axis < len(shape))
    sizes = {size for size in found if isinstance(size, int)}
    return int(sizes.pop()) if len(sizes) == 1 else None


def _fixed(
    name: str, declared: Shape | None, given: Mapping[str, tuple[int, ...]], symbols: Mapping[str, int], axis: int
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
    known = [symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in declared]
    if axis < len(known) and not isinstance(known[axis], int):
        known[axis] = 1
    return tuple(known)


def example_shapes(
    model: OnnxModel, given: Mapping[str, tuple[int, ...]], size: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Shapes for the inputs that have open sizes and are not given: one sample, and a size that is made up.

    A symbol has one size everywhere; a sum of symbols is added up; what is called past has none yet. Heads of a cache
    have the size that the attention operator tells.

    Args:
        size: of every other open dimension; by default `EXAMPLE`, and `EXAMPLE_SIDE` for the sides of pictures.
    """
    inputs, axes = input_shapes(model), sample_axes(model)
    symbols = _head_sizes(model, inputs)
    for name, shape in given.items():
        symbols |= {d: s for d, s in zip(inputs.get(name) or (), shape, strict=False) if isinstance(d, str)}
    for name, declared in inputs.items():
        if name not in given and declared and axes[name] < len(declared):
            batch = declared[axes[name]]
            symbols |= {batch: 1} if isinstance(batch, str) else {}
    found: dict[str, tuple[int, ...]] = {}
    for name, declared in inputs.items():
        if name in given or not declared or all(isinstance(dim, int) for dim in declared):
            continue
        picture = len(declared) > 3 and not any(isinstance(dim, int) for dim in declared[-2:])
        picture = picture and not any(_is_past(dim) for dim in declared)
        made_up = size or (EXAMPLE_SIDE if picture else EXAMPLE)
        sizes = [
            1 if axis == axes[name] and not isinstance(dim, int) else _example(dim, symbols, made_up)
            for axis, dim in enumerate(declared)
        ]
        found[name] = tuple(sizes)
    return found


def shape_option(name: str, shape: Shape) -> str:
    """Option ``--shape`` for an input: the sizes that are known, and `SMALLER_EXAMPLE` for the rest."""
    return f"--shape {name}={','.join(str(dim if isinstance(dim, int) else SMALLER_EXAMPLE) for dim in shape)}"


def _is_past(dim: Dim) -> bool:
    return isinstance(dim, str) and "past" in dim.lower()


def _head_sizes(model: OnnxModel, inputs: Mapping[str, Shape | None]) -> dict[str, int]:
    """Sizes of the last axis of caches that are inputs, by their symbols: those of the heads that write them.

    GroupQueryAttention, as onnxruntime-genai writes it: query (sequences, tokens, heads · size), or with keys and
    values beside it.
    """
    nodes = [node for node in model.proto.graph.node if node.op_type == "GroupQueryAttention" and len(node.input) > 4]
    shapes = inferred_shapes(model) if nodes else {}
    found: dict[str, int] = {}
    for node in nodes:
        attributes = {a.name: a.i for a in node.attribute}
        heads, packed = attributes.get("num_heads", 0), not node.input[1]
        heads += 2 * attributes.get("kv_num_heads", 0) * packed
        width = (shapes.get(node.input[0]) or (None,))[-1]
        for cache in filter(None, (inputs.get(name) for name in node.input[3:5])):
            if isinstance(cache[-1], str) and isinstance(width, int) and heads:
                found[cache[-1]] = width // heads
    return found


def _example(dim: Dim, symbols: dict[str, int], made_up: int) -> int:
    if isinstance(dim, int):
        return dim
    if dim is None:
        return made_up
    terms = [term.strip() for term in dim.split("+")]
    if dim not in symbols and len(terms) > 1:
        return sum(int(term) if term.isdigit() else _example(term, symbols, made_up) for term in terms)
    return symbols.setdefault(dim, 0 if _is_past(dim) else made_up)


def infer_shapes(model: OnnxModel, given: Mapping[str, tuple[int, ...]]) -> dict[str, Shape]:
    """Shape of every tensor of the main graph that is known; arguments and errors are those of `infer`."""
    return tensor_shapes(infer(model, given))


def tensor_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes that a graph is declared with."""
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: shape for value in values if (shape := declared_shape(value)) is not None}


def element_types(graph: onnx.GraphProto) -> dict[str, str]:
    """Numpy names of the element types that a graph declares for its tensors."""
    known = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.output, *graph.input)
        if value.type.HasField("tensor_type")
    }
    named = onnx.helper.get_all_tensor_dtypes()
    return {name: onnx.helper.tensor_dtype_to_np_dtype(kind).name for name, kind in known.items() if kind in named}


def infer(model: OnnxModel, given: Mapping[str, tuple[int, ...]]) -> onnx.GraphProto:
    """The graph without large weights and local functions, with all shapes found, in the bodies of operators too.

    Args:
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
    axes = sample_axes(model)
    # What is given comes first: it tells what the symbols of the other inputs stand for.
    for value in sorted(proto.graph.input, key=lambda value: value.name not in given):
        if value.name not in inputs:
            continue
        fixed = _fixed(value.name, inputs[value.name], given, symbols, axes[value.name])
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
    """Refuse a graph that reads or computes a tensor which no memory holds, before anything is run."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        refuse_giant(label, value.name, [size for size in declared_shape(value) or () if isinstance(size, int)])


def refuse_giant(label: str, name: str, sizes: Sequence[int]) -> None:
    """Refuse a tensor that no memory holds.

    Raises:
        ModelError: it is one.
    """
    if math.prod(sizes) > GIANT:
        shape = "x".join(map(str, sizes))
        raise ModelError(
            f"{label}: tensor {name[:100]!r} of one sample would hold {shape} values, more than {GIANT:,};"
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


def batch_shapes(model: OnnxModel, samples: int, axes: Mapping[str, SampleAxis] | None = None) -> dict[str, Shape]:
    """Shapes of the tensors of the main graph in a call of so many samples, as far as inference finds them.

    Args:
        axes: of inputs that have samples elsewhere than `sample_axes` says.

    Returns:
        By name; nothing where the file fixes how many samples a call has, or contradicts itself.
    """
    proto, inputs = outline(model.proto), input_shapes(model)
    places: dict[str, SampleAxis] = {**sample_axes(model), **(axes or {})}
    symbols: dict[str, int] = {}
    fixed: dict[str, Shape] = {}
    for name, declared in inputs.items():
        axis = places[name]
        if declared and axis != CALL and axis < len(declared) and not isinstance(declared[axis], int):
            fixed[name] = (*declared[:axis], samples, *declared[axis + 1 :])
            symbols |= {symbol: samples} if isinstance(symbol := declared[axis], str) else {}
    if not fixed:
        return {}
    for value in proto.graph.input:
        declared = fixed.get(value.name, inputs.get(value.name))
        if declared is not None:
            _bind(value, None, tuple(symbols.get(d, d) if isinstance(d, str) else d for d in declared), symbols)
    del proto.graph.value_info[:]  # exporters leave sizes of their own example there
    _forget_stale_shapes(proto.graph, symbols)
    return tensor_shapes(inferred_graph(proto))


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


def inferred_shapes(model: OnnxModel) -> dict[str, Shape]:
    """Shapes by inference from what the file declares; none where that fails."""
    return tensor_shapes(inferred_graph(outline(model.proto)))


def inferred_graph(proto: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the types and shapes that inference finds; an empty one where the file contradicts itself."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        return onnx.GraphProto()


def outline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for inference: large weights have their shape and type, but no values.

    DynamicQuantizeLSTM, of which onnx infers nothing, is the LSTM that it is the shapes of.
    """
    copy = without_weights(proto)
    for node in copy.graph.node:
        if node.op_type == "DynamicQuantizeLSTM" and node.domain == "com.microsoft":
            node.op_type, node.domain = "LSTM", ""
            del node.input[8:]
    for tensor in proto.graph.initializer:
        if tensor.ByteSize() <= SMALL and not is_external(tensor):
            copy.graph.initializer.append(tensor)
            continue
        added = copy.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        if is_external(tensor) and int(external_entries(tensor)["length"]) <= SMALL:
            added.CopyFrom(tensor)
            read_in(added)
    return copy
