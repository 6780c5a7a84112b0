"""Fingerprint of a weight matrix: its values, and the devices that hold it.

Layers whose matrices are equal, value for value, share a *tile set*. The random numbers of its devices follow its
*likeness* instead: shape, groups, and a coarse picture of the values. Two exporters that fold a normalisation into a
weight do so in different orders of operations; the weights differ in last bits, and a digest of these would give the
same network other devices. The picture is taken of at most 256 x 256 entries, evenly spaced. With n the number of
entries in one of its 4 x 4 blocks and r the root mean square of all entries, a block is

    floor(2 * sum / (r * sqrt(n)) + 1/pi)

which is the same for any positive multiple of the matrix. Rounding of float32 moves that by some 1e-7, so that fewer
than one matrix in a hundred thousand gets other devices by it; the odd offset keeps weights of few values (-1, 0, 1)
off the edges. Matrices that are alike but not equal are told apart by the order in which the file uses them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from weakref import WeakKeyDictionary

import numpy as np
import onnx

from lhc.graph import Layer
from lhc.onnx_io.operators.matrix_product import Product, attribute
from lhc.onnx_io.read.constants import Constants
from lhc.onnx_model import OnnxModel

_PIECE = 2**24
"""Bytes of a weight that are looked at at once."""
_ENTRIES = 256
_BLOCKS = 4
_OFFSET = 1 / math.pi


@dataclass(frozen=True)
class WeightFacts:
    """Facts of a weight's values, in its orientation on tiles.

    Attributes:
        tile_set: digest of the values in float32, as tiles hold them.
        finite: whether no value is NaN or infinite.
        likeness: digest of what survives rounding.
    """

    tile_set: str
    finite: bool
    likeness: str


_found: "WeakKeyDictionary[OnnxModel, dict[tuple[object, ...], WeightFacts]]" = WeakKeyDictionary()
"""Weights of the models that are in memory; all of a weight is read once."""


def weight_facts(model: OnnxModel, node: onnx.NodeProto, operand: int, constants: Constants) -> WeightFacts:
    """Facts of a product's weight; found once for every model, weight and orientation.

    Args:
        node: Conv, ConvTranspose, Gemm or MatMul.
        operand: which of its inputs is the weight, of a float type and with at least one axis.
    """
    name, group = node.input[operand], attribute(node, "group", 1)
    product = None if node.op_type == "ConvTranspose" else Product.of(node, operand, constants.shape(name))
    key = (name, group, product is None or product.outputs_first)
    known = _found.setdefault(model, {})
    if key not in known:
        value = constants.value(name)
        matrix = value if product is None else product.matrix(value)
        known[key] = _facts(matrix.reshape(len(matrix), math.prod(matrix.shape[1:])), group)
    return known[key]


def _facts(matrix: np.ndarray, group: int) -> WeightFacts:
    """Read in pieces, for weights that are mapped."""
    digest = sha256(f"{matrix.shape}|{group}|".encode())
    finite = True
    rows = max(1, _PIECE // max(1, matrix.shape[1] * matrix.itemsize))
    for start in range(0, len(matrix), rows):
        piece = matrix[start : start + rows]
        finite = finite and bool(np.isfinite(piece).all())
        with np.errstate(over="ignore"):
            digest.update(np.ascontiguousarray(piece, np.float32).data)
    picture = _picture(matrix) if finite and matrix.size else ()
    likeness = sha256(f"{matrix.shape}|{group}|{picture}".encode()).hexdigest()
    return WeightFacts(digest.hexdigest()[:16], finite, likeness[:16])


def _picture(matrix: np.ndarray) -> tuple[int, ...]:
    rows, columns = (np.linspace(0, n - 1, min(n, _ENTRIES)).round().astype(int) for n in matrix.shape)
    entries = matrix[np.ix_(rows, columns)].astype(np.float64)
    greatest = np.abs(entries).max()
    if greatest == 0:
        return ()
    entries /= greatest
    size = math.sqrt(np.square(entries).mean())
    blocks = [b for row in np.array_split(entries, _BLOCKS) for b in np.array_split(row, _BLOCKS, axis=1) if b.size]
    return tuple(math.floor(2 * b.sum() / (size * math.sqrt(b.size)) + _OFFSET) for b in blocks)


def with_devices(layers: Iterable[Layer]) -> list[Layer]:
    """Layers whose weights name their devices: likeness, then the order among those that are alike.

    Args:
        layers: in the order of the file; the devices of their weights are their likenesses.
    """
    alike: dict[str, dict[str, int]] = {}
    result = []
    for layer in layers:
        weight = layer.weight
        if weight is None:
            result.append(layer)
            continue
        order = alike.setdefault(weight.devices, {})
        number = order.setdefault(weight.tile_set, len(order))
        result.append(replace(layer, weight=replace(weight, devices=f"{weight.devices}{number:04x}")))
    return result
