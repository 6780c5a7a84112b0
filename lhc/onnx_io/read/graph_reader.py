"""ModelProto to LayerGraph: operators, tensors, weights, matrix shapes, and PyTorch modules of nodes.

The module that a node was exported from: torch's dynamo exporter writes the scopes into node metadata
(``pkg.torch.onnx.name_scopes``: a list of paths from the root to the operator); its older exporter writes them into the
node's name (``/layer1/layer1.0/conv1/Conv``). A convolution that took in the BatchNormalization behind it has the
scopes of that; its weight is called as its own module's (``conv1.weight``, and what a form of it in memory adds:
``conv1.weight/turned``, ``conv1.weight.lhc_tiles``).
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

import onnx

from lhc.errors import ModelError, OpenSizesError
from lhc.graph import (
    COLUMNS,
    INTEGER_OPS,
    MOVES,
    RANDOM_OPS,
    Elements,
    Layer,
    LayerGraph,
    MatrixShape,
    Obstacle,
    Origin,
    TensorType,
    WeightRef,
    Work,
)
from lhc.onnx_io.annotate.annotations import refuse_compiled
from lhc.onnx_io.operators.matrix_product import Unsized, data_operands, matrix_shape
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_io.operators.operator_table import found_in, may_multiply
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_io.read.shapes import Shape, element_types, infer, input_shapes, sample_axes, shape_option, tensor_shapes
from lhc.onnx_io.read.subgraphs import is_product, nested_layers
from lhc.onnx_io.read.weight_fingerprint import weight_facts, with_devices
from lhc.onnx_io.rewrites.low_rank_adapters import adapted_layer
from lhc.onnx_model import OnnxModel, captured
from lhc.samples.sample_axis import CALL, SampleAxis

_SCOPES = "pkg.torch.onnx.name_scopes"
_WEIGHT = re.compile(r"(.+)\.weight(/turned|\.lhc_[a-z_]+)*")
_LIMIT = 10_000


def module_path(node: onnx.NodeProto) -> str | None:
    """Dotted path of the module; None where the file does not tell or the name already is the path."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    path = _from_scopes(text) or _from_name(node.name)
    if "batch_norm" in text and len(node.input) > 1 and (own := _WEIGHT.fullmatch(node.input[1])):
        path = own[1]
    return path if path and path != node.name else None


def _from_scopes(text: str) -> str | None:
    if not text or len(text) > _LIMIT:
        return None
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return None
    modules = [scope for scope in scopes[:-1] if scope]
    return modules[-1] if modules else None


def _from_name(name: str) -> str | None:
    if not name.startswith("/") or name.count("/") < 2:
        return None
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        # "/layer1/layer1.0/conv1": a scope may repeat the one that holds it.
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path) or None


_FLOATS = ("float16", "float32", "float64")
_FOLDED = "tiles hold constants; onnxsim writes a file in which they are folded"


def read_graph(
    model: OnnxModel,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    observed: Mapping[str, tuple[int, ...]] | None = None,
    sizes: bool = True,
    axes: Mapping[str, SampleAxis] | None = None,
) -> LayerGraph:
    """The layer graph of a model. Never runs it.

    Args:
        shapes: full shapes of inputs; others count a symbolic batch as 1.
        observed: shapes of inner tensors seen at run time, for what inference cannot find.
        sizes: find the matrix shapes, the other operators that multiply, and those in bodies and local functions;
            running a model does not need them, and symbolic dimensions may stay open.
        axes: of inputs that have samples elsewhere than `sample_axes` says; MACs are those of a sample.

    Returns:
        The graph; ``unresolved`` lists operators whose sizes still have to be observed.

    Raises:
        OpenSizesError: MACs depend on a symbolic dimension, named in the message.
        ModelError: the model is a compiled one.
        UsageError: a shape that contradicts the model.
    """
    refuse_compiled(model)
    graph, declared = model.proto.graph, input_shapes(model)
    inferred = infer(model, shapes or {}) if sizes else None
    known = tensor_shapes(inferred) | dict(observed or {}) if inferred is not None else {}
    counting = {**sample_axes(model), **(axes or {})}
    samples = _samples_in(known, counting)
    reader = _Reader(model, known if sizes else None, Constants(graph), samples, bool(observed))
    dtypes = {} if inferred is None else element_types(inferred)
    return LayerGraph(
        with_devices(reader.layer(node) for node in graph.node),
        list(declared),
        [value.name for value in graph.output],
        nested_layers(model, inferred, known, samples) if inferred is not None else (),
        {} if model.file is None else model.file.control,
        {name: TensorType(known.get(name), dtypes.get(name)) for name in known.keys() | dtypes.keys()},
        {
            name: tuple(shape)
            for name, shape in (shapes or {}).items()
            if _is_open(declared.get(name), counting.get(name))
        },
    )


def _is_open(declared: Shape | None, samples: SampleAxis | None) -> bool:
    """Whether an input has an open size beside the number of samples."""
    return declared is None or any(not isinstance(d, int) and axis != samples for axis, d in enumerate(declared))


def _samples_in(known: Mapping[str, Shape], axes: Mapping[str, SampleAxis]) -> int:
    """Samples of a call with inputs of these shapes: one where an input has no axis for them."""
    if CALL in axes.values():
        return 1
    placed = ((known.get(name), axis) for name, axis in axes.items() if axis != CALL)
    first = next((shape[axis] for shape, axis in placed if shape and axis < len(shape)), 1)
    return first if isinstance(first, int) and first > 0 else 1


_CONSTANT = Obstacle("unsupported", "it multiplies constants alone, which is computed once and not for every sample")


def _allowed(node: onnx.NodeProto) -> list[int]:
    """Which inputs of a candidate may be its matrix."""
    first, second = data_operands(node)
    return [i for i in ((second,) if "Conv" in node.op_type else (second, first)) if i < len(node.input)]


def _operand(node: onnx.NodeProto, constants: Constants) -> int | None:
    """Which input of a candidate is its constant matrix; the second where both are."""
    return next((i for i in _allowed(node) if node.input[i] in constants), None)


def _computed(graph: onnx.GraphProto, constants: Constants) -> dict[str, str]:
    """Tensors that follow from constants alone, and the operator by which they do that `Constants` does not compute."""
    found: dict[str, str] = {}
    for node in graph.node:
        read = [name for name in (*node.input, *captured(node)) if name]
        if read and all(name in constants or name in found for name in read) and node.op_type not in RANDOM_OPS:
            by = next((found[name] for name in read if name in found), node.op_type)
            found |= {name: by for name in node.output if name and name not in constants}
    return found


def _routed(matrix: MatrixShape, chosen: int, experts: int, number: int) -> MatrixShape:
    """An expert's layer with the tokens that are routed to it, where they are spread evenly: a whole number each."""
    each, left = divmod(matrix.positions * chosen, experts)
    return replace(matrix, positions=each + (number < left))


class _Reader:
    """Facts of single nodes, given shapes and constants."""

    def __init__(
        self, model: OnnxModel, known: Mapping[str, Shape] | None, constants: Constants, samples: int, final: bool
    ) -> None:
        self._model = model
        self._sizes = known is not None
        self._known = known or {}
        self._functions = frozenset((f.domain, f.name) for f in model.proto.functions)
        self._constants = constants
        self._makers = {name: node for node in model.proto.graph.node for name in node.output if name}
        self._computed = _computed(model.proto.graph, constants)
        self._samples = samples
        self._final = final
        self._written = {} if model.file is None else {one.node.name: one.node for one in model.file.rewritten}
        self._unbound = [
            f"{dim or '?'!s} of input {name!r}"
            for name in input_shapes(model)
            for dim in self._known.get(name, ("shape",))
            if not isinstance(dim, int)
        ]

    def layer(self, node: onnx.NodeProto) -> Layer:
        file = self._model.file
        origin = None if file is None else file.origins.get(node.name)
        layer = self._layer(node)
        if self._is_constant(node):
            return replace(layer, refusal=_CONSTANT, counted=Work(), origin=origin)
        if origin is None:
            return layer
        if origin.routed is not None and layer.matrix is not None:
            layer = replace(layer, matrix=_routed(layer.matrix, *origin.routed))
        return replace(layer, origin=origin, counted=self._in_file(origin, layer) or layer.counted)

    def _is_constant(self, node: onnx.NodeProto) -> bool:
        """Whether a product multiplies constants alone."""
        operands = [node.input[i] for i in data_operands(node)] if is_product(node) else []
        return bool(operands) and all(one in self._constants or one in self._computed for one in operands)

    def _in_file(self, origin: Origin, layer: Layer) -> Work | None:
        """Products of the file's operator, where they differ in size from its canonical form's."""
        written = self._written.get(origin.node)
        if written is None or origin.part or layer.weight is None or layer.matrix is None or not is_product(written):
            return None
        matrix = self._matrix(written, layer.weight)
        if matrix is None or matrix.macs == layer.matrix.macs:
            return None
        return Work((matrix,), parameters=matrix.parameters, weights=(layer.weight.name,))

    def _layer(self, node: onnx.NodeProto) -> Layer:
        inputs = tuple(filter(None, (*node.input, *captured(node))))
        outputs = tuple(node.output)
        if not is_product(node):
            # A product of another domain is that domain's operator, never a candidate.
            work, refusal = self._other(node) or (None, None)
            if work is None:
                return Layer(node.name, kind_of(node), inputs, outputs, elements=self._elements(node, inputs))
            path = module_path(node)
            return Layer(node.name, kind_of(node), inputs, outputs, module=path, refusal=refusal, counted=work)
        weight, refusal = self._weight(node)
        adapted = None if weight is None else adapted_layer(weight.name)
        if adapted is not None:
            refusal = Obstacle("adapter", f"part of the adapter of {adapted}, which is computed digitally")
        if weight is not None and weight.name.endswith(COLUMNS):
            refusal = Obstacle("columns", f"the worst columns of {node.name.removesuffix('/columns')}, off its tiles")
        matrix = self._matrix(node, weight)
        work = None if weight is not None or matrix is None else self._unreachable(node, matrix)
        return Layer(node.name, node.op_type, inputs, outputs, weight, matrix, module_path(node), refusal, work)

    def _other(self, node: onnx.NodeProto) -> tuple[Work, Obstacle] | None:
        """Products of an operator that is no candidate."""
        if not self._sizes or not may_multiply(node, self._functions):
            return None
        try:
            return found_in(node, self._constants, self._shape_of, self._samples, strict=bool(self._unbound))
        except Unsized as error:
            raise self._open_sizes(node, error) from error

    def _elements(self, node: onnx.NodeProto, inputs: tuple[str, ...]) -> Elements | None:
        """How many numbers an operator handles."""
        if not self._sizes:
            return None
        stored = [name for name in inputs if self._constants.is_stored(name)]
        read = [size for name in inputs if name not in stored and (size := self._size(name)) is not None]
        written = [self._size(name) for name in node.output if name]
        known = [size for size in written if size is not None]
        whole = sum(known) if len(known) == len(written) else None
        return Elements(max(read, default=0), whole, tuple(map(self._shape, inputs)), self._exponent(node))

    def _shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Shape of a constant or an activation; a size is None where it is symbolic."""
        stored = self._constants.is_stored(tensor)
        shape = self._constants.shape(tensor) if stored else self._known.get(tensor)
        return None if shape is None else tuple(dim if isinstance(dim, int) else None for dim in shape)

    def _exponent(self, node: onnx.NodeProto) -> float | None:
        power = node.input[1] if node.op_type == "Pow" and len(node.input) > 1 else ""
        if not self._constants.is_stored(power) or math.prod(self._constants.shape(power)) != 1:
            return None
        return float(self._constants.value(power).reshape(()))

    def _size(self, tensor: str) -> int | None:
        """Elements of a tensor, a sample's share; None where its shape is not known."""
        shape = self._known.get(tensor)
        sizes = [dim for dim in shape or () if isinstance(dim, int)]
        return None if shape is None or len(sizes) < len(shape) else -(-math.prod(sizes) // self._samples)

    def _unreachable(self, node: onnx.NodeProto, matrix: MatrixShape) -> Work | None:
        """Products of a candidate whose stored weight has no form for tiles."""
        operand = _operand(node, self._constants)
        if operand is None:
            operand, _ = self._unfollowed_weight(node) or (None, "")
        if operand is None:
            return None
        return Work((matrix,), parameters=matrix.parameters, weights=(node.input[operand],))

    def _unfollowed_weight(self, node: onnx.NodeProto) -> tuple[int, str] | None:
        """Operand that is no activation, though `Constants` does not know its values, and how it comes about."""
        for operand in _allowed(node):
            tensor, passed = node.input[operand], ""
            while tensor not in self._constants and tensor not in self._computed:
                maker = self._makers.get(tensor)
                if maker is None or maker.op_type not in MOVES:
                    break
                tensor, passed = maker.input[0], maker.op_type
            if tensor in self._computed:
                how = f"its weight {node.input[operand]} is computed from constants by {self._computed[tensor]}, which"
                return operand, f"{how} lhc does not follow; {_FOLDED}"
            if passed and tensor in self._constants and self._constants.dtype(tensor) in _FLOATS:
                how = f"its weight is a part of {tensor} that {passed} takes by numbers computed at run time"
                return operand, f"{how}; {_FOLDED}"
        return None

    def _weight(self, node: onnx.NodeProto) -> tuple[WeightRef | None, Obstacle | None]:
        operand = None if node.op_type in INTEGER_OPS else _operand(node, self._constants)
        if operand is None:
            found = None if node.op_type in INTEGER_OPS else self._unfollowed_weight(node)
            return None, None if found is None else Obstacle("no-static-weight", found[1])
        name = node.input[operand]
        if not self._constants.is_stored(name):
            try:
                self._constants.value(name)
            except ModelError as error:
                return None, Obstacle("no-static-weight", f"its weight {name} is computed, but not by lhc: {error}")
        shape, dtype = self._constants.shape(name), self._constants.dtype(name)
        if dtype not in _FLOATS or len(shape) == 0:
            return WeightRef(name, operand, shape, dtype, sha256(f"{shape}|".encode()).hexdigest()[:16]), None
        facts = weight_facts(self._model, node, operand, self._constants)
        return WeightRef(name, operand, shape, dtype, facts.tile_set, facts.finite, facts.likeness), None

    def _matrix(self, node: onnx.NodeProto, weight: WeightRef | None) -> MatrixShape | None:
        first, second = (self._shape_of(node.input[i]) for i in data_operands(node))
        out = self._known.get(node.output[0])
        if out is None or first is None or second is None:
            return None
        try:
            return matrix_shape(node, weight.operand if weight else None, first, second, out, self._samples)
        except IndexError:
            return None
        except ModelError as error:
            raise ModelError(f"{self._model.label}: {error}; give shapes that fit (--shape)") from error
        except Unsized as error:
            if not self._unbound and not self._final:
                return None
            raise self._open_sizes(node, error) from error

    def _open_sizes(self, node: onnx.NodeProto, error: Unsized) -> ModelError:
        return OpenSizesError(
            f"{self._model.label}: MACs of {node.op_type} {node.name!r} depend on symbolic dimensions:"
            f" {', '.join(self._unbound) or error.args[0]}; give the shape, e.g. {self._example()}"
        )

    def _example(self) -> str:
        """How the shape of the first input with an open size can be given."""
        for name in input_shapes(self._model):
            shape = self._known.get(name, ())
            if any(not isinstance(dim, int) for dim in shape):
                return shape_option(name, shape)
        return "--shape NAME=1,3,224,224"

    def _shape_of(self, tensor: str) -> Shape | None:
        return self._constants.shape(tensor) if self._constants.is_stored(tensor) else self._known.get(tensor)
