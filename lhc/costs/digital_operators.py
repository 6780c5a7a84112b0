"""Digital operators that are no products: work per element, so that exports of a network cost about the same.

Three kinds of them do nothing for a sample, and cost nothing:

- those whose results are known before a sample is: from constants and shapes alone (`fixed`);
- views: another shape, type or name for the same numbers (`VIEWS`); what moves elements (Transpose, Concat, Slice,
  Gather, Expand, …) is no view;
- scales and shifts by constants, one a column, of a product's outputs (BatchNormalization, a bias as an Add): they
  merge into the product's weights and its bias (`merged`), as most exporters do.

All others take as many elements as the larger of what they read and write; what takes a part of its input, that part.
A fused operator counts once. Where a network is written in its parts, each part counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from lhc.costs.units import Cost, LayerCost, total
from lhc.graph import Layer, LayerGraph, WeightRef

# fmt: off
VIEWS = frozenset({
    "Cast", "CastLike", "Constant", "ConstantOfShape", "Dropout", "Flatten", "Identity", "Range", "Reshape", "Shape",
    "Size", "Squeeze", "Unsqueeze",
})
"""Operators without work on elements: shapes, constants, views, types."""
FUNCTIONS = frozenset({
    "BiasGelu", "BiasSoftmax", "Celu", "Cos", "Div", "Elu", "EmbedLayerNormalization", "Erf", "Exp", "FastGelu", "Gelu",
    "GroupNorm", "GroupNormalization", "HardSwish", "InstanceNormalization", "LayerNormalization", "Log", "LogSoftmax",
    "LpNormalization", "MeanVarianceNormalization", "Mish", "Pow", "QuickGelu", "RMSNormalization", "Reciprocal",
    "Selu", "Sigmoid", "SimplifiedLayerNormalization", "Sin", "SkipGroupNorm", "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh",
})
"""Operators of any domain with a function or a division in them, except where these are a multiplication."""
CLIPS = frozenset({"Clip", "LeakyRelu", "PRelu", "Relu", "ThresholdedRelu"})
"""Operators that bound values; some machines do so where a product's outputs are made."""
PARTS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
"""Operators that touch only what they take of their input."""
_RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})
# fmt: on
_AFFINE = frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"})


@dataclass(frozen=True)
class Handling:
    """Work of a digital operator on its elements.

    Attributes:
        elements: that it takes, per sample.
        function: whether it computes a function or a division of each.
        clips: whether it bounds each.
    """

    elements: int
    function: bool
    clips: bool = False


@dataclass(frozen=True)
class OperatorCost:
    """Cost of all operators of one type together.

    Attributes:
        count: of those that cost something.
    """

    operator: str
    count: int
    cost: Cost


def by_operator(others: Mapping[str, LayerCost]) -> tuple[OperatorCost, ...]:
    """Costs of operators that are no products, whose part is their type: added up by type, most time first."""
    found: dict[str, list[Cost]] = {}
    for cost in others.values():
        for operator, part in cost.parts.items():
            found.setdefault(operator, []).append(part)
    costs = [OperatorCost(operator, len(parts), total(parts)) for operator, parts in found.items()]
    return tuple(sorted(costs, key=lambda cost: (-cost.cost.latency_s, cost.operator)))


def handling(graph: LayerGraph, sizes: Mapping[str, int]) -> Mapping[str, Handling]:
    """Work of the operators that are no products and cost something, in file order.

    Args:
        sizes: elements that every operator writes.
    """
    known = fixed(graph)
    free = known | merged(graph, known)
    found = {}
    for layer in graph.layers:
        if layer.multiplies or layer.op_type in VIEWS or layer.name in free:
            continue
        read = max((sizes[producer] for producer in graph.producers(layer.name)), default=0)
        if layer.elements is not None:
            read = max(read, layer.elements.read)
        taken = sizes[layer.name] if layer.op_type in PARTS else max(read, sizes[layer.name])
        if taken:
            function = layer.op_type.rpartition("::")[2] in FUNCTIONS and not _is_product(graph, layer, known)
            found[layer.name] = Handling(taken, function, layer.op_type in CLIPS)
    return found


def _is_product(graph: LayerGraph, layer: Layer, known: frozenset[str]) -> bool:
    """Whether a division or a power is a multiplication: by constants, or a square or cube."""
    if layer.op_type == "Div":
        return _is_known(graph, layer.inputs[1:2], known)
    return layer.op_type == "Pow" and layer.elements is not None and layer.elements.exponent in (2, 3)


def fixed(graph: LayerGraph) -> frozenset[str]:
    """Operators whose results follow from constants and shapes, so that they are computed once and not for a sample."""
    import networkx as nx

    inputs = set(graph.inputs)
    once = [layer.name for layer in graph.layers if layer.op_type in ("Shape", "Size")]
    others = nx.restricted_view(graph.networkx, once, ())
    anew = (
        name
        for name in others
        if (layer := graph[name]).multiplies or layer.op_type in _RANDOM or not inputs.isdisjoint(layer.inputs)
    )
    reached = chain.from_iterable(nx.bfs_layers(others, anew))
    return frozenset(graph.networkx) - frozenset(reached)


def merged(graph: LayerGraph, known: frozenset[str]) -> frozenset[str]:
    """Operators that merge into the product before them: one constant a column at most, no other reader between.

    Args:
        known: the operators that are computed once.
    """
    products = {layer.name: layer for layer in graph.layers if layer.is_candidate and layer.weight is not None}
    readers: dict[str, int] = dict.fromkeys(graph.outputs, 1)
    for layer in graph.layers:
        for tensor in layer.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    found: set[str] = set()
    for name in graph.order():
        layer = graph[name]
        product = products.get(graph.producer(_first(graph, layer, known)) or "")
        if product is None or product.matrix is None or not _shifts_columns(graph, layer, product, known):
            continue
        if readers[_first(graph, layer, known)] == 1:
            found.add(name)
            products[name] = product
    return frozenset(found)


def _first(graph: LayerGraph, layer: Layer, known: frozenset[str]) -> str:
    """The first tensor that is computed for a sample."""
    return next((tensor for tensor in layer.inputs if not _is_known(graph, (tensor,), known)), "")


def _shifts_columns(graph: LayerGraph, layer: Layer, product: Layer, known: frozenset[str]) -> bool:
    """Whether an operator does nothing but scale or shift a product's columns by constants."""
    assert product.weight is not None
    assert product.matrix is not None
    computed = [i for i, tensor in enumerate(layer.inputs) if not _is_known(graph, (tensor,), known)]
    if layer.op_type not in _AFFINE or layer.elements is None or len(computed) != 1:
        return False
    divides = layer.op_type == "Div" and computed[0] == 1
    if divides:
        return False
    columns = _axis_of_columns(product.op_type, product.weight)
    shapes = layer.elements.shapes
    if layer.op_type == "BatchNormalization":  # its constants are along axis 1
        normalized = shapes[computed[0]]
        return normalized is not None and 1 - len(normalized) == columns
    width = product.matrix.cols * product.matrix.groups
    return all(_varies_along(shape, columns, width) for i, shape in enumerate(shapes) if i not in computed)


def _axis_of_columns(operator: str, weight: WeightRef) -> int:
    """Axis of a product's output along which its columns are, counted from the last, which is -1."""
    if operator in ("Conv", "ConvTranspose"):
        return 1 - len(weight.shape)
    return -2 if weight.operand == 0 else -1


def _varies_along(shape: tuple[int | None, ...] | None, axis: int, most: int) -> bool:
    """Whether a constant has one value for all places on the other axes, and at most so many along this one."""
    if shape is None:
        return False
    sizes = dict(enumerate(shape, -len(shape)))
    width = sizes.pop(axis, 1)
    return width is not None and width <= most and all(size == 1 for size in sizes.values())


def _is_known(graph: LayerGraph, tensors: tuple[str, ...], known: frozenset[str] | set[str]) -> bool:
    """Whether tensors are constants, or follow from constants and shapes."""
    producers = [graph.producer(tensor) for tensor in tensors]
    given = any(tensor in graph.inputs for tensor in tensors)
    return not given and all(producer is None or producer in known for producer in producers)
