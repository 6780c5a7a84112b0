"""Scheduler: which worker does which unit of work next, and what is begun before it is asked for.

It has workers do units by ``submit``, the interface of `concurrent.futures` and of Dask's ``Client``. A worker keeps
what a placement fixes (sessions), what a chip fixes (its calibration and programming) and what a block of samples fixes
(tensors before the analog layers). So it is given, in this order,

1. a unit of its placement: of the same samples first where it keeps all its chips, else of the same chip first,
2. a placement that no worker is at,
3. chips that no worker is at,
4. chips of another worker, where enough of their units are left.

What is sure to be asked for goes out with what is asked for; what may be asked for goes to idle workers. Results depend
neither on who did a unit nor on units that nobody asked for.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.work_unit import BlockWork
from lhc.samples.metrics import Array

__all__ = ["Scheduler", "WorkUnit", "Workers", "always"]

AHEAD = 2
"""Units for each worker that are on their way, so that none waits for its next one."""
LEFT = 1
"""Units of a chip that are left to the worker that is at it: calibrating and programming it again takes as long."""
Worker = TypeVar("Worker", bound=Hashable)


def always() -> None:
    """Check of the time that never ends work: there is no limit."""


class WorkUnit(NamedTuple):
    """A piece of work.

    Attributes:
        samples: which ones, of all that there are.
        read: gives them, when a worker needs them.
        keeps_chips: a worker keeps the programmed chips of all units that it is given of a placement.
        check: called when the unit's turn comes; raises where it is not to be done any more.
    """

    work: BlockWork
    samples: Hashable
    read: Callable[[], Block]
    keeps_chips: bool = True
    check: Callable[[], None] = always


class Workers:
    """Does units of work, in whatever order and by whomever: the bytes are the same."""

    @property
    def count(self) -> int:
        """Number of processes that share the units."""
        raise NotImplementedError

    def run(self, context: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        """Results as they come: number of the unit, and what it gives.

        Raises:
            LhcError: a unit cannot be done.
            WorkerError: a worker is gone.
        """
        raise NotImplementedError

    def expect(self, context: WorkContext, certain: Iterable[WorkUnit], perhaps: Iterable[WorkUnit]) -> None:
        """Begin units before they are asked for, where that keeps workers busy.

        Args:
            certain: `run` will be asked for them.
            perhaps: it may be. What of this context was expected before, and is not any more, is dropped.
        """

    def forget(self) -> None:
        """Let go of what this process holds for the next units."""

    def close(self) -> None:
        """Let go of all processes and connections."""


@dataclass(eq=False)
class _WorkItem:
    """A unit that waits for a worker, or was submitted.

    Attributes:
        placement: the context and what a worker makes for a placement; ``chips``: what it makes for some of its chips.
        certain: it is going to be asked for.
        future: once it is submitted.
    """

    context: WorkContext
    unit: WorkUnit
    placement: Hashable
    chips: Hashable
    certain: bool = True
    worker: Hashable = None
    future: "Future[list[Array]] | None" = None


class _Place(NamedTuple):
    """Last work of a worker: a placement, the chips of it that the worker keeps, and the samples."""

    placement: Hashable
    chips: frozenset[Hashable]
    samples: Hashable

    def distance(self, item: _WorkItem) -> tuple[bool, bool]:
        """Samples and chips that another item of the placement needs anew; the first counts more."""
        samples, chips = item.unit.samples != self.samples, item.chips not in self.chips
        return (samples, chips) if item.unit.keeps_chips else (chips, samples)


class Scheduler(Workers, Generic[Worker]):
    """Hands out units and takes back their results; kinds of workers derive from it."""

    def __init__(self) -> None:
        """Nothing waits yet."""
        self._waiting: dict[Hashable, dict[_WorkItem, None]] = {}
        self._expected: dict[tuple[Hashable, BlockWork, Hashable], _WorkItem] = {}
        self._submitted: dict[Future[list[Array]], _WorkItem] = {}
        self._at: dict[Worker, _Place] = {}

    def _workers(self) -> Collection[Worker]:
        """Workers that there are now, one at least."""
        raise NotImplementedError

    def _name(self, context: WorkContext) -> Hashable:
        """The same for contexts of the same content."""
        raise NotImplementedError

    def _submit(self, worker: Worker, context: WorkContext, unit: WorkUnit) -> "Future[list[Array]]":
        """Have a worker do a unit when it has done what it was given before."""
        raise NotImplementedError

    def _finished(self, futures: "list[Future[list[Array]]]") -> "Iterable[Future[list[Array]]]":
        """Finished futures, of which one at least is waited for."""
        return wait(futures, return_when=FIRST_COMPLETED).done

    def _result(self, future: "Future[list[Array]]") -> list[Array]:
        return future.result()

    def expect(self, context: WorkContext, certain: Iterable[WorkUnit], perhaps: Iterable[WorkUnit]) -> None:
        name = self._name(context)
        before = {key for key in self._expected if key[0] == name}
        for units, sure in ((certain, True), (perhaps, False)):
            for unit in units:
                key = name, unit.work, unit.samples
                if key not in self._expected:
                    self._expected[key] = self._item(context, unit)
                self._expected[key].certain = sure
                before.discard(key)
        for key in before:
            self._drop(self._expected.pop(key))

    def run(self, context: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        name, numbers = self._name(context), dict[_WorkItem, int]()
        try:
            for number, unit in enumerate(units):
                item = self._expected.pop((name, unit.work, unit.samples), None) or self._item(context, unit)
                item.unit, item.certain, numbers[item] = unit, True, number  # an expected one knows no limit of time
            finished = [item for item in numbers if item.future is not None and item.future not in self._submitted]
            while numbers:
                self._hand_out()
                for item in finished or self._awaited():
                    if item in numbers:
                        assert item.future is not None
                        yield numbers.pop(item), self._result(item.future)
                finished = []
        except Exception:  # such as the end of the time: what was to follow is not asked for any more
            while self._expected:
                self._drop(self._expected.popitem()[1])
            raise
        finally:
            for item in numbers:
                self._drop(item)

    def _item(self, context: WorkContext, unit: WorkUnit) -> _WorkItem:
        """A new one, which waits."""
        placement, chips = unit.work.shared
        item = _WorkItem(context, unit, (self._name(context), placement), unit.samples if chips is None else chips)
        self._waiting.setdefault(item.placement, {})[item] = None
        return item

    def _remove(self, item: _WorkItem) -> None:
        """Have it wait no more."""
        self._waiting[item.placement].pop(item)
        if not self._waiting[item.placement]:
            del self._waiting[item.placement]

    def _drop(self, item: _WorkItem) -> None:
        """Nobody asks for it any more; what a worker is at is finished all the same."""
        if item.future is None:
            self._remove(item)
        elif item.future.cancel() is not False:  # Dask's gives None
            self._submitted.pop(item.future, None)

    def _awaited(self) -> list[_WorkItem]:
        """Items that are finished next."""
        return [self._submitted.pop(future) for future in self._finished(list(self._submitted))]

    def _hand_out(self) -> None:
        """Give workers what they have room for: first what is certain, then to the idle what may be asked for."""
        workers = self._workers()
        self._at = {worker: place for worker, place in self._at.items() if worker in workers}
        load = Counter(item.worker for item in self._submitted.values())
        for certain, most in ((True, AHEAD), (False, 1)):
            for given in range(most):
                for worker in workers:
                    item = self._chosen(worker, certain, busy=given > 0) if load[worker] == given else None
                    if item is not None:
                        self._give(worker, item)
                        load[worker] += 1

    def _chosen(self, worker: Worker, certain: bool, busy: bool) -> _WorkItem | None:
        """The next item of a worker; a busy one is given nothing but what is of its placement."""
        own, others = self._at.get(worker), [place for other, place in self._at.items() if other != worker]
        placements = {place.placement for place in others}
        taken = {(place.placement, chips) for place in others for chips in place.chips}
        if own is not None:
            here = [item for item in self._waiting.get(own.placement, ()) if item.certain == certain]
            near = [item for item in here if item.chips in own.chips or (item.placement, item.chips) not in taken]
            if near or busy:
                return min(near, key=own.distance, default=None)
        every = [item for items in self._waiting.values() for item in items if item.certain == certain]
        left = Counter((item.placement, item.chips) for item in every)

        def cost(item: _WorkItem) -> tuple[bool, bool, int]:
            chips = item.placement, item.chips
            return item.placement in placements, chips in taken, -left[chips] if chips in taken else 0

        best = min(every, key=cost, default=None)
        enough = best is None or (best.placement, best.chips) not in taken or left[best.placement, best.chips] > LEFT
        return best if enough else None

    def _give(self, worker: Worker, item: _WorkItem) -> None:
        item.unit.check()
        own, chips = self._at.get(worker), frozenset({item.chips})
        if own is not None and own.placement == item.placement and item.unit.keeps_chips:
            chips |= own.chips
        item.worker, item.future = worker, self._submit(worker, item.context, item.unit)
        self._remove(item)
        self._submitted[item.future] = item
        self._at[worker] = _Place(item.placement, chips, item.unit.samples)
