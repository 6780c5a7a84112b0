"""A product split by its outputs: most are computed on tiles, a few digitally.

    y = P (W_t x + b_t | W_c x + b_c)

W_c are some rows of W as ``(outputs, inputs)``, which are columns on tiles, W_t the others; P puts the outputs back in
their order. Products by the same stored weight are split alike. The part on tiles keeps the name of the product, the
other one is called ``NAME/columns``. The names of both weights mark them, so that nothing is split twice, and so that
the digital part is known in a network that was written in this form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from lhc.canonical.rewrite_context import RewriteContext
from lhc.errors import ModelError
from lhc.graph import COLUMNS, OPEN_COLUMNS, TILES, Layer, Origin
from lhc.onnx_io.operators.matrix_product import Product
from lhc.onnx_io.operators.operator_names import kind_of
from lhc.onnx_io.read.constants import Array, Constants
from lhc.onnx_io.read.shapes import inferred_shapes
from lhc.onnx_model import FileForm, OnnxModel, Rewritten, opset_of, with_nodes, without_weights

_LEAST_OPSET = 11
"""Axes of Concat and Gather are counted from the end from there on."""


def splittable(model: OnnxModel, layer: Layer) -> bool:
    """Whether some outputs of a layer can be computed apart: one stored matrix of several columns, with a stored bias.

    Not of a layer whose form is no product of the file's size (a transposed convolution), nor of one that is split.
    """
    weight = layer.weight
    if weight is None or layer.counted is not None or weight.name.endswith((COLUMNS, TILES)):
        return False
    node = next(node for node in model.proto.graph.node if node.name == layer.name)
    return opset_of(model.proto) >= _LEAST_OPSET and _cuttable(node, Constants(model.proto.graph)) is not None


def with_digital_columns(model: OnnxModel, columns: Mapping[str, Sequence[int]], undecided: bool = False) -> OnnxModel:
    """The model with these outputs of its products computed apart; what has been split before stays as it is.

    Args:
        columns: product -> numbers of its outputs, ascending.
        undecided: they may be on tiles too: a search is to tell.

    Raises:
        ModelError: a product that cannot be split so.
    """
    graph, constants = model.proto.graph, Constants(model.proto.graph)
    taken = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    taken |= {tensor for node in graph.node for tensor in (*node.input, *node.output)}
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    file = model.file or FileForm(without_weights(model.proto), len(graph.initializer), {})
    origins = dict(file.origins)
    rewritten = list(file.rewritten)
    stored: dict[str, tuple[str, str]] = {}
    weight_first = any(node.name in columns and node.input[0] in constants for node in graph.node if node.input)
    shapes = inferred_shapes(model) if weight_first else {}
    for node in graph.node:
        if node.name not in columns or any(name.endswith(TILES) for name in node.input[:2]):
            nodes.append(node)
            continue
        found = _cuttable(node, constants)
        if found is None or not _fit(columns[node.name], found[1]):
            raise ModelError(
                f"{model.label}: {node.name!r} cannot have the digital columns that its plan says; partition the model"
            )
        site = RewriteContext(node, constants, opset_of(model.proto), shapes.get, taken)
        _split(site, found[0], np.asarray(columns[node.name]), OPEN_COLUMNS if undecided else COLUMNS, stored)
        nodes += site.nodes
        tensors += site.tensors
        made = frozenset(one.name for one in site.nodes)
        rewritten = [replace(one, made=one.made | made) if node.name in one.made else one for one in rewritten]
        rewritten += [] if node.name in origins else [Rewritten(node, made)]
        origins |= _origins(site, origins.get(node.name), tuple(columns[node.name]))
    if not tensors:
        return model
    proto = with_nodes(model.proto, nodes, (*graph.initializer, *tensors))
    return replace(model, proto=proto, file=replace(file, origins=origins, rewritten=tuple(rewritten)))


def _cuttable(node: onnx.NodeProto, constants: Constants) -> tuple[Product, int] | None:
    """A product and its number of outputs; None where the outputs cannot be computed apart."""
    operand = next(
        (place for place in (1, 0) if node.input[place : place + 1] and node.input[place] in constants), None
    )
    if node.op_type not in ("Conv", "Gemm", "MatMul") or operand is None or (node.op_type, operand) == ("Gemm", 0):
        return None
    shape = constants.shape(node.input[operand])
    if len(shape) < 2 or (node.op_type == "MatMul" and len(shape) > 2):
        return None
    form = Product.of(node, operand, shape)
    outputs = shape[0] if form.outputs_first else shape[1]
    if form.groups > 1 or outputs < 2 or not (form.bias is None or form.bias in constants):
        return None
    return form, outputs


def _fit(columns: Sequence[int], outputs: int) -> bool:
    """Whether they are some of so many outputs, ascending; not all of them."""
    ascending = list(columns) == sorted(set(columns))
    return ascending and 0 < len(columns) < outputs and columns[0] >= 0 and columns[-1] < outputs


def _split(site: RewriteContext, form: Product, digital: Array, mark: str, stored: dict[str, tuple[str, str]]) -> None:
    """Two products, and their outputs in order; weights that were cut before are taken from ``stored``."""
    node, name, weight = site.node, site.name(form.operand), site.value(form.operand)
    matrix = form.matrix(weight)
    parts = np.setdiff1d(np.arange(len(matrix)), digital), digital
    if name not in stored:
        cut = (form.stored(matrix[part], _shape(form, weight, len(part))) for part in parts)
        on_tiles, apart = (site.store(name + mark, w) for mark, w in zip((TILES, mark), cut, strict=True))
        stored[name] = on_tiles, apart
    outputs = []
    for which, (part, of_part) in enumerate(zip(("", "columns"), parts, strict=True)):
        inputs = list(node.input)
        inputs[form.operand] = stored[name][which]
        if form.bias is not None:
            inputs[2] = _bias(site, form.bias, of_part, len(matrix))
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        outputs.append(site.product(part, node.op_type, *inputs, **attributes))
    axis = form.output_axis(site.rank(1 - form.operand) or 2)  # one axis alone: the product of a matrix and a vector
    order = site.numbers([int(place) for place in np.argsort(np.concatenate(parts))])
    site.add("Gather", site.add("Concat", *outputs, axis=axis), order, output=node.output[0], axis=axis)


def _shape(form: Product, weight: Array, outputs: int) -> tuple[int, ...]:
    """Shape of a stored weight with so many outputs."""
    return (outputs, *weight.shape[1:]) if form.outputs_first else (weight.shape[0], outputs)


def _bias(site: RewriteContext, name: str, part: Array, outputs: int) -> str:
    """Bias of these outputs; one number for all, or for all of a row, stays."""
    value = site.constants.value(name)
    if value.ndim == 0 or value.shape[-1] != outputs:
        return name
    return site.store(f"{name}/part", value[..., part])


def _origins(site: RewriteContext, before: Origin | None, columns: tuple[int, ...]) -> dict[str, Origin]:
    """Origins of the nodes: the operator of the file, or of the part of one that was split."""
    whole = before or Origin(site.node.name, kind_of(site.node))
    found = {node.name: replace(whole, part=site.parts.get(node.name, "")) for node in site.nodes}
    for name, part in site.parts.items():
        within = f"{whole.part}/{part}".strip("/")
        found[name] = replace(whole, part=within or "tiles", columns=() if part else columns)
    return found
