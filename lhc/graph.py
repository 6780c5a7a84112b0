"""The layer graph: what a network is, before anything is decided about it.

A directed multigraph of networkx: one node an operator, one edge a tensor that one operator reads of another, two where
``y = a * a``. Facts only: nothing here changes after reading.
A *candidate* is an operator that multiplies by a matrix: MatMul, Gemm, Conv, ConvTranspose, and these on integers.
Others that multiply (LSTM, Attention, MatMulNBits, …) are listed and counted beside them, and stay digital.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lhc.errors import ModelError

if TYPE_CHECKING:  # loaded with the first graph: `lhc --help` and `import lhc` need none
    import networkx as nx

INTEGER_OPS = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
"""Products that compute on integers."""
QUANTISED_OPS = INTEGER_OPS | {
    "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulNBits",
    "QuantizeLinear",
}  # fmt: skip
"""Operators by which one sees that a file is quantised."""
MOVES = frozenset({"Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that move values about; all inputs but the first say how."""
FORMATTED_OPS = frozenset({"Conv", "Gemm", "MatMul"})
"""Products that digital cores compute in a number format of their own (`lhc.runtime.digital_precision`)."""
CANDIDATE_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}) | INTEGER_OPS
RANDOM_OPS = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that may draw random numbers: what they write is no constant, whatever they read."""
DEQUANTIZE = "--dequantize places it by its dequantised weights, where these, scales and zero points are stored"
"""What can be done about a product of integers."""
COLUMNS, TILES = ".lhc_columns", ".lhc_tiles"
"""How the names of the weights of a split product end: of its digital columns, and of those on tiles."""
OPEN_COLUMNS = ".lhc_open_columns"
"""The former, while a search may put them on tiles as well."""
RUN_TIME_OPERANDS = "both operands are computed at run time"
"""How the detail of a product of two activations begins."""
_FLOATS = frozenset({"float16", "float32", "float64"})
_LEAST_AXES = {"Conv": 3, "Gemm": 2, "MatMul": 1}
"""Of a product's weight."""
_BODIES = frozenset({"If", "Loop", "Scan"})
_NO_TENSORS = ("Sequence", "Optional", "Map")
"""In the names of operators that give, or may give, something else than tensors."""
_CYCLE_SHOWN = 8
"""Most operators of a cycle that an error names."""


@dataclass(frozen=True)
class WeightRef:
    """The constant operand of a product.

    Attributes:
        name: initializer (or output of the Constant node) that holds it.
        operand: which input of the operator it is.
        shape: as stored.
        dtype: numpy name of its element type.
        tile_set: digest of the values in the orientation in which they go on tiles; nodes with equal tile sets
            share their devices.
        finite: whether no value is NaN or infinite.
        devices: hexadecimal number that the random numbers of those devices follow; it does not change with the
            last bits of the values, nor with any name.
    """

    name: str
    operand: int
    shape: tuple[int, ...]
    dtype: str
    tile_set: str
    finite: bool = True
    devices: str = "0"


@dataclass(frozen=True)
class TensorType:
    """Type of a tensor, as far as it is known.

    Attributes:
        shape: with one sample; a size is a name where it is symbolic, and None where it is not known.
        dtype: numpy name of its element type.
    """

    shape: tuple[int | str | None, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class MatrixShape:
    """The matrix of a layer as tiles see it.

    Attributes:
        rows: inputs of one product (Cin / groups · kernel size for a Conv).
        cols: outputs of one product of one group.
        groups: matrices of that size; a grouped Conv drives them one at a time.
        positions: products per sample and group (Hout · Wout, tokens), those with zeros between inputs included.
    """

    rows: int
    cols: int
    groups: int
    positions: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample; a bias counts nothing."""
        return self.rows * self.cols * self.groups * self.positions

    @property
    def parameters(self) -> int:
        """Entries of the matrix."""
        return self.rows * self.cols * self.groups


@dataclass(frozen=True)
class Work:
    """Products of an operator: MACs, parameters, uses of its weights.

    Attributes:
        stored: its products by stored weights, each as a matrix.
        activations: its products of two activations.
        parameters: weights that are multiplied; more than the matrices have where only some are used (experts).
        weights: names of the tensors that hold them; none where attributes do.
        missing: what keeps it from being counted in full: ``sizes`` or the number of ``iterations`` that are not known,
            or an ``operator`` that is not.
    """

    stored: tuple[MatrixShape, ...] = ()
    activations: tuple[MatrixShape, ...] = ()
    parameters: int = 0
    weights: tuple[str, ...] = ()
    missing: Literal["sizes", "iterations", "operator"] | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample by stored weights."""
        return sum(matrix.macs for matrix in self.stored)

    @property
    def activation_macs(self) -> int:
        """Multiply-accumulates per sample of two activations."""
        return sum(matrix.macs for matrix in self.activations)


@dataclass(frozen=True)
class Elements:
    """Numbers that an operator without products handles, per sample.

    Attributes:
        read: of the largest tensor that it reads and the file does not store, of those whose shapes are known.
        written: of all tensors that it writes; None where one is not known.
        shapes: of each tensor that it reads; a size is None where it is symbolic, a shape where it is not known.
        exponent: of a Pow, where the file stores one number for it.
    """

    read: int
    written: int | None
    shapes: tuple[tuple[int | None, ...] | None, ...] = ()
    exponent: float | None = None


@dataclass(frozen=True)
class Origin:
    """Operator of the file that a canonical product was rewritten from (`lhc.canonical`).

    Attributes:
        node: name of the operator in the file.
        kind: that operator, with its domain unless it is ONNX's own.
        part: which of its products this is; empty where it has one.
        columns: outputs that another part computes, digitally (`lhc.canonical.digital_columns`).
        routed: of an expert's layer: how many experts a token takes, of how many, and the number of this one.
    """

    node: str
    kind: str
    part: str = ""
    columns: tuple[int, ...] = ()
    routed: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Obstacle:
    """Obstacle to a candidate's being analog on any hardware: a token and a sentence."""

    reason: Literal["no-static-weight", "unsupported", "adapter", "columns"]
    detail: str


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        name: unique in the graph.
        op_type: operator, without its domain.
        inputs: tensors read, in the operator's order, then those that its subgraphs capture.
        outputs: tensors written.
        weight: constant operand of a candidate, or None.
        matrix: shape of a candidate's product; None for other operators, or as long as it is not known.
        module: path of the module it was exported from, where that is known and not the name.
        refusal: why it must stay digital, where reading found that.
        counted: what it multiplies, where that is not just its matrix by its weight; of a form that computes with
            zeros, what the file's operator does.
        elements: what an operator that does not multiply handles; None where its sizes were not asked for.
        origin: the operator of the file that it is a part of, where that is another one.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: WeightRef | None = None
    matrix: MatrixShape | None = None
    module: str | None = None
    refusal: Obstacle | None = None
    counted: Work | None = None
    elements: Elements | None = None
    origin: Origin | None = None

    @property
    def is_candidate(self) -> bool:
        """Whether the operator is one product of a matrix."""
        return self.op_type in CANDIDATE_OPS

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial sizes of a convolution's stored kernel; none for other operators."""
        return () if self.weight is None or self.op_type != "Conv" else self.weight.shape[2:]

    @property
    def multiplies(self) -> bool:
        """Whether it has a row in a plan: a candidate, or another operator that multiplies or is not known."""
        return self.is_candidate or self.counted is not None

    @property
    def size_unknown(self) -> bool:
        """Whether it writes tensors, and only a run could tell how large."""
        told = self.elements is not None and self.elements.written is None
        return told and self.op_type not in _BODIES and not any(word in self.op_type for word in _NO_TENSORS)

    @property
    def work(self) -> Work | None:
        """Products of the operator; None where it has none, or its sizes were not asked for."""
        if self.counted is not None or not self.is_candidate:
            return self.counted
        if self.matrix is None:
            return Work(weights=() if self.weight is None else (self.weight.name,), missing="sizes")
        if self.weight is None:
            return Work(activations=(self.matrix,))
        return Work((self.matrix,), parameters=self.matrix.parameters, weights=(self.weight.name,))


def columns_of(name: str) -> str:
    """Name of the product that the columns are, which a split product computes apart."""
    return f"{name}/columns"


def obstacle(layer: Layer) -> Obstacle | None:
    """Obstacle that keeps a candidate off tiles of any hardware; None if there is none."""
    if layer.refusal is not None:
        return layer.refusal
    if layer.op_type in INTEGER_OPS:
        return Obstacle(
            "unsupported",
            f"{layer.op_type} computes on integers; tiles take float weights, as in a model with QuantizeLinear and"
            f" DequantizeLinear (QDQ); {DEQUANTIZE}",
        )
    if layer.weight is None:
        names = " and ".join(layer.inputs[:2])
        return Obstacle("no-static-weight", f"{RUN_TIME_OPERANDS} ({names}); tiles hold constants")
    if layer.weight.dtype not in _FLOATS:
        return Obstacle("unsupported", f"weight {layer.weight.name} is {layer.weight.dtype}; tiles take float weights")
    if layer.op_type == "ConvTranspose":
        return Obstacle(
            "unsupported",
            "ConvTranspose goes on tiles as a convolution over its spread input, where its attributes tell how it is"
            " padded; here they do not",
        )
    axes = len(layer.weight.shape)
    if axes < _LEAST_AXES.get(layer.op_type, 1) or (layer.op_type == "Gemm" and axes > 2):
        shape = "x".join(map(str, layer.weight.shape)) or "a scalar"
        return Obstacle("unsupported", f"weight {layer.weight.name} is {shape}, which {layer.op_type} does not take")
    if layer.op_type == "MatMul" and axes > 2:
        shape = "x".join(map(str, layer.weight.shape))
        return Obstacle("unsupported", f"weight {layer.weight.name} is a stack of matrices ({shape}); one is supported")
    if 0 in layer.weight.shape or (layer.matrix is not None and layer.matrix.parameters == 0):
        return Obstacle("unsupported", f"weight {layer.weight.name} is empty")
    if not layer.weight.finite:
        return Obstacle("unsupported", f"weight {layer.weight.name} holds NaN or infinite values")
    return None


class LayerGraph:
    """Operators and the tensors between them, in the order of the file; iteration order is fixed."""

    def __init__(
        self,
        layers: Iterable[Layer],
        inputs: Iterable[str],
        outputs: Iterable[str],
        nested: Iterable[Layer] = (),
        control: Mapping[str, str] | None = None,
        tensors: Mapping[str, TensorType] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Connect ``layers`` by their tensors.

        Args:
            layers: the operators, in the order of the file.
            nested: operators that multiply in the bodies of others and in local functions; they are listed and
                counted, but are no part of the graph.
            control: what the calls that it is of take, where the file leaves that open: the branch of an If, the
                iterations of a Loop, a Scan or a recurrent operator, by its name.
            tensors: shapes and element types, as far as they are known.
            shapes: of inputs, with one sample, that the graph is of, where the file leaves them open.

        Raises:
            ModelError: two operators of one name, a tensor written twice, or a cycle.
        """
        self.layers = tuple(layers)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.nested = tuple(nested)
        self.control = dict(control or {})
        self.shapes = dict(shapes or {})
        self._by_name = {layer.name: layer for layer in self.layers}
        self._nested = {layer.name: layer for layer in self.nested}
        if len(self._by_name) != len(self.layers):
            raise ModelError("two operators have the same name; names must be unique")
        self._producer: dict[str, str] = {}
        for layer in self.layers:
            for tensor in filter(None, layer.outputs):
                if tensor in self._producer:
                    raise ModelError(f"tensor {tensor!r} is written by {self._producer[tensor]!r} and {layer.name!r}")
                self._producer[tensor] = layer.name
        self._graph = self._connected(tensors or {})
        self._order = self._sorted()

    def _connected(self, tensors: Mapping[str, TensorType]) -> "nx.MultiDiGraph[str]":
        """Nodes in the order of the file; edges reader by reader, each in the order of its inputs."""
        import networkx as nx

        graph = nx.MultiDiGraph(inputs=self.inputs, outputs=self.outputs)
        graph.add_nodes_from((layer.name, {"layer": layer}) for layer in self.layers)
        unknown = TensorType()
        for layer in self.layers:
            for tensor in layer.inputs:
                if tensor in self._producer:
                    known = tensors.get(tensor, unknown)
                    facts = {"tensor": tensor, "shape": known.shape, "dtype": known.dtype}
                    graph.add_edge(self._producer[tensor], layer.name, **facts)
        return nx.freeze(graph)

    def _sorted(self) -> tuple[str, ...]:
        """Names in the topological order that is nearest to the file's."""
        import networkx as nx

        place = {layer.name: number for number, layer in enumerate(self.layers)}
        try:
            return tuple(nx.lexicographical_topological_sort(self._graph, key=place.__getitem__))
        except nx.NetworkXUnfeasible as error:
            raise ModelError(f"the graph has a cycle: {cycle_in(self._graph)}") from error

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, name: str) -> bool:
        """Whether the graph itself has such a layer."""
        return name in self._by_name

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name, in the graph or nested in it (KeyError if there is none)."""
        return self._by_name[name] if name in self._by_name else self._nested[name]

    @property
    def networkx(self) -> "nx.MultiDiGraph[str]":
        """The graph for networkx's algorithms, frozen.

        Nodes are names of operators, in the order of the file, with the attribute ``layer``. Edges are tensors, from
        the operator that writes one to each that reads it, with the attributes ``tensor``, ``shape`` and ``dtype``; the
        last two are None where they are not known. The graph's attributes are ``inputs`` and ``outputs``, names of
        tensors.
        """
        return self._graph

    @cached_property
    def candidates(self) -> tuple[Layer, ...]:
        """All candidates of the graph, in the order of the file."""
        return tuple(layer for layer in self.layers if layer.is_candidate)

    @property
    def tensors(self) -> frozenset[str]:
        """Names of the tensors that operators read or write."""
        return frozenset(tensor for layer in self.layers for tensor in (*layer.inputs, *layer.outputs))

    @property
    def multiplying(self) -> tuple[Layer, ...]:
        """All operators that multiply, those nested in others last: each has a row in a plan."""
        return (*(layer for layer in self.layers if layer.multiplies), *self.nested)

    @property
    def unresolved(self) -> tuple[Layer, ...]:
        """Operators of the graph whose sizes are not known: they have to be observed by running the model."""
        return tuple(layer for layer in self.layers if layer.work is not None and layer.work.missing == "sizes")

    def producer(self, tensor: str) -> str | None:
        """Name of the layer that writes a tensor; None for graph inputs and constants."""
        return self._producer.get(tensor)

    def producers(self, name: str) -> tuple[str, ...]:
        """Names of the layers whose outputs a layer reads, each once, in the order of its inputs."""
        return tuple(self._graph.predecessors(name))

    def order(self) -> tuple[str, ...]:
        """Names in a topological order that follows the file wherever it can."""
        return self._order

    def depths(self, analog: frozenset[str]) -> Mapping[str, int]:
        """Depth of every layer: how many digital-analog alternations lie above it.

        0 at the inputs. A digital layer has the greatest of its digital producers' depths and its analog
        producers' depths + 1; an analog layer its producers' greatest: the longest path, where an edge from an analog
        to a digital layer counts 1. All digital layers of one depth can run as one segment, which gives the fewest
        segments without a cycle.
        """
        depth: dict[str, int] = {}
        for name in self.order():
            above = [depth[p] + (name not in analog and p in analog) for p in self._graph.predecessors(name)]
            depth[name] = max(above, default=0)
        return depth

    def tied(self, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        """Group layers by tile set: those that share devices share one decision. File order is kept."""
        groups: dict[str, list[str]] = {}
        for name in names:
            weight = self[name].weight
            groups.setdefault(name if weight is None else weight.tile_set, []).append(name)
        return tuple(tuple(group) for group in groups.values())

    def least_of_tied(self, values: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
        """For layers on one tile set, the least value that one of them has; none where none of them has one."""
        found: dict[str, int] = {}
        for tie in self.tied(names):
            known = [values[name] for name in tie if name in values]
            found |= dict.fromkeys(tie, min(known)) if known else {}
        return found


def cycle_in(graph: "nx.MultiDiGraph[str]") -> str | None:
    """A cycle, if there is one: ``'a' -> 'b' -> 'a'``, where each operator reads what the one before it writes."""
    import networkx as nx

    try:
        names = [edge[0] for edge in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return None
    more = [f"{len(names) - _CYCLE_SHOWN} more"] if len(names) > _CYCLE_SHOWN else []
    shown = [repr(name[:100]) for name in names[:_CYCLE_SHOWN]]
    return " -> ".join([*shown, *more, shown[0]])
