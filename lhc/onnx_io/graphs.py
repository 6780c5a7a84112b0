"""ModelProto to LayerGraph: operators, tensors, weights and matrix shapes."""

import math
from collections.abc import Iterator, Mapping
from hashlib import sha256

import numpy as np
import onnx

from lhc.errors import ModelError
from lhc.graph import CANDIDATE_OPS, Layer, LayerGraph, MatrixShape, WeightRef
from lhc.model import OnnxModel
from lhc.onnx_io.constants import Constants
from lhc.onnx_io.modules import module_path
from lhc.onnx_io.shapes import Shape, infer_shapes, input_shapes

__all__ = ["read_graph", "weight_matrix"]


def read_graph(
    model: OnnxModel,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    observed: Mapping[str, tuple[int, ...]] | None = None,
    sizes: bool = True,
) -> LayerGraph:
    """The layer graph of a model. Never runs it.

    Args:
        model: the model.
        shapes: full shapes of inputs; others count a symbolic batch as 1.
        observed: shapes of inner tensors seen at run time, for what inference cannot find.
        sizes: find the matrix shapes; running a model does not need them, and symbolic dimensions may stay open.

    Returns:
        The graph; ``unresolved`` lists candidates whose shape still has to be observed.

    Raises:
        ModelError: MACs depend on a symbolic dimension, named in the message.
        UsageError: a shape that contradicts the model.
    """
    given = shapes or {}
    known = infer_shapes(model, given, observed or {}) if sizes else {}
    constants = Constants(model.proto.graph)
    batches = (shape[0] for name in input_shapes(model) if (shape := known.get(name)))
    first = next(batches, 1)
    samples = first if isinstance(first, int) and first > 0 else 1
    reader = _Reader(model, known, constants, samples, bool(observed))
    graph = model.proto.graph
    return LayerGraph(
        [reader.layer(node) for node in graph.node],
        list(input_shapes(model)),
        [value.name for value in graph.output],
    )


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that the subgraphs of a node read from outside."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            for sub in graph.node:
                yield from (name for name in (*sub.input, *_captured(sub)) if name and name not in inner)
                inner.update(sub.output)
            yield from (v.name for v in graph.output if v.name not in inner)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _operand(node: onnx.NodeProto, constants: Constants) -> int | None:
    """Which input of a candidate is its constant matrix; the second where both are."""
    allowed = (1,) if node.op_type.startswith("Conv") else (1, 0)
    return next((i for i in allowed if i < len(node.input) and node.input[i] in constants), None)


def weight_matrix(node: onnx.NodeProto, operand: int, value: np.ndarray) -> np.ndarray:
    """The weights as (outputs, inputs) of a product: what is programmed onto tiles.

    Args:
        node: Conv, Gemm or MatMul.
        operand: which input the weight is.
        value: the stored weight. Conv: (O, I/groups, ...kernel), flattened to (O, I/groups·kernel), the groups
            one below the other; Gemm, MatMul: transposed so that inputs are columns; a vector is one output.
    """
    if node.op_type == "Conv":
        return value.reshape(len(value), -1)
    if value.ndim == 1:
        return value.reshape(1, -1)
    transposed = bool(_attribute(node, "transB" if operand == 1 else "transA", 0))
    # As the right operand B (K, N), outputs are its columns; as the left operand A (M, K), its rows.
    return value if transposed == (operand == 1) else value.T


class _Reader:
    """Facts of single nodes, given shapes and constants."""

    def __init__(
        self, model: OnnxModel, known: Mapping[str, Shape], constants: Constants, samples: int, final: bool
    ) -> None:
        self._model = model
        self._known = known
        self._constants = constants
        self._samples = samples
        self._final = final
        self._unbound = [
            f"{dim or '?'!s} of input {name!r}"
            for name in input_shapes(model)
            for dim in known.get(name, ("shape",))
            if not isinstance(dim, int)
        ]

    def layer(self, node: onnx.NodeProto) -> Layer:
        inputs = tuple(filter(None, (*node.input, *_captured(node))))
        outputs = tuple(node.output)
        if node.op_type not in CANDIDATE_OPS or node.domain not in ("", "ai.onnx"):
            # A product of another domain is that domain's operator, never a candidate.
            kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
            return Layer(node.name, kind, inputs, outputs)
        weight = self._weight(node)
        return Layer(node.name, node.op_type, inputs, outputs, weight, self._matrix(node, weight), module_path(node))

    def _weight(self, node: onnx.NodeProto) -> WeightRef | None:
        operand = _operand(node, self._constants)
        if operand is None:
            return None
        name = node.input[operand]
        shape = self._constants.shape(name)
        digest = sha256(f"{shape}|".encode())
        if self._constants.dtype(name).startswith("float") and len(shape) > 0:
            value = self._constants.value(name)
            matrix = value if node.op_type == "ConvTranspose" else weight_matrix(node, operand, value)
            digest = sha256(f"{matrix.shape}|{_attribute(node, 'group', 1)}|{matrix.dtype.str}|".encode())
            digest.update(np.ascontiguousarray(matrix).tobytes())
        return WeightRef(name, operand, shape, self._constants.dtype(name), digest.hexdigest()[:16])

    def _matrix(self, node: onnx.NodeProto, weight: WeightRef | None) -> MatrixShape | None:
        dims = self._known.get(node.output[0])
        first = self._shape_of(node.input[0])
        second = self._shape_of(node.input[1])
        if dims is None or first is None or second is None:
            return None
        if node.op_type == "Conv":
            group = _attribute(node, "group", 1)
            needed: Shape = (*second, dims[0], *dims[2:])
            sizes = self._resolved(node, needed)
            if sizes is None:
                return None
            return MatrixShape(
                math.prod(sizes[1 : len(second)]),
                sizes[0] // group,
                group,
                self._per_sample(sizes[len(second) :]),
            )
        if node.op_type == "ConvTranspose":
            group = _attribute(node, "group", 1)
            sizes = self._resolved(node, (*second, first[0], *first[2:]))
            if sizes is None:
                return None
            return MatrixShape(
                sizes[0] // group,
                math.prod(sizes[1 : len(second)]),
                group,
                self._per_sample(sizes[len(second) :]),
            )
        return self._product(node, weight, first, second, dims)

    def _product(
        self, node: onnx.NodeProto, weight: WeightRef | None, first: Shape, second: Shape, dims: Shape
    ) -> MatrixShape | None:
        """MatMul and Gemm: inner size, outputs of one product, and how many products a sample takes."""
        inner = first[0 if node.op_type == "Gemm" and _attribute(node, "transA", 0) else -1]
        sizes = self._resolved(node, (inner, *dims))
        if sizes is None:
            return None
        rows, out = sizes[0], sizes[1:]
        if weight is not None and weight.operand == 0:
            cols = 1 if len(first) == 1 else out[-1 if len(second) == 1 else -2]
        else:
            cols = 1 if len(second) == 1 else out[-1]
        return MatrixShape(rows, cols, 1, self._per_sample(out) // max(cols, 1))

    def _shape_of(self, tensor: str) -> Shape | None:
        return self._constants.shape(tensor) if tensor in self._constants else self._known.get(tensor)

    def _per_sample(self, sizes: tuple[int, ...]) -> int:
        return math.prod(sizes) // self._samples

    def _resolved(self, node: onnx.NodeProto, dims: Shape) -> tuple[int, ...] | None:
        """The sizes as numbers; None where they must be observed.

        Raises:
            ModelError: a symbolic dimension of an input is in the way.
        """
        sizes = tuple(d for d in dims if isinstance(d, int))
        if len(sizes) == len(dims):
            return sizes
        if self._unbound or self._final:
            raise ModelError(
                f"{self._model.label}: MACs of {node.op_type} {node.name!r} depend on symbolic dimensions:"
                f" {', '.join(self._unbound) or dims}; give the shape, e.g. --shape NAME=1,3,224,224"
            )
        return None
