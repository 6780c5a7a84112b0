"""Ranges of the tensors that digital products read and write, for their int8 codes, found on calibration samples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

import numpy as np
import onnx

from lhc.errors import ModelError
from lhc.graph import FORMATTED_OPS, QUANTISED_OPS, LayerGraph
from lhc.hardware.description.digital import DigitalCores
from lhc.onnx_io import Constants
from lhc.onnx_io.operators.operator_names import identity
from lhc.onnx_io.read.shapes import element_types
from lhc.onnx_model import OnnxModel, opset_of
from lhc.plan.digital_arithmetic import DigitalArithmetic
from lhc.runtime.digital_precision.products import DigitalProduct, codes_of, digital_products
from lhc.runtime.onnxruntime.activation_recorder import Observed, in_groups
from lhc.runtime.onnxruntime.sessions import Array

_FORMATTED = frozenset(("", kind) for kind in FORMATTED_OPS)
_BF16_OPSET = 13
"""Of ONNX, that casts to bfloat16."""
KEPT = 2**15
"""Values of a tensor that are kept of its first block, drawn with a fixed seed, where ranges are quantiles.

Other blocks give the same share.
"""

Range = tuple[float, float]


def digital_arithmetic(
    model: OnnxModel,
    graph: LayerGraph,
    digital: DigitalCores,
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
) -> DigitalArithmetic | None:
    """Arithmetic of a network's digital products on a machine; None where they compute as in the file.

    Args:
        digital: section of the hardware description.
        blocks: ``(samples, feeds)``, gone through more than once; the digital network is run on them.

    Raises:
        ModelError: bf16 in a file of an opset that has no such numbers.
        DataError: the model does not run on these samples.
    """
    file = model.as_file()
    if digital.precision == "as-file" or any(node.op_type in QUANTISED_OPS for node in file.graph.node):
        return None
    opset = opset_of(model.proto)
    if "bf16" in (digital.precision, digital.high_precision) and opset < _BF16_OPSET:
        raise ModelError(
            f"{model.label}: bf16 digital products need opset {_BF16_OPSET}, the file has {opset}; export it anew, or"
            " take --digital-precision fp16 or int8"
        )
    products = _products(model, file, graph)
    ranges: dict[str, Range] = {}
    samples = 1
    if digital.precision == "int8":
        samples = max(sum(count for count, _ in blocks), 1)
        ranges = _ranges(model, graph, products, blocks, digital.range_quantile)
        products = [one for one in products if codes_of(one, ranges)]
    return DigitalArithmetic(
        precision=digital.precision,
        high_precision=digital.high_precision,
        per_channel=digital.per_channel,
        ranges=ranges,
        samples=samples,
        as_file=_as_file(model, graph, {one.name for one in products}),
    )


def _wholes(model: OnnxModel) -> dict[str, onnx.NodeProto]:
    """Operators of the file that have another form in memory, by the names of their parts."""
    return {name: one.node for one in (model.file.rewritten if model.file else ()) for name in one.made}


def _products(model: OnnxModel, file: onnx.ModelProto, graph: LayerGraph) -> list[DigitalProduct]:
    """Products that can be in other formats than the file's.

    An operator that has another form in memory computes as in the file where none of its parts is analog. So its parts
    are in formats only where it is a product itself: one whose columns or matrices are apart.
    """
    wholes = _wholes(model)
    found: dict[str, DigitalProduct] = {}
    for proto in (model.proto, file):
        for one in _float32_products(proto, graph):
            if proto is file or one.name not in wholes or identity(wholes[one.name]) in _FORMATTED:
                found.setdefault(one.output, one)
    return list(found.values())


def _as_file(model: OnnxModel, graph: LayerGraph, able: AbstractSet[str]) -> dict[str, str]:
    """What multiplies and is none of the products that can be in other formats, by name, with its kind."""
    wholes, as_file = _wholes(model), {}
    for layer in (*graph.layers, *graph.nested):
        whole = wholes.get(layer.name)
        if layer.multiplies and not {layer.name, layer.name if whole is None else whole.name} <= able:
            as_file[layer.name] = layer.op_type if whole is None else whole.op_type
            as_file |= {} if whole is None else {whole.name: whole.op_type}
    return as_file


def _float32_products(proto: onnx.ModelProto, graph: LayerGraph) -> Iterator[DigitalProduct]:
    """Products of a form of the network that compute in float32, and whose tensors are known in memory."""
    constants, known = Constants(proto.graph), graph.tensors | set(graph.outputs)
    dtypes = {facts["tensor"]: facts["dtype"] for *_, facts in graph.networkx.edges(data=True)}
    dtypes |= element_types(proto.graph)
    nodes = {node.output[0]: node for node in proto.graph.node if node.output}
    for one in digital_products(list(proto.graph.node), constants, graph.outputs):
        weight = None if one.weight is None else nodes[one.output].input[one.weight]
        tensors = {*one.read, one.written}
        floats = all(dtypes.get(tensor) in ("float32", None) for tensor in tensors)
        if floats and (weight is None or constants.dtype(weight) == "float32") and tensors <= known:
            yield one


def _ranges(
    model: OnnxModel,
    graph: LayerGraph,
    products: Sequence[DigitalProduct],
    blocks: Iterable[tuple[int, Mapping[str, Array]]],
    quantile: float,
) -> dict[str, Range]:
    """Least and greatest value by tensor, 0 among them; without tensors that are not float32, or not finite."""
    found: dict[str, Range] = {}
    most = max((samples for samples, _ in islice(blocks, 1)), default=1)
    for some in in_groups(products, lambda one: (*one.read, one.written), graph, most):
        tensors = dict.fromkeys(name for one in some for name in (*one.read, one.written) if name not in found)
        seen: dict[str, list[Array]] = {name: [] for name in tensors}
        shares: dict[str, float] = {}
        generator = np.random.default_rng(0)
        observed = Observed(model, graph, tensors)
        for _, feeds in blocks:
            values = observed(feeds)
            for name in tensors:
                array = observed.value(name, values)
                if array.dtype == np.float32 and array.size:
                    share = shares.setdefault(name, min(1.0, KEPT / array.size))
                    seen[name].append(_few(array.reshape(-1), quantile, share, generator))
        together = {name: np.concatenate(kept) for name, kept in seen.items() if kept}
        found |= {name: _range(values, quantile) for name, values in together.items() if np.isfinite(values).all()}
    return found


def _few(values: Array, quantile: float, share: float, generator: np.random.Generator) -> Array:
    """Values of a block by which a range is known, or that there is none: the least and the greatest, or a share."""
    if quantile == 1 or not np.isfinite(values).all():
        return np.array([values.min(), values.max()])
    return values if share == 1 else generator.choice(values, max(1, round(share * values.size)))


def _range(values: Array, quantile: float) -> Range:
    low, high = np.quantile(values.astype(np.float64), ((1 - quantile) / 2, (1 + quantile) / 2))
    return min(float(low), 0.0), max(float(high), 0.0)
