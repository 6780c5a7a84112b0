"""The order of a placement: a digital segment, the analog layers behind it, and so on; what waits in between."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from lhc.costs.crossings import elements
from lhc.graph import LayerGraph
from lhc.runtime.segments import Segment

if TYPE_CHECKING:
    from lhc.runtime.onnxruntime.library import onnxruntime
    from lhc.runtime.operators.analog_layers import AnalogLayer

__all__ = ["NetworkStage", "independent", "read_by", "release", "steps", "waiting_elements", "written_by"]

T = TypeVar("T")


@dataclass(frozen=True)
class NetworkStage:
    """A digital segment, if there is one, and the analog layers that come next.

    Attributes:
        open: makes the segment's session.
    """

    segment: Segment | None
    open: "Callable[[], onnxruntime.InferenceSession] | None"
    analog: "tuple[AnalogLayer, ...]"

    @cached_property
    def session(self) -> "onnxruntime.InferenceSession | None":
        """Made for the first call: some executors only program."""
        return None if self.open is None else self.open()


def independent(layers: "tuple[AnalogLayer, ...]") -> "tuple[AnalogLayer, ...]":
    """Layers that read no output of another of them."""
    written = {layer.written for layer in layers}
    return tuple(layer for layer in layers if written.isdisjoint(read_by(layer)))


def steps(stages: Sequence[NetworkStage]) -> "list[NetworkStage | AnalogLayer]":
    """Segments, which their stages stand for, and analog layers, in their order."""
    found: list[NetworkStage | AnalogLayer] = []
    for stage in stages:
        found += [stage] if stage.segment else []
        found += stage.analog
    return found


def read_by(step: "NetworkStage | AnalogLayer") -> Sequence[str]:
    """Names of the tensors that a step reads."""
    if isinstance(step, NetworkStage):
        return step.segment.inputs if step.segment else ()
    addend = None if step.epilogue is None else step.epilogue.addend
    return (step.activation, *step.digital_inputs, *([] if addend is None else [addend]))


def written_by(step: "NetworkStage | AnalogLayer") -> Sequence[str]:
    """Names of the tensors that a step writes."""
    if isinstance(step, NetworkStage):
        return step.segment.outputs if step.segment else ()
    return (step.written,)


def release(tensors: dict[str, T], waiting: Counter[str], read: Iterable[str]) -> None:
    """Free tensors after their last use."""
    for name in read:
        waiting[name] -= 1
        if waiting[name] <= 0:
            tensors.pop(name, None)


def waiting_elements(
    before: Iterable[str], later: "Sequence[NetworkStage | AnalogLayer]", last: int, graph: LayerGraph
) -> int:
    """Most elements of a sample that are held between the first ``last`` steps; those of unknown size count nothing.

    Args:
        before: names of the tensors that are there from the start, and stay.
    """
    sizes = elements(graph)

    def size(tensor: str) -> int:
        producer = graph.producer(tensor)
        return sizes[producer] if producer else 0

    waiting = Counter(name for step in later for name in read_by(step))
    held: dict[str, int] = {}
    most = 0
    for step in later[:last]:
        held |= {name: size(name) for name in written_by(step)}
        release(held, waiting, read_by(step))
        most = max(most, sum(held.values()))
    return sum(map(size, before)) + most
