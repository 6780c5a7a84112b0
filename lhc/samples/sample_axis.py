"""Sample axis of an input or an output.

lhc keeps samples on the first axis. A network may have them elsewhere: a recurrent network that takes and gives
(steps, samples, features), or a graph network that takes one sample a call and has no axis for it. A `SampleLayout`
says so, takes samples to where the network has them, and its outputs back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lhc.errors import UsageError

Array = npt.NDArray[Any]
SampleAxis = int | Literal["call"]
"""An axis, counted from 0, or the call: the whole tensor of a call is one sample."""
CALL: Literal["call"] = "call"


def samples_first(tensor: Array, axis: SampleAxis) -> Array:
    """A tensor of the network with samples on its first axis, a view; as it is where it has no such axis."""
    if axis == CALL:
        return np.asarray(tensor)[None]
    return np.moveaxis(tensor, axis, 0) if axis < tensor.ndim else tensor


def moved_axis(axis: int, samples: SampleAxis) -> int:
    """Index of another axis of a tensor once samples are on the first; both are counted from 0."""
    if samples == CALL:
        return axis + 1
    return 0 if axis == samples else axis + (axis < samples)


def network_axis(axis: int, samples: SampleAxis) -> int:
    """Index in the network of an axis that is here once samples are on the first: the inverse of `moved_axis`.

    >>> [network_axis(moved_axis(axis, 1), 1) for axis in (0, 2)], network_axis(moved_axis(0, "call"), "call")
    ([0, 2], 0)
    """
    return axis - 1 if samples == CALL or axis <= samples else axis


def following_axis(shapes: Sequence[Sequence[int]], sizes: Sequence[int]) -> int | None:
    """The only axis whose size is the number of samples in every call; None where there is none, or several.

    Args:
        shapes: of a tensor, call by call.
        sizes: samples of the calls, not all the same.

    >>> following_axis([(20, 2, 11), (20, 3, 11)], [2, 3])
    1
    """
    if len({len(shape) for shape in shapes}) != 1:
        return None
    fitting = [axis for axis, found in enumerate(zip(*shapes, strict=True)) if list(found) == list(sizes)]
    return fitting[0] if len(fitting) == 1 else None


def axis_of_size(shape: Sequence[int], batch: int) -> SampleAxis | None:
    """The axis that holds a batch of fixed size: the first that has it; with a batch of 1 and no such axis, the call.

    >>> axis_of_size((20, 1, 11), 1), axis_of_size((64, 4), 1), axis_of_size((4, 8), 8), axis_of_size((3, 3), 8)
    (1, 'call', 1, None)
    """
    if batch in shape:
        return list(shape).index(batch)
    return CALL if batch == 1 else None


@dataclass(frozen=True)
class SampleLayout:
    """Sample axes of the inputs and outputs of a network.

    Attributes:
        inputs: name -> axis, of inputs that have them elsewhere than on the first axis.
        outputs: the same of outputs.
        single: a call takes one sample, whatever the axes are.
    """

    inputs: Mapping[str, SampleAxis] = field(default_factory=dict)
    outputs: Mapping[str, SampleAxis] = field(default_factory=dict)
    single: bool = False

    @property
    def one_a_call(self) -> bool:
        """Whether a call of the network takes one sample."""
        return self.single or CALL in (*self.inputs.values(), *self.outputs.values())

    def of_output(self, name: str) -> SampleAxis:
        """The axis of an output."""
        return self.outputs.get(name, 0)

    def feeds(self, samples: Mapping[str, Array]) -> Mapping[str, Array]:
        """Feeds of a call of the network.

        Args:
            samples: input name -> ``(samples, ...)``; one sample where an input has no axis for them.
        """
        if not self.inputs:
            return samples
        return {name: self._taken(name, array) for name, array in samples.items()}

    def _taken(self, name: str, array: Array) -> Array:
        axis = self.inputs.get(name, 0)
        if axis == 0 or not array.ndim:
            return array
        if axis != CALL:
            return np.ascontiguousarray(np.moveaxis(array, 0, axis))
        if len(array) != 1:
            raise UsageError(f"input {name!r} takes one sample a call, not {len(array)}")
        return array.reshape(array.shape[1:])
