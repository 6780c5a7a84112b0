"""ONNX operators that mix values: products, pooling, normalisation, softmax, Fourier transform, resizing.

Differentiable torch functions as in `elementwise`.

Batch normalisation uses the stored statistics and dropout does nothing: the network is the one that is deployed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lhc.onnx_io.operators.matrix_product import ConvGeometry
from lhc.runtime.gradients.operators.elementwise import Function, Operator, integers

Floats = npt.NDArray[np.float32]

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _for_axes(op: Operator, functions: Mapping[int, Callable[..., Tensor]], axes: int) -> Callable[..., Tensor]:
    if axes not in functions:
        raise op.unsupported(f"it has {axes} spatial axes; 1 to 3 are known")
    return functions[axes]


def _padded(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """With these values before and after every spatial axis; negative pads cut off."""
    widths = [width for pair in reversed(pads) for width in pair]
    return functional.pad(x, widths, value=value) if any(widths) else x


def _conv(op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    geometry = ConvGeometry.of(op.node, tuple(weight.shape[2:]))
    _for_axes(op, _CONV, len(geometry.kernel))
    return convolution(x, weight, bias, geometry)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """A Conv of one to three spatial axes."""
    pads = geometry.padding(tuple(x.shape[2:]))
    even = all(before == after for before, after in pads)
    return _CONV[len(geometry.kernel)](
        x if even else _padded(x, pads),
        weight,
        bias,
        geometry.strides,
        [before for before, _ in pads] if even else 0,
        geometry.dilations,
        geometry.groups,
    )


def _conv_transpose(op: Operator, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The whole output, then pads are cut off (ONNX ConvTranspose: output_padding, output_shape, auto_pad)."""
    geometry = ConvGeometry.of(op.node, tuple(weight.shape[2:]))
    axes = len(geometry.kernel)
    function = _for_axes(op, _CONV_TRANSPOSE, axes)
    whole = function(x, weight, None, geometry.strides, 0, 0, geometry.groups, geometry.dilations)
    extra = op.get("output_padding", [0] * axes)
    sizes = op.get("output_shape", None)
    if sizes is None and geometry.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        sizes = [size * stride for size, stride in zip(x.shape[2:], geometry.strides, strict=True)]
    cuts = list(geometry.pads)
    if sizes is not None:
        cuts = []
        for size, more, wanted in zip(whole.shape[2:], extra, sizes[-axes:], strict=True):
            total = max(size + more - wanted, 0)
            first = total // 2 if geometry.auto_pad == "SAME_UPPER" else total - total // 2
            cuts.append((first, total - first))
    pads = [(-before, more - after) for (before, after), more in zip(cuts, extra, strict=True)]
    result = _padded(whole, pads)
    return result if bias is None else result + bias.reshape(-1, *[1] * axes)


def fused_product(op: Operator, a: Tensor, b: Tensor) -> Tensor:
    """FusedMatMul (com.microsoft) of two activations; the last two axes of each may be swapped."""
    if op.get("transBatchA", 0) or op.get("transBatchB", 0):
        raise op.unsupported("it moves an axis of the batch")
    a, b = (x.transpose(-1, -2) if op.get(n, 0) and x.ndim > 1 else x for n, x in (("transA", a), ("transB", b)))
    return op.get("alpha", 1.0) * (a @ b)  # type: ignore[no-any-return]  # attributes have any type


def _gemm(op: Operator, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    left = a.T if op.get("transA", 0) else a
    right = b.T if op.get("transB", 0) else b
    product: Tensor = (left @ right) * op.get("alpha", 1.0)
    return product if c is None else product + op.get("beta", 1.0) * c


def _pool_pads(op: Operator, geometry: ConvGeometry, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Values before and after every axis, so that the windows are exactly those of the operator.

    With ``ceil_mode`` a last window may reach beyond the pads, but starts before them.
    """
    result = []
    for axis, (size, (before, after)) in enumerate(zip(sizes, geometry.padding(sizes), strict=True)):
        window = (geometry.kernel[axis] - 1) * geometry.dilations[axis] + 1
        stride = geometry.strides[axis]
        steps = size + before + after - window
        count = (-(-steps // stride) if op.get("ceil_mode", 0) else steps // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
        result.append((before, (count - 1) * stride + window - size - before))
    return result


def _max_pool(op: Operator, x: Tensor) -> Tensor:
    if any(op.node.output[1:]):
        raise op.unsupported("it gives indices")
    geometry = ConvGeometry.of(op.node, tuple(op.attributes["kernel_shape"]))
    function = _for_axes(op, _MAX_POOL, len(geometry.kernel))
    pads = _pool_pads(op, geometry, tuple(x.shape[2:]))
    return function(_padded(x, pads, float("-inf")), geometry.kernel, geometry.strides, 0, dilation=geometry.dilations)


def _average_pool(op: Operator, x: Tensor) -> Tensor:
    """Sums over windows, divided by how many values count: without pads, unless ``count_include_pad``."""
    geometry = ConvGeometry.of(op.node, tuple(op.attributes["kernel_shape"]))
    if any(dilation != 1 for dilation in geometry.dilations):
        raise op.unsupported("it is dilated")
    function = _for_axes(op, _AVERAGE_POOL, len(geometry.kernel))
    sizes = tuple(x.shape[2:])
    pads = _pool_pads(op, geometry, sizes)
    average = function(_padded(x, pads), geometry.kernel, geometry.strides)
    counted = x.new_ones(1, 1, *sizes)
    if op.get("count_include_pad", 0):
        counted = _padded(counted, geometry.padding(sizes), 1.0)
        beyond = [size - known for size, known in zip(_sizes(sizes, pads), counted.shape[2:], strict=True)]
        counted = _padded(counted, [(0, width) for width in beyond])
    else:
        counted = _padded(counted, pads)
    return average / function(counted, geometry.kernel, geometry.strides)


def _sizes(sizes: tuple[int, ...], pads: Sequence[tuple[int, int]]) -> list[int]:
    return [size + before + after for size, (before, after) in zip(sizes, pads, strict=True)]


def _spatial(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _batch_normalization(
    op: Operator, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    if op.get("training_mode", 0):
        raise op.unsupported("it is in training mode")
    return functional.batch_norm(x, mean, variance, scale, bias, eps=op.get("epsilon", 1e-5))


def _instance_normalization(op: Operator, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # functional.instance_norm refuses a channel of one value, whose norm is 0.
    return torch.group_norm(x, x.shape[1], scale, bias, op.get("epsilon", 1e-5))


def _layer_normalization(
    op: Operator, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor, ...]:
    axis, epsilon = op.get("axis", -1) % x.ndim, op.get("epsilon", 1e-5)
    result = functional.layer_norm(x, x.shape[axis:], eps=epsilon) * scale
    result = result if bias is None else result + bias
    if not any(op.node.output[1:]):
        return result
    variance, mean = torch.var_mean(x, tuple(range(axis, x.ndim)), correction=0, keepdim=True)
    return result, mean, torch.rsqrt(variance + epsilon)


def _rms_normalization(op: Operator, x: Tensor, scale: Tensor) -> Tensor:
    axes = tuple(range(op.get("axis", -1) % x.ndim, x.ndim))
    return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + op.get("epsilon", 1e-5)) * scale


def _group_normalization(op: Operator, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Scale and bias per group in opset 18, per channel from 21 on."""
    groups = op.attributes["num_groups"]
    normal = functional.group_norm(x, groups, eps=op.get("epsilon", 1e-5))
    each = x.shape[1] // groups if op.opset < 21 else 1
    shape = (-1, *[1] * (x.ndim - 2))
    return normal * scale.repeat_interleave(each).reshape(shape) + bias.repeat_interleave(each).reshape(shape)


def _lp_normalization(op: Operator, x: Tensor) -> Tensor:
    axis = op.get("axis", -1)
    norm = torch.linalg.vector_norm(x, op.get("p", 2), dim=axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


def _softmax(op: Operator, x: Tensor, function: Callable[..., Tensor] = torch.softmax) -> Tensor:
    """Before opset 13 over all axes from ``axis`` on."""
    if op.opset >= 13:
        return _by_rows(x, op.get("axis", -1), function)
    axis = op.get("axis", 1) % max(x.ndim, 1)
    return _by_rows(x.reshape(math.prod(x.shape[:axis]), -1), 1, function).reshape(x.shape)


def _by_rows(x: Tensor, dim: int, function: Callable[..., Tensor]) -> Tensor:
    """A softmax whose masked rows, all -inf, give NaN without a gradient: networks put constants in their place."""
    result: Tensor = function(x, dim=dim)
    if not result.isnan().any():
        return result
    masked = x.isneginf().all(dim, keepdim=True)
    return function(x.masked_fill(masked, 0.0), dim=dim).masked_fill(masked, math.nan)


def _lrn(op: Operator, x: Tensor) -> Tensor:
    """Over ``size`` neighbouring channels, the shorter part before."""
    size = op.attributes["size"]
    squares = functional.pad((x * x).movedim(1, -1), ((size - 1) // 2, size // 2)).unfold(-1, size, 1).sum(-1)
    scale = op.get("bias", 1.0) + op.get("alpha", 1e-4) / size * squares.movedim(-1, 1)
    result: Tensor = x / scale ** op.get("beta", 0.75)
    return result


def _resize(
    op: Operator, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Nearest and linear, axis by axis."""
    if op.opset < 11:
        return _upsample(op, x, roi)
    mode = op.get("mode", "nearest")
    if mode not in ("nearest", "linear") or op.get("antialias", 0):
        raise op.unsupported(f"mode {mode}{' with antialiasing' if op.get('antialias', 0) else ''}")
    if op.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise op.unsupported("it keeps the aspect ratio")
    along = op.get("axes", list(range(x.ndim)))
    given = scales is not None and scales.numel() > 0
    if given and scales is not None:
        factors = [float(scale) for scale in scales.tolist()]
        wanted = [_scaled(x.shape[axis], factor) for axis, factor in zip(along, factors, strict=True)]
    elif sizes is not None:
        wanted = integers(sizes)
        factors = [size / x.shape[axis] for axis, size in zip(along, wanted, strict=True)]
    else:
        raise op.unsupported("it has neither scales nor sizes")
    coordinates = op.get("coordinate_transformation_mode", "half_pixel")
    rounding = None if mode == "linear" else op.get("nearest_mode", "round_prefer_floor")
    if all(size == x.shape[axis] for axis, size in zip(along, wanted, strict=True)):
        return x  # whatever the scales, as onnxruntime does
    for axis, size, factor in zip(along, wanted, factors, strict=True):
        if size != x.shape[axis] or factor != 1:
            x = _resized(op, x, axis, size, factor, coordinates, rounding)
    return x


def _upsample(op: Operator, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Upsample, and Resize before opset 11: by scales alone, asymmetric; onnxruntime rounds up where it downsamples."""
    mode = op.get("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise op.unsupported(f"mode {mode}")
    factors = op.attributes["scales"] if scales is None else scales.tolist()
    sizes = [_scaled(size, factor) for size, factor in zip(x.shape, factors, strict=True)]
    if sizes == list(x.shape):
        return x
    for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True)):
        if factor != 1:
            rounding = None if mode == "linear" else "floor" if factor > 1 else "ceil"
            x = _resized(op, x, axis, size, factor, "asymmetric", rounding)
    return x


def _scaled(size: int, factor: float) -> int:
    """Size of an axis that is scaled, in float32 as onnxruntime computes it."""
    return int(np.float32(size) * np.float32(factor))


def _resized(
    op: Operator, x: Tensor, axis: int, size: int, factor: float, coordinates: str, rounding: str | None
) -> Tensor:
    """One axis resized; ``rounding``: of places to the nearest, None for linear interpolation between two."""
    known = x.shape[axis]
    places = _coordinates(op, coordinates, known, size, factor)
    if rounding is not None:
        nearest = torch.from_numpy(_nearest(rounding, places).clip(0, known - 1))
        return x.index_select(axis % x.ndim, nearest.to(x.device))
    inside = places.clip(0, known - 1)
    lower = np.floor(inside).astype(np.int64)
    share = torch.from_numpy((inside - lower).astype(np.float32)).to(x)
    share = share.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    low = x.index_select(axis, torch.from_numpy(lower).to(x.device))
    high = x.index_select(axis, torch.from_numpy(np.minimum(lower + 1, known - 1)).to(x.device))
    return low * (1 - share) + high * share


def _coordinates(op: Operator, kind: str, known: int, size: int, factor: float) -> Floats:
    """Where each output place lies in the input (``coordinate_transformation_mode``), as float32 rounds it."""
    places, scale = np.arange(size, dtype=np.float32), np.float32(factor)
    centred = (places + np.float32(0.5)) / scale - np.float32(0.5)
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and size > 1):
        return centred
    if kind == "pytorch_half_pixel" or (kind == "align_corners" and size == 1):
        return np.zeros_like(places)
    if kind == "half_pixel_symmetric":
        return np.float32(known) / 2 * (1 - np.float32(size) / (scale * np.float32(known))) + centred
    if kind == "asymmetric":
        return places / scale
    if kind == "align_corners":
        return places * np.float32(known - 1) / np.float32(size - 1)
    raise op.unsupported(f"coordinates {kind}")


def _nearest(kind: str, places: Floats) -> npt.NDArray[np.int64]:
    """Places as whole numbers (``nearest_mode``)."""
    if kind == "ceil":
        return np.ceil(places).astype(np.int64)
    below = np.floor(places)
    share = places - below
    up = {"floor": share > 1, "round_prefer_ceil": share >= 0.5}.get(kind, share > 0.5)
    return (below + up).astype(np.int64)


def _dft(op: Operator, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """Fourier transform of real or complex numbers, whose parts are the last axis, to complex ones."""
    inverse, onesided = bool(op.get("inverse", 0)), bool(op.get("onesided", 0))
    if inverse and onesided:
        raise op.unsupported("it is one-sided and inverse")
    default = op.get("axis", 1) if op.opset < 20 else -2
    along = (default if axis is None else int(axis.item())) % x.ndim
    values = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x.squeeze(-1)
    count = values.shape[along] if length is None else int(length.item())
    found = (torch.fft.ifft if inverse else torch.fft.fft)(values, count, along)
    return torch.view_as_real(found.narrow(along, 0, count // 2 + 1) if onesided else found)


LAYERS: Mapping[str, Function] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DFT": _dft,
    "Einsum": lambda op, *inputs: torch.einsum(op.attributes["equation"], *inputs),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda op, x: x.mean(_spatial(x), keepdim=True),
    "GlobalMaxPool": lambda op, x: x.amax(_spatial(x), keepdim=True),
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": partial(_softmax, function=torch.log_softmax),
    "LpNormalization": _lp_normalization,
    "MatMul": lambda op, a, b: torch.matmul(a, b),
    "MaxPool": _max_pool,
    "RMSNormalization": _rms_normalization,
    "Resize": _resize,
    "Upsample": _upsample,
    "SimplifiedLayerNormalization": _rms_normalization,  # of onnxruntime, in the domain of ONNX
    "Softmax": _softmax,
}
