"""``lhc.analog.AnalogConv``: Conv whose products run on tiles, in one of two forms.

As an *image*: where all windows share one input scale, the input is converted once and multiplied by an ordinary Conv
with the programmed weights. As *windows*: where every window has a scale of its own or may be read again, the inputs
under it are gathered into a vector, for any number of spatial axes.

All sizes are read from the input when the model runs, so that open dimensions stay open; onnxruntime computes what is
fixed once, when it loads the model.
"""

from dataclasses import dataclass
from typing import Any, Literal

import onnx_ir as ir
from onnxscript import OpBuilder

from lhc.lowering.functions.library import (
    FLOAT,
    Library,
    Values,
    attribute_values,
    call,
    reduce_max,
    references,
    sizes,
    value,
)
from lhc.lowering.functions.tile_grid import Element, TileGrid, finished, numbered
from lhc.lowering.functions.tile_read import (
    codes_of,
    codes_of_slices,
    deviates_of_slices,
    driven_by,
    images_of_slices,
    in_slices,
    noisy,
    outputs_of,
    scales_of_codes,
    sigma_of,
    sum_of_slices,
    weights_in_codes,
    with_mismatch,
)
from lhc.lowering.tile_arrays import Piece, channel_runs, touched_channels

GEOMETRY = ("kernel_shape", "strides", "dilations", "pads")
"""Attributes of a Conv that its function gives on."""
Same = Literal["SAME_UPPER", "SAME_LOWER"]


def _zero_padding(library: Library, axes: int) -> ir.Function:
    """``ZeroPadding``: ``(N, C, *sizes)`` with the zeros that ``pads`` asks for."""

    def body(op: OpBuilder, v: Values) -> Any:
        pads = attribute_values(op, "pads")
        return _padded(op, v["x"], op.Slice(pads, [0], [axes]), op.Slice(pads, [axes], [2 * axes]))

    doc = "Zeros around the spatial axes."
    return library.function("ZeroPadding", axes, ("x",), body, doc, ("pads",))


def _same_padding(library: Library, how: Same) -> ir.Function:
    """``SamePadding``: zeros so that the output has ceil(size / stride) positions (ONNX Conv, ``auto_pad``)."""

    def body(op: OpBuilder, v: Values) -> Any:
        strides = attribute_values(op, "strides")
        size = sizes(op, v["x"], 2)
        positions = op.Div(op.Sub(op.Add(size, strides), 1), strides)
        needed = op.Add(op.Mul(op.Sub(positions, 1), strides), _extent(op))
        total = op.Max(op.Sub(needed, size), 0, _outputs=["zeros"])
        less = op.Div(total, 2)
        more = op.Sub(total, less)
        return _padded(op, v["x"], *((less, more) if how == "SAME_UPPER" else (more, less)))

    doc = f"Zeros around the spatial axes, as auto_pad = {how} asks for."
    return library.function("SamePadding", how, ("x",), body, doc, ("kernel_shape", "strides", "dilations"))


def _window_index(library: Library, axes: int) -> ir.Function:
    """``WindowIndex``: where the inputs of every window lie in an image whose spatial axes are one.

    Two outputs: ``(positions, taps)``, and the sizes of the positions' axes.
    """

    def body(op: OpBuilder, v: Values) -> Any:
        size = sizes(op, v["x"], 2)
        strides, dilations = attribute_values(op, "strides"), attribute_values(op, "dilations")
        kernel = attribute_values(op, "kernel_shape")
        positions = op.Add(op.Div(op.Sub(size, _extent(op, kernel, dilations)), strides), 1, _outputs=["positions"])
        steps = _steps(op, size, axes)
        first = _flat(op, positions, op.Mul(strides, steps), "first")
        taps = _flat(op, kernel, op.Mul(dilations, steps), "taps")
        index = op.Add(op.Unsqueeze(first, [1]), op.Unsqueeze(taps, [0]), _outputs=["index"])
        return [index, positions]

    doc = "Where the inputs under every window lie: (positions, taps), and the sizes of the output."
    return library.function("WindowIndex", axes, ("x",), body, doc, ("kernel_shape", "strides", "dilations"))


def _extent(op: OpBuilder, kernel: Any = None, dilations: Any = None) -> Any:
    """Inputs that a window spans on every axis."""
    kernel = attribute_values(op, "kernel_shape") if kernel is None else kernel
    dilations = attribute_values(op, "dilations") if dilations is None else dilations
    return op.Add(op.Mul(op.Sub(kernel, 1), dilations), 1, _outputs=["extent"])


def _steps(op: OpBuilder, size: Any, axes: int) -> Any:
    """By how much the flat index grows with that of every axis."""
    steps = op.Constant(value_ints=[1])
    for axis in reversed(range(1, axes)):
        behind = op.Slice(steps, [0], [1])
        steps = op.Concat(op.Mul(behind, op.Slice(size, [axis], [axis + 1])), steps, axis=0)
    return steps


def _flat(op: OpBuilder, counts: Any, steps: Any, name: str) -> Any:
    """Flat index of every point of a grid of these sizes, the last axis fastest."""
    grid = op.NonZero(op.ConstantOfShape(counts, value=ir.tensor([1.0])))
    return op.ReduceSum(op.Mul(grid, op.Unsqueeze(steps, [1])), [0], keepdims=0, _outputs=[name])


def _padded(op: OpBuilder, x: Any, before: Any, after: Any) -> Any:
    none = op.Constant(value_ints=[0, 0])
    return op.Pad(x, op.Concat(none, before, none, after, axis=0), _outputs=["padded"])


@dataclass(frozen=True)
class Conv:
    """Structure of a Conv.

    Attributes:
        form: see the module.
        held: pieces of the input that each row split holds; empty where there is one split.
        channels: of the input, in a group; 0 where the structure does not depend on it.
        groups: of a grouped Conv, each with a matrix of its own; else 1.
        taps: of a grouped Conv's kernel; else 0.
        element: type of its input and output.
        same: how the input is padded when the sizes are known, if it is not by fixed numbers.
        padded: whether it is padded by fixed numbers.
        pointwise: windows are single inputs.
    """

    form: Literal["image", "windows"]
    grid: TileGrid
    axes: int
    held: tuple[tuple[Piece, ...], ...]
    channels: int
    groups: int
    taps: int
    element: Element
    same: Same | None = None
    padded: bool = False
    pointwise: bool = False
    bias: bool = False

    @property
    def masked(self) -> bool:
        """Whether outputs of all-zero windows have to be told from others: noise would show there."""
        return self.form == "image" and self.grid.product.noise != "off" and not self.grid.product.reads_zeros

    @property
    def affine(self) -> bool:
        """Whether digital scaling and bias are one step."""
        return self.form == "image" and self.bias and self.element == FLOAT

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs of a call."""
        masks = [numbered("taps", row, self.grid.rows) for row in range(self.grid.rows)] if self.masked else []
        return ("x", *self.grid.inputs, *masks, *(["bias"] if self.bias else []))


def conv_function(library: Library, spec: Conv) -> ir.Function:
    """The function of a Conv."""
    grid = spec.grid
    rows = f"_{grid.rows}" if grid.rows > 1 else ""
    build = _image if spec.form == "image" else _windows

    def body(op: OpBuilder, v: Values) -> Any:
        x = v["x"] if spec.element == FLOAT else op.Cast(v["x"], to=FLOAT)
        if spec.same is not None:
            pad = _same_padding(library, spec.same)
            x = call(op, pad, {"x": x}, value("padded_image"))
        y = build(op, library, spec, v, x)
        bias = op.Unsqueeze(v["bias"], list(range(1, 1 + spec.axes))) if spec.bias and not spec.affine else None
        return finished(op, y, spec.element, bias)

    doc = f"Products of a Conv on tiles, {grid.rows} on top of each other."
    return library.function(f"AnalogConv{rows}", spec, spec.inputs, body, doc, (*GEOMETRY, "group"))


# --- as an image -------------------------------------------------------------------------------------------------


def _image(op: OpBuilder, library: Library, spec: Conv, v: Values, x: Any) -> Any:
    grid, product = spec.grid, spec.grid.product
    total = None
    for row in range(grid.rows):
        held = spec.held[row] if spec.held else None
        biased = spec.affine and row == grid.rows - 1
        function = _tile_conv(library, spec, held, biased)
        touched = None if held is None else touched_channels(held, spec.channels)
        part = x if touched is None else op.Gather(x, _of_all_groups(spec, touched), axis=1, _outputs=["channels"])
        names = {
            name: numbered(name, row, grid.rows) for name in ("weights", "scales", "levels", "taps", "input_range")
        }
        given = {**v, **{name: v[full] for name, full in names.items() if full in v}, "x": part}
        if product.noise == "input":
            given["deviates"] = grid.deviates(op, v, row)
        y = call(op, function, given, value("product"))
        total = y if total is None else op.Add(total, y, _outputs=["partial_sum"])
    return total


def _of_all_groups(spec: Conv, channels: tuple[int, int]) -> list[int]:
    """Channels of the input that are these in a group."""
    return [group * spec.channels + channel for group in range(spec.groups) for channel in range(*channels)]


def _tile_conv(library: Library, spec: Conv, held: tuple[Piece, ...] | None, biased: bool) -> ir.Function:
    """``TileConv``: an image times what a row split holds."""
    product = spec.grid.product
    # Where outputs of all-zero windows are to be told from others, it matters which inputs the windows hold.
    touched = None if held is None else touched_channels(held, spec.channels)
    alone = held is not None and len(held) == 1 and held[0].channels == touched
    pieces = () if not spec.masked or spec.groups > 1 or held is None or alone else held
    runs: tuple[int, ...] = ()
    if touched is not None and spec.groups == 1:
        first, last = touched
        runs = channel_runs(last - first)
        runs = runs if len(runs) > 1 else ()
    return library.function(
        "TileConv",
        (product, spec.masked, spec.groups == 1, pieces, runs, biased, 0 if product.slices is None else spec.axes),
        (
            "x",
            "weights",
            "scales",
            *(["taps"] if spec.masked else []),
            *(["bias"] if biased else []),
            *product.tensors,
            *product.numbers,
        ),
        lambda op, v: _tile_conv_body(op, spec, pieces, runs, v),
        "Ordinary Conv with the programmed weights of a tile: DAC, product, output noise, ADC, scaling.",
        (*GEOMETRY, "group"),
    )


def _tile_conv_body(op: OpBuilder, spec: Conv, held: tuple[Piece, ...], runs: tuple[int, ...], v: Values) -> Any:
    product = spec.grid.product
    codes, slices, behind = codes_of(op, product, v, v["x"], v.get("input_range")), product.slices, 1 + spec.axes
    if slices is not None:
        codes = images_of_slices(op, codes_of_slices(op, slices, codes, 1, behind))
    z = _convolved(op, codes, weights_in_codes(op, v), runs)
    sigma, deviates = sigma_of(op, v, _driven(op, spec, held, v)) if spec.masked else None, None
    if slices is not None:
        z = in_slices(op, slices, z)
        deviates = deviates_of_slices(op, v, z)
        sigma = None if sigma is None else op.Unsqueeze(sigma, [1], _outputs=["sigma_of_reads"])
    read = outputs_of(op, product, v, noisy(op, v, z, with_mismatch(op, v, z, sigma), deviates))
    if slices is not None:
        read = sum_of_slices(op, slices, read, 1, behind)
    scales = scales_of_codes(op, v)
    return _scaled_and_shifted(op, read, scales, v["bias"]) if "bias" in v else op.Mul(read, scales, _outputs=["y"])


def _convolved(op: OpBuilder, codes: Any, weights: Any, runs: tuple[int, ...]) -> Any:
    """Conv, its channels in runs where that is faster."""
    given = references(*GEOMETRY, "group")
    if not runs:
        return op.Conv(codes, weights, **given, _outputs=["z"])
    numbers = range(1, 1 + len(runs))
    parts = op.Split(codes, list(runs), axis=1, _outputs=[f"codes_{i}" for i in numbers])
    kernels = op.Split(weights, list(runs), axis=1, _outputs=[f"weights_{i}" for i in numbers])
    sums = [op.Conv(part, kernel, **given) for part, kernel in zip(parts, kernels, strict=True)]
    return op.Add(*sums, _outputs=["z"])


def _scaled_and_shifted(op: OpBuilder, read: Any, scales: Any, bias: Any) -> Any:
    """Digital scaling and bias in one pass: a BatchNormalization of mean 0 and variance 1."""
    factors = op.Reshape(scales, [-1], _outputs=["factors"])
    mean = op.Mul(factors, 0.0, _outputs=["mean_0"])
    variance = op.Add(mean, 1.0, _outputs=["variance_1"])
    return op.BatchNormalization(read, factors, bias, mean, variance, epsilon=0.0, _outputs=["y"])


def _driven(op: OpBuilder, spec: Conv, held: tuple[Piece, ...], v: Values) -> Any:
    """1 for windows that hold anything but zeros, by an ordinary Conv of magnitudes with kernels of 0 and 1."""
    magnitudes = op.Abs(v["x"], _outputs=["magnitudes"])
    if spec.groups > 1:
        every = op.Expand(v["taps"], op.Shape(v["weights"]), _outputs=["taps_of_outputs"])
        return driven_by(op, op.Conv(magnitudes, every, **references(*GEOMETRY, "group"), _outputs=["sums"]))
    parts = [magnitudes]
    if held:
        first, _ = touched_channels(held, spec.channels)
        bounds = [[channel - first for channel in piece.channels] for piece in held]
        parts = [op.Slice(magnitudes, [start], [stop], [1]) for start, stop in bounds]
    greatest = [reduce_max(op, part, "greatest", axis=1, keep=True) for part in parts]
    planes = greatest[0] if len(greatest) == 1 else op.Concat(*greatest, axis=1, _outputs=["planes"])
    return driven_by(op, op.Conv(planes, v["taps"], **references(*GEOMETRY), _outputs=["sums"]))


# --- as windows --------------------------------------------------------------------------------------------------


def _windows(op: OpBuilder, library: Library, spec: Conv, v: Values, x: Any) -> Any:
    if spec.padded:
        x = call(op, _zero_padding(library, spec.axes), {"x": x}, value("padded_image"))
    count = op.ReduceProd(sizes(op, x, 2), _outputs=["pixel_count"])
    flat = op.Reshape(x, op.Concat([0, 0], count, axis=0), _outputs=["flat_image"])
    pixels = op.Transpose(flat, perm=[0, 2, 1], _outputs=["pixels"])
    if spec.pointwise:
        index, positions = None, sizes(op, x, 2)
    else:
        find = _window_index(library, spec.axes)
        outputs = [value(name, ir.DataType.INT64) for name in ("index", "positions")]
        index, positions = call(op, find, {"x": x}, *outputs)
    if spec.held:
        vectors = [_vectors(op, spec, pixels, index, held) for held in spec.held]
    else:
        whole = None if spec.groups == 1 else Piece((0, spec.channels), (0, spec.taps))
        vectors = [_gathered(op, spec, pixels, index, whole, v)]
    measured = _magnitudes(op, spec, pixels, index) if spec.grid.product.measured else []
    y = spec.grid.sum(op, library, v, vectors, measured)
    if spec.groups == 1:
        outputs_first = op.Transpose(y, perm=[0, 2, 1], _outputs=["outputs_first"])
        shape = op.Concat([0, 0], positions, axis=0)
    else:
        outputs_first = op.Transpose(y, perm=[1, 0, 3, 2], _outputs=["outputs_first"])
        channels = op.Mul(sizes(op, y, 0, 1), sizes(op, y, 3, 4), _outputs=["output_channels"])
        shape = op.Concat([0], channels, positions, axis=0)
    return op.Reshape(outputs_first, shape, _outputs=["image"])


def _vectors(op: OpBuilder, spec: Conv, pixels: Any, index: Any, held: tuple[Piece, ...]) -> Any:
    """Vectors of a row split, ``(N, positions, inputs)``, or ``(groups, N, positions, inputs)``."""
    parts = [_gathered(op, spec, pixels, index, piece, None) for piece in held]
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=-1, _outputs=["vectors"])


def _magnitudes(op: OpBuilder, spec: Conv, pixels: Any, index: Any) -> list[Any]:
    """The greatest magnitude under every window, ``(N, positions)`` or ``(groups, N, positions)``, of every row split.

    First over the channels of a pixel, then over the pixels of a window: windows overlap, pixels do not.
    """
    absolute = op.Abs(pixels, _outputs=["absolute"])
    found = []
    for held in spec.held or ((None,),):
        parts = [_greatest(op, spec, absolute, index, piece) for piece in held]
        greatest = parts[0] if len(parts) == 1 else op.Max(*parts, _outputs=["greatest"])
        axes = [1, 0] if spec.groups == 1 else [2, 1, 0]
        found.append(op.Transpose(greatest, perm=axes, _outputs=["magnitudes"]))
    return found


def _greatest(op: OpBuilder, spec: Conv, absolute: Any, index: Any, piece: Piece | None) -> Any:
    """Greatest magnitude of the inputs in a piece (None: all), ``(positions, N)`` or ``(positions, N, groups)``.

    Images lie side by side: onnxruntime gathers rows faster than numbers.
    """
    if piece is not None:
        absolute, index = _in_piece(op, spec, absolute, index, piece)
    if spec.groups > 1:
        absolute = op.Reshape(absolute, [0, 0, spec.groups, -1], _outputs=["absolute_in_groups"])
    axes = [1, 0] if spec.groups == 1 else [1, 0, 2]
    of_pixels = op.Transpose(reduce_max(op, absolute, "greatest_of_pixels"), perm=axes)
    if index is None:
        return of_pixels
    return reduce_max(op, op.Gather(of_pixels, index, axis=0), "greatest_of_windows", axis=1)


def _in_piece(op: OpBuilder, spec: Conv, pixels: Any, index: Any, piece: Piece) -> tuple[Any, Any]:
    """The channels of all pixels, and the taps of the windows, that are in a piece."""
    if spec.groups == 1:
        pixels = op.Slice(pixels, [piece.channels[0]], [piece.channels[1]], [2])
    else:
        pixels = op.Gather(pixels, _of_all_groups(spec, piece.channels), axis=2)
    return pixels, None if index is None else op.Slice(index, [piece.taps[0]], [piece.taps[1]], [1])


def _gathered(op: OpBuilder, spec: Conv, pixels: Any, index: Any, piece: Piece | None, v: Values | None) -> Any:
    """Inputs of every window; without a piece those of all channels and taps, whose number the weights tell."""
    if piece is not None and spec.held:
        pixels, index = _in_piece(op, spec, pixels, index, piece)
    gathered = pixels if index is None else op.Gather(pixels, index, axis=1, _outputs=["gathered"])
    if piece is None:
        assert v is not None
        if index is None:
            return gathered
        inputs = sizes(op, v[numbered("weights", 0, spec.grid.rows)], 0, 1)
        return op.Reshape(gathered, op.Concat([0, 0], inputs, axis=0), _outputs=["vectors"])
    taps, channels = piece.taps[1] - piece.taps[0], piece.channels[1] - piece.channels[0]
    if spec.groups == 1:
        return gathered if index is None else op.Reshape(gathered, [0, 0, taps * channels])
    apart = op.Reshape(gathered, [0, 0, taps, spec.groups, channels])
    grouped = op.Transpose(apart, perm=[3, 0, 1, 2, 4])
    return op.Reshape(grouped, [0, 0, 0, taps * channels], _outputs=["vectors"])
