"""One analog node as a call: its function, and the arrays that the call is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from lhc.errors import ModelError
from lhc.graph import Layer
from lhc.hardware.converters import Converters
from lhc.lowering.functions.conv import Conv, Same, conv_function
from lhc.lowering.functions.library import Library
from lhc.lowering.functions.matmul import MatMul, matmul_function
from lhc.lowering.functions.tile_grid import TileGrid, numbered
from lhc.lowering.functions.tile_read import Noise, TileProduct
from lhc.lowering.tile_arrays import LoweredRowSplit, Tile, image_taps, image_weights, pieces, row_order, row_splits
from lhc.onnx_io.operators.matrix_product import ConvGeometry, Product
from lhc.programmed_matrix import Floats, ProgrammedMatrix


@dataclass(frozen=True, eq=False)
class Call:
    """The call that an analog node becomes.

    Attributes:
        inputs: names of the function's inputs, in order.
        tensors: those inputs that hold arrays; every other one is a tensor of the graph, or a number.
        numbers: those inputs that are scalars.
        graph_tensors: those inputs that the node read already.
        reads: deviates that an output takes at most.
    """

    function: ir.Function
    inputs: tuple[str, ...]
    tensors: Mapping[str, Floats]
    numbers: Mapping[str, float]
    graph_tensors: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    reads: int = 0


@dataclass(frozen=True, eq=False)
class _Tiles:
    """A layer's tiles: structure, and arrays that do not depend on how they are driven."""

    io: Converters
    grid: TileGrid
    splits: tuple[LoweredRowSplit, ...]
    groups: int

    @classmethod
    def of(cls, matrix: ProgrammedMatrix, io: Converters, noise: Noise) -> "_Tiles":
        offsets = any(tile.offset is not None for row in matrix.tiles for tile in row)
        saturates = offsets or any(io.can_saturate(tile.weights) for row in matrix.tiles for tile in row)
        managed = len(io.reductions) > 1 and io.adc_saturated is not None and saturates
        splits = row_splits(matrix)
        straddles = any(split.tile.straddles for split in splits)
        units, grouped = matrix.tiles[0][0].unit is not None, matrix.groups > 1
        levels = splits[0].tile.levels
        product = TileProduct.of(io, noise, managed=managed, grouped=grouped, straddles=straddles, units=units)
        subtracts = splits[0].tile.bases is not None
        capacitors = 0 if levels is None else len(levels)
        product = replace(product, capacitors=capacitors, offsets=offsets, subtracts=subtracts)
        return cls(io, TileGrid(product, len(splits)), splits, matrix.groups)

    @property
    def numbers(self) -> dict[str, float]:
        return {name: float(getattr(self.io, name)) for name in self.grid.product.numbers}

    def ranges(self) -> dict[str, Floats]:
        if self.grid.product.scaling != "range":
            return {}
        rows = enumerate(self.splits)
        return {
            numbered("input_range", i, self.grid.rows): np.array(split.input_range, np.float32) for i, split in rows
        }

    def by_input(self, orders: Mapping[int, npt.NDArray[Any]] | None = None) -> dict[str, Floats]:
        """How often inputs are driven, ``(inputs, 1)``, and where they lie on wires, by row split."""
        found, wanted = dict[str, Floats](), self.grid.product.tensors
        for i, split in enumerate(self.splits):
            order = slice(None) if orders is None else orders[split.start]
            if "driven" in wanted:
                found[numbered("driven", i, self.grid.rows)] = split.driven[order][:, None].copy()
            if "near" in wanted:
                found[numbered("near", i, self.grid.rows)] = split.near[order]
        return found

    def by_output(self, shape: Callable[[Floats], Floats]) -> dict[str, Floats]:
        """Scales of outputs, and shares of read noise in their units, in a shape; from ``(groups, outputs)``."""
        found = self.by_split("scales", lambda split, tile: shape(tile.scales))
        if self.grid.product.by_output:
            found |= self.by_split("shares", lambda split, tile: shape(tile.shares))
        return found

    def bases(self, *shape: int) -> dict[str, Floats]:
        """Offsets subtracted digitally, in a given shape."""
        if not self.grid.product.subtracts:
            return {}
        return self.by_split("bases", lambda split, tile: tile.bases.reshape(shape))

    def of_adcs(self, *shape: int) -> dict[str, Floats]:
        """Offsets of every tile's ADCs in a shape, and what their capacitors add, ``(capacitors, *shape)``."""
        product, found = self.grid.product, dict[str, Floats]()
        if product.offsets:
            found |= self.by_split("offsets", lambda split, tile: tile.offsets.reshape(shape))
        if product.capacitors:
            found |= self.by_split("levels", lambda split, tile: tile.levels.reshape(len(tile.levels), *shape))
        return found

    def memberships(self, *shape: int) -> dict[str, Floats]:
        """Which tile every output lies on, where they are read again tile by tile, in a shape and one axis more."""
        if not self.grid.product.straddles:
            return {}
        return self.by_split("memberships", lambda _, tile: tile.memberships.reshape(*shape, tile.memberships.shape[2]))

    def by_split(self, name: str, of_split: Any) -> dict[str, Floats]:
        """An array of every row split, by the name of its input."""
        return {
            numbered(name, row, self.grid.rows): np.ascontiguousarray(of_split(split, split.tile), np.float32)
            for row, split in enumerate(self.splits)
        }


def lowered_call(
    product: Product,
    layer: Layer,
    matrix: ProgrammedMatrix,
    io: Converters,
    noise: Noise,
    library: Library,
    rank: int | None,
) -> Call:
    """The call that takes the place of an analog node; ``rank``: axes of its input, where they are known.

    Raises:
        ModelError: the input's rank has to be known and is not.
    """
    tiles = _Tiles.of(matrix, io, noise)
    if product.window is not None:
        return _conv_call(product, product.window, layer, tiles, library)
    return _matmul_call(product, layer, tiles, library, product.rank or rank)


def _element(layer: Layer) -> int:
    assert layer.weight is not None
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(layer.weight.dtype)))


# --- MatMul and Gemm ---------------------------------------------------------------------------------------------


def _matmul_call(product: Product, layer: Layer, tiles: _Tiles, library: Library, rank: int | None) -> Call:
    assert layer.weight is not None
    if product.writes_columns and rank is None:
        raise ModelError(
            f"{layer.op_type} {layer.name!r}: how many axes its input {product.activation!r} has cannot be told from"
            " the model; run shape inference on it, or keep the layer digital"
        )
    vector, summand = rank == 1, product.bias
    scalars = {
        name: value
        for name, value in (("alpha", product.alpha), ("beta", product.beta))
        if value != 1.0 and (name == "alpha" or summand)
    }
    swaps = product.reads_columns and not vector
    swaps_back = product.writes_columns and not vector
    sizes = {s.start: s.stop - s.start for s in tiles.splits}  # rows of tiles with copies share their inputs
    spec = MatMul(
        grid=tiles.grid,
        block_sizes=tuple(sizes.values()) if len(sizes) > 1 else (),
        blocks=tuple(list(sizes).index(s.start) for s in tiles.splits),
        element=_element(layer),
        transposes_input=swaps,
        transposes_output=swaps_back,
        rank=rank if swaps or swaps_back else None,
        squeezes=len(layer.weight.shape) == 1,
        alpha="alpha" in scalars,
        beta="beta" in scalars,
        summand=summand is not None,
    )
    arrays = tiles.by_split("weights", lambda split, tile: tile.weights[0].T)
    scaled = tiles.grid.product.scaling == "vector"
    arrays |= tiles.by_output(lambda values: values if scaled else values[0])
    tensors = {"x": product.activation} | ({"summand": summand} if summand else {})
    return Call(
        matmul_function(library, spec),
        spec.inputs,
        arrays | tiles.memberships(-1) | tiles.of_adcs(-1) | tiles.bases(1, -1) | tiles.ranges() | tiles.by_input(),
        tiles.numbers | scalars,
        tensors,
        reads=tiles.grid.rows * tiles.grid.product.reads,
    )


# --- Conv --------------------------------------------------------------------------------------------------------


def _conv_call(product: Product, window: ConvGeometry, layer: Layer, tiles: _Tiles, library: Library) -> Call:
    assert layer.weight is not None
    kernel = window.kernel
    geometry, same = _geometry(window)
    taps = int(np.prod(kernel))
    held = tuple(pieces(split.start, split.stop, taps) for split in tiles.splits)
    of_tile = tiles.grid.product
    apart = of_tile.managed or of_tile.by_vector or of_tile.by_weight or of_tile.offsets or of_tile.subtracts
    as_image = tiles.io.scaling != "vector" and not apart
    spec = Conv(
        form="image" if as_image else "windows",
        grid=replace(tiles.grid, product=replace(of_tile, measured=of_tile.measures and not as_image)),
        axes=len(kernel),
        held=held if tiles.grid.rows > 1 else (),
        channels=layer.weight.shape[1] if tiles.groups > 1 or tiles.grid.rows > 1 else 0,
        groups=tiles.groups,
        taps=taps if tiles.groups > 1 else 0,
        element=_element(layer),
        same=same,
        padded=any(geometry["pads"]) and not as_image,
        pointwise=taps == 1 and set(geometry["strides"]) == {1} and not as_image,
        bias=product.bias is not None,
    )
    arrays = _image_arrays(spec, tiles, layer.weight.shape) if as_image else _window_arrays(tiles, held, taps)
    return Call(
        conv_function(library, spec),
        spec.inputs,
        arrays | tiles.ranges(),
        tiles.numbers,
        {"x": product.activation} | ({"bias": product.bias} if product.bias else {}),
        geometry | {"group": tiles.groups},
        tiles.grid.rows * tiles.grid.product.reads,
    )


def _geometry(window: ConvGeometry) -> tuple[dict[str, list[int]], Same | None]:
    """Attributes of a Conv; what is left to be padded when the sizes are known."""
    same: Same | None = None
    if window.auto_pad in ("SAME_UPPER", "SAME_LOWER") and set(window.strides) != {1}:
        same = "SAME_UPPER" if window.auto_pad == "SAME_UPPER" else "SAME_LOWER"
    sides = ((0, 0),) * len(window.kernel) if same else window.padding((1,) * len(window.kernel))  # the same for all
    attributes = {"kernel_shape": window.kernel, "strides": window.strides, "dilations": window.dilations}
    lists = {name: list(values) for name, values in attributes.items()}
    return lists | {"pads": [side[end] for end in (0, 1) for side in sides]}, same


def _image_arrays(spec: Conv, tiles: _Tiles, shape: tuple[int, ...]) -> dict[str, Floats]:
    channels, kernel = shape[1], shape[2:]
    column = (-1, *(1,) * len(kernel))
    arrays = tiles.by_split("weights", lambda split, tile: image_weights(tile.weights, split, kernel, channels))
    arrays |= tiles.by_split("scales", lambda split, tile: tile.scales.reshape(column)) | tiles.of_adcs(*column)
    if spec.masked:
        grouped = tiles.groups > 1
        arrays |= tiles.by_split("taps", lambda split, tile: image_taps(split, kernel, channels, grouped))
    return arrays


def _window_arrays(tiles: _Tiles, held: tuple[Any, ...], taps: int) -> dict[str, Floats]:
    orders = {split.start: row_order(own, split.start, taps) for split, own in zip(tiles.splits, held, strict=True)}
    grouped = tiles.groups > 1
    beside = (1,) if tiles.io.slices is None else (1, 1)  # the reads of a vector have an axis of their own

    def weights(split: LoweredRowSplit, tile: Tile) -> npt.NDArray[Any]:
        """``(inputs, outputs)``, or ``(groups, 1, inputs, outputs)``, as ``TileProduct`` has them."""
        ordered = tile.weights[:, :, orders[split.start]].swapaxes(1, 2)
        return ordered.reshape(len(ordered), *beside, *ordered.shape[1:]) if grouped else ordered[0]

    arrays = tiles.by_split("weights", weights) | tiles.by_input(orders)
    arrays |= tiles.by_output(lambda values: values[:, None, None] if grouped else values)
    arrays |= tiles.of_adcs(*((tiles.groups, 1, *beside, -1) if grouped else (-1,)))
    arrays |= tiles.bases(*((tiles.groups, 1, 1, -1) if grouped else (1, -1)))
    return arrays | tiles.memberships(*((tiles.groups, 1, -1) if grouped else (-1,)))
