"""Sample axes of a network's tensors, so that the noise of a product follows its sample.

The batch is given a prime number of samples, and shapes are inferred for it: the one axis whose size is a multiple of
that holds the samples. Where an axis has several items of every sample, those of one sample may lie side by side, or
as many items apart as there are samples (``(steps, samples, features)`` as one matrix of rows). A Reshape keeps the
order of values, so that the number of values before the first sample and the next tells which. A Concat, Tile, Split
or Slice along the axis keeps whole blocks of samples: what is joined is as many blocks as its parts have.

Tensors whose sizes inference does not find are taken to hold one sample after the other on their first axis. So are
those that an operator joins of blocks with unlike numbers of items a sample: their noise depends on the call.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import onnx
from torch import Tensor

from lhc.onnx_io.read.shapes import Shape, batch_shapes
from lhc.onnx_model import OnnxModel
from lhc.samples.sample_axis import SampleAxis

_SAMPLES = 7919
"""A prime that sizes in networks are no multiples of."""
_SAME_ORDER = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that give the values of their first input in the same order."""
_WHOLE_BLOCKS = frozenset({"Concat", "Slice", "Split", "Tile"})
"""Operators that repeat, join or take blocks that hold every sample once."""

_found: "WeakKeyDictionary[OnnxModel, dict[str, Mapping[str, SamplePlace]]]" = WeakKeyDictionary()
"""Of models that are in memory, by the axes of their inputs: every placement of a model asks for them."""


@dataclass(frozen=True)
class SamplePlace:
    """The axis of a tensor that holds samples, of ``before · samples · after`` items.

    Attributes:
        axis: counted from 0.
        before: blocks of the axis that hold every sample once; 1 where the items of a sample lie side by side.
    """

    axis: int = 0
    before: int = 1

    def samples_first(self, x: Tensor, samples: int) -> Tensor:
        """The tensor as ``(samples, ..., before, after, ...)``, with the axis in the place of its two parts."""
        sizes = (self.before, samples, x.shape[self.axis] // (self.before * samples))
        parts = x.reshape(*x.shape[: self.axis], *sizes, *x.shape[self.axis + 1 :])
        return parts.movedim(self.axis + 1, 0)

    def as_it_was(self, chips: Tensor) -> Tensor:
        """Outputs on every chip of what `samples_first` gave, ``(chips, samples, ...)``, in the tensor's order."""
        axis = self.axis + 1
        parts = chips.movedim(1, axis + 1)
        return parts.flatten(axis, axis + 2)

    def fits(self, shape: Sequence[int], samples: int) -> bool:
        """Whether a tensor of a shape has so many samples there."""
        return self.axis < len(shape) and shape[self.axis] % (self.before * samples) == 0


def sample_places(model: OnnxModel, axes: Mapping[str, SampleAxis] | None = None) -> Mapping[str, SamplePlace]:
    """The place of samples by tensor, of those that hold them elsewhere than one after the other on the first axis.

    Args:
        axes: of inputs of which the user says where they have samples.
    """
    known = _found.setdefault(model, {})
    key = repr(sorted((axes or {}).items()))
    if key not in known:
        known[key] = _places(model.proto.graph, batch_shapes(model, _SAMPLES, axes))
    return known[key]


def _places(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> dict[str, SamplePlace]:
    axes = {name: axis for name, shape in shapes.items() if (axis := _axis(shape)) is not None}
    found = {value.name: SamplePlace(axes[value.name]) for value in graph.input if value.name in axes}
    for node in graph.node:
        for tensor in node.output:
            if tensor in axes:
                found[tensor] = SamplePlace(axes[tensor], _before(node, tensor, axes[tensor], shapes, found))
    return {name: place for name, place in found.items() if place != SamplePlace()}


def _axis(shape: Shape) -> int | None:
    """The only axis that holds samples."""
    holding = [axis for axis, size in enumerate(shape) if isinstance(size, int) and size and size % _SAMPLES == 0]
    return holding[0] if len(holding) == 1 else None


def _before(
    node: onnx.NodeProto, tensor: str, axis: int, shapes: Mapping[str, Shape], found: Mapping[str, SamplePlace]
) -> int:
    """Blocks of the axis of an operator's output that hold every sample once."""
    size = shapes[tensor][axis]
    if size == _SAMPLES:
        return 1
    source = found.get(node.input[0]) if node.op_type in _SAME_ORDER else None
    if source is not None:
        ahead, ahead_here = _values(shapes[node.input[0]][: source.axis]), _values(shapes[tensor][:axis])
        known = ahead is not None and ahead_here and (ahead * source.before) % ahead_here == 0
        return ahead * source.before // ahead_here if known and ahead is not None and ahead_here else 1
    sources = [(place, shapes[name][place.axis]) for name in node.input if (place := found.get(name))]
    blocks = {items // place.before for place, items in sources if isinstance(items, int)}
    if node.op_type in _WHOLE_BLOCKS and len(blocks) == 1 and isinstance(size, int) and size >= (block := blocks.pop()):
        return size // block
    # What repeats one item for every sample is not known to have blocks, and fits any number of them.
    return max((place.before for place, items in sources if items == size), default=1)


def _values(sizes: Shape) -> int | None:
    """Product of sizes, where all are known."""
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None
