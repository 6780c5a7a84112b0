"""Tensors of the digital network for many layers at once, in groups: what is observed together fits in memory.

For every group the network runs again, as far as its tensors need. Groups follow from the network and the number of
samples alone, so that results do not depend on the memory that the user gives.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from lhc.costs.crossings import elements
from lhc.graph import LayerGraph
from lhc.onnx_io import Constants
from lhc.onnx_model import OnnxModel
from lhc.runtime.onnxruntime.sessions import Array, create_session, run_session, with_outputs

OBSERVED_BYTES = 2**27
"""Aimed size of the tensors that are observed in one run of the digital network."""

T = TypeVar("T")


def in_groups(
    items: Iterable[T], tensors: Callable[[T], Iterable[str]], graph: LayerGraph, samples: int
) -> list[list[T]]:
    """Items in their order, in groups of which the tensors fit in memory together; no group is empty.

    Args:
        tensors: what is observed for an item; inputs and stored tensors count nothing.
        samples: of a run.
    """
    sizes = elements(graph)
    groups: list[list[T]] = []
    held, size = set[str](), 0
    for item in items:
        producers = {tensor: graph.producer(tensor) for tensor in tensors(item)}
        own = {tensor: 4 * samples * sizes[name] for tensor, name in producers.items() if name}
        more = sum(own[tensor] for tensor in own.keys() - held)
        if not groups or size + more > OBSERVED_BYTES:
            groups.append([])
            held, size, more = set(), 0, sum(own.values())
        groups[-1].append(item)
        held |= own.keys()
        size += more
    return groups


class Observed:
    """Tensors of the digital network, call by call."""

    def __init__(self, model: OnnxModel, graph: LayerGraph, tensors: Iterable[str], packs: bool = True) -> None:
        """``tensors``: inputs and stored ones may be among them; ``packs``: see `create_session`."""
        self._label = model.label
        self._constants = Constants(model.proto.graph)
        self._wanted = sorted({tensor for tensor in tensors if graph.producer(tensor)})
        proto = with_outputs(model.proto, self._wanted)
        self._session = create_session(proto, model.label, packs) if self._wanted else None

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Fed and recorded tensors of a call, by name, stored ones excepted."""
        found: Sequence[Array] = ()
        if self._session is not None:
            found = run_session(self._session, self._wanted, feeds, self._label)
        return dict(feeds) | dict(zip(self._wanted, found, strict=True))

    def value(self, name: str, seen: Mapping[str, Array]) -> Array:
        """A tensor, perhaps a stored one."""
        return seen[name] if name in seen else self._constants.value(name)
