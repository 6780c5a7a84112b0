"""ONNX operators that move, select and count: differentiable torch functions as in `elementwise`.

Shapes and indices are computed as integer tensors; they carry no gradient.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lhc.onnx_io import stored_array
from lhc.runtime.gradients.operators.elementwise import TORCH_DTYPES, Function, Operator, integers, tensor_of
from lhc.runtime.torch_settings import made_here


def _cast(op: Operator, x: Tensor) -> Tensor:
    """To int32, what carries a gradient keeps it, and stays a float: so do products of integers (`lhc.canonical`)."""
    wanted = TORCH_DTYPES.get(op.attributes["to"])
    if wanted is None:
        raise op.unsupported(f"it casts to ONNX's element type {op.attributes['to']}")
    if wanted == torch.int32 and x.requires_grad:
        return x + (x.trunc() - x).detach()
    return x.to(wanted)


def _shape(op: Operator, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[op.get("start", 0) : op.get("end", None)], dtype=torch.int64)


def _reshape(op: Operator, x: Tensor, shape: Tensor | None = None) -> Tensor:
    """0 copies a size, unless ``allowzero``."""
    sizes = op.attributes["shape"] if shape is None else integers(shape)
    if not op.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(op: Operator, x: Tensor) -> Tensor:
    axis = op.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _axes(op: Operator, given: Tensor | None) -> list[int] | None:
    """Axes: an attribute, or an input from opset 13 on."""
    axes: list[int] | None = op.get("axes", None) if given is None else integers(given)
    return axes


def _squeeze(op: Operator, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(op, given)
    return x.squeeze(tuple(axes)) if axes else x.squeeze()


def _unsqueeze(op: Operator, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(op, given) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(op: Operator, x: Tensor) -> Tensor:
    return x.permute(op.get("perm", list(reversed(range(x.ndim)))))


def _split(op: Operator, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = op.get("axis", 0)
    sizes = op.get("split", None) if given is None else integers(given)
    if sizes is None:
        parts = op.get("num_outputs", len(op.node.output))
        size = -(-x.shape[axis] // parts)
        sizes = [min(size, x.shape[axis] - index * size) for index in range(parts)]
    return torch.split(x, sizes, dim=axis)


def _slice(
    op: Operator,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Python's slices, along some axes; attributes before opset 10."""
    if starts is None or ends is None:
        first, last = op.attributes["starts"], op.attributes["ends"]
        along = op.get("axes", list(range(len(first))))
    else:
        first, last = integers(starts), integers(ends)
        along = list(range(len(first))) if axes is None else integers(axes)
    by = [1] * len(first) if steps is None else integers(steps)
    for start, stop, axis, step in zip(first, last, along, by, strict=True):
        chosen = range(*slice(start, stop, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(*(slice(None),) * (axis % x.ndim), slice(chosen.start, chosen.stop, step))]
        else:  # torch has no such views
            x = x.index_select(axis, torch.tensor(chosen, dtype=torch.int64))
    return x


def _positive(indices: Tensor, size: int) -> Tensor:
    """Indices from 0 on: negative ones count from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _gather(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    axis = op.get("axis", 0) % x.ndim
    taken = x.index_select(axis, _positive(indices, x.shape[axis]).reshape(-1))
    return taken.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_elements(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    axis = op.get("axis", 0)
    return torch.gather(x, axis, _positive(indices, x.shape[axis]))


def _gather_nd(op: Operator, x: Tensor, indices: Tensor) -> Tensor:
    batch = op.get("batch_dims", 0)
    depth = indices.shape[-1]
    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    count = math.prod(x.shape[:batch])
    values = x.reshape(count, *x.shape[batch:])
    chosen = indices.reshape(count, -1, depth)
    rows = torch.arange(count)[:, None].expand(chosen.shape[:2])
    picks = [_positive(chosen[..., i], x.shape[batch + i]) for i in range(depth)]
    return values[(rows, *picks)].reshape(shape)


def _scatter_nd(op: Operator, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    kind = op.get("reduction", "none")
    if kind not in ("none", "add"):
        raise op.unsupported(f"reduction {kind}")
    picks = tuple(_positive(indices[..., i], x.shape[i]) for i in range(indices.shape[-1]))
    return x.index_put(picks, updates, accumulate=kind == "add")


def _scatter_elements(op: Operator, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = op.get("axis", 0)
    kind = op.get("reduction", "none")
    where = _positive(indices, x.shape[axis])
    if kind == "none":
        return torch.scatter(x, axis, where, updates)
    kinds = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return torch.scatter_reduce(x, axis, where, updates, kinds[kind])


def _expand(op: Operator, x: Tensor, shape: Tensor) -> Tensor:
    both: tuple[int, ...] = np.broadcast_shapes(tuple(x.shape), tuple(integers(shape)))
    return x.expand(both)


def _source_indices(size: int, before: int, after: int, mode: str) -> Tensor:
    """For every place of a padded axis, the place its value comes from."""
    places = torch.arange(-before, size + after)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(2 * (size - 1), 1)
    folded = places % period
    return torch.where(folded < size, folded, period - folded)


def _pad(
    op: Operator,
    x: Tensor,
    given: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    """All pads before, then all pads after; attributes before opset 11."""
    pads = op.attributes["pads"] if given is None else integers(given)
    along = list(range(len(pads) // 2)) if axes is None else [axis % x.ndim for axis in integers(axes)]
    before, after = pads[: len(along)], pads[len(along) :]
    mode = op.get("mode", "constant")
    if mode == "constant":
        fill = op.get("value", 0.0) if value is None else value.reshape(-1)[0].item()
        widths = [0] * (2 * x.ndim)
        for axis, low, high in zip(along, before, after, strict=True):
            widths[2 * (x.ndim - 1 - axis)], widths[2 * (x.ndim - 1 - axis) + 1] = low, high
        return functional.pad(x, widths, value=fill)
    for axis, low, high in zip(along, before, after, strict=True):
        if low or high:
            x = x.index_select(axis, _source_indices(x.shape[axis], low, high, mode))
    return x


def _constant(op: Operator) -> Tensor:
    """A tensor, or a scalar or list of numbers."""
    for name, value in op.attributes.items():
        if name == "value":
            return made_here(tensor_of(stored_array(value)))
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise op.unsupported("it holds neither numbers nor a dense tensor")


def _constant_of_shape(op: Operator, shape: Tensor) -> Tensor:
    fill = tensor_of(stored_array(op.attributes["value"])) if "value" in op.attributes else torch.zeros(1)
    return fill.reshape(()).expand(integers(shape)).clone().to(shape.device)


def _range(op: Operator, start: Tensor, stop: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), stop.item(), step.item(), dtype=start.dtype)


def _trilu(op: Operator, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    k = 0 if diagonal is None else int(diagonal)
    return torch.triu(x, k) if op.get("upper", 1) else torch.tril(x, k)


def _cumsum(op: Operator, x: Tensor, given: Tensor) -> Tensor:
    axis = int(given) % x.ndim
    values = x.flip(axis) if op.get("reverse", 0) else x
    total = torch.cumsum(values, axis, dtype=x.dtype)
    if op.get("exclusive", 0):
        total = total - values
    return total.flip(axis) if op.get("reverse", 0) else total


def _extreme_index(op: Operator, x: Tensor, sign: int) -> Tensor:
    """The first, or last, index of the greatest of ``sign · x``."""
    axis, keep = op.get("axis", 0), bool(op.get("keepdims", 1))
    values = x * sign
    if op.get("select_last_index", 0):
        last: Tensor = x.shape[axis] - 1 - values.flip(axis).argmax(axis, keepdim=keep)
        return last
    return values.argmax(axis, keepdim=keep)


def _top_k(op: Operator, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Among equal values the first comes first."""
    count, axis = op.attributes["k"] if k is None else int(k), op.get("axis", -1)
    found = torch.sort(x, dim=axis, descending=bool(op.get("largest", 1)), stable=True)
    return found.values.narrow(axis, 0, count), found.indices.narrow(axis, 0, count)


def _one_hot(op: Operator, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    size, axis = int(depth), op.get("axis", -1)
    index = indices.to(torch.int64)
    places = torch.where(index < 0, index + size, index)[..., None] == torch.arange(size)
    hot = torch.where(places, values[1], values[0])
    return hot.movedim(-1, axis)


def _reverse_sequence(op: Operator, x: Tensor, lengths: Tensor) -> Tensor:
    """The first steps of every sequence backwards, as many as it has."""
    axes = op.get("batch_axis", 1), op.get("time_axis", 0)
    moved, steps, ends = x.movedim(axes, (0, 1)), torch.arange(x.shape[axes[1]]), lengths[:, None]
    index = torch.where(steps < ends, ends - 1 - steps, steps).reshape(*moved.shape[:2], *[1] * (x.ndim - 2))
    return moved.gather(1, index.expand_as(moved)).movedim((0, 1), axes)


def _depth_to_space(op: Operator, x: Tensor) -> Tensor:
    samples, channels, height, width = x.shape
    block = op.attributes["blocksize"]
    if op.get("mode", "DCR") == "DCR":
        parts = x.reshape(samples, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(samples, channels // block**2, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(samples, channels // block**2, height * block, width * block)


def _space_to_depth(op: Operator, x: Tensor) -> Tensor:
    samples, channels, height, width = x.shape
    block = op.attributes["blocksize"]
    parts = x.reshape(samples, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(samples, channels * block**2, height // block, width // block)


SHAPES: Mapping[str, Function] = {
    "ArgMax": lambda op, x: _extreme_index(op, x, 1),
    "ArgMin": lambda op, x: _extreme_index(op, x, -1),
    "Cast": _cast,
    "CastLike": lambda op, x, like: x.to(like.dtype),
    "Concat": lambda op, *inputs: torch.cat(inputs, dim=op.attributes["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cumsum,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda op, x: torch.nonzero(x).T,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "ReverseSequence": _reverse_sequence,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": lambda op, x: torch.tensor(x.numel(), dtype=torch.int64),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda op, x, repeats: x.repeat(integers(repeats)),
    "TopK": _top_k,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
