"""Hands units of work to workers: who does which unit next, and what is begun before it is asked for.

A worker keeps what a placement fixes (sessions), what a chip fixes (its calibration and programming) and what a block
of samples fixes (tensors before the analog layers). So it is given units of the placement that it is at, of the same
samples first where it keeps all of its chips, of the same chip first where it does not; then a placement that nobody is
at; then chips that nobody is at; and chips that another worker is at only where enough of them is left.

What is sure to be asked for goes out with what is asked for. What may be asked for is given to workers that have
nothing else to do. Who did a unit shows nowhere, and neither does one that nobody asked for.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from lhc.measure.scoring import BlockWork
from lhc.measure.work_context import Block, WorkContext
from lhc.samples.metrics import Array

__all__ = ["Desk", "WorkUnit", "always"]

AHEAD = 2
"""Units for each worker that are on their way, so that none waits for its next one."""
LEFT = 1
"""Units of a chip that are left to the worker that is at it: calibrating and programming it again takes as long."""


def always() -> None:
    """Whatever the time."""


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


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


Worker = TypeVar("Worker", bound=Hashable)
Pending = TypeVar("Pending", bound=_Cancellable)
"""A unit that is on its way."""


@dataclass(eq=False)
class _Errand(Generic[Worker, Pending]):
    """A unit that waits for a worker; with ``pending`` one was given it, and ``done`` says that it is finished."""

    context: WorkContext
    unit: WorkUnit
    placement: Hashable
    chips: Hashable
    pending: Pending | None = None
    worker: Worker | None = None
    done: bool = False


@dataclass(frozen=True)
class _Station:
    """What a worker was last at: a placement, those of its chips that it keeps, and the samples."""

    placement: Hashable
    chips: frozenset[Hashable]
    samples: Hashable


@dataclass
class _Queue(Generic[Worker, Pending]):
    """Errands that wait, by placement, in their order."""

    waiting: dict[Hashable, dict[_Errand[Worker, Pending], None]] = field(default_factory=dict)

    def add(self, errand: _Errand[Worker, Pending]) -> None:
        self.waiting.setdefault(errand.placement, {})[errand] = None

    def remove(self, errand: _Errand[Worker, Pending]) -> None:
        """Forget an errand, if it waits here."""
        errands = self.waiting.get(errand.placement, {})
        errands.pop(errand, None)
        if not errands:
            self.waiting.pop(errand.placement, None)

    def chosen(
        self, own: _Station | None, taken: Mapping[Hashable, int], busy: bool
    ) -> _Errand[Worker, Pending] | None:
        """The next errand of a worker.

        Args:
            own: what it is at.
            taken: how many workers are at a placement, and at chips of a placement.
            busy: it has something to do, and is given nothing but what is of its placement.
        """
        if own is not None and (nearest := self._nearest(own, taken)) is not None:
            return nearest
        if busy:
            return None
        for placement, errands in self.waiting.items():
            if not taken.get(placement):
                return next(iter(errands))
        every = [errand for errands in self.waiting.values() for errand in errands]
        free = next((errand for errand in every if not taken.get((errand.placement, errand.chips))), None)
        if free is not None:
            return free
        left = Counter((errand.placement, errand.chips) for errand in every)
        most = max(reversed(every), key=lambda errand: left[errand.placement, errand.chips], default=None)
        return most if most is not None and left[most.placement, most.chips] > LEFT else None

    def _nearest(self, own: _Station, taken: Mapping[Hashable, int]) -> _Errand[Worker, Pending] | None:
        """Of the placement that a worker is at."""

        def distance(errand: _Errand[Worker, Pending]) -> tuple[bool, bool, bool]:
            other, elsewhere = errand.chips not in own.chips, errand.unit.samples != own.samples
            return other and not errand.unit.keeps_chips, elsewhere, other

        near = self.waiting.get(own.placement, {})
        its_own = (one for one in near if one.chips in own.chips or not taken.get((one.placement, one.chips)))
        return min(its_own, key=distance, default=None)


class Desk(Generic[Worker, Pending]):
    """Hands out units and takes back their results."""

    def __init__(
        self,
        workers: Callable[[], Collection[Worker]],
        name: Callable[[WorkContext], Hashable],
        submit: Callable[[Worker, WorkContext, WorkUnit], Pending],
        finished: Callable[[list[Pending]], Iterable[Pending]],
        result: Callable[[Pending], list[Array]],
    ) -> None:
        """Nothing waits yet.

        Args:
            workers: those that there are now; one at least.
            name: the same for settings of the same content.
            submit: has a worker do a unit when it has done what it was given before.
            finished: waits for one at least, and gives those that are.
        """
        self._workers, self._name, self._submit = workers, name, submit
        self._finished, self._result = finished, result
        self._at: dict[Worker, _Station] = {}
        self._sure, self._perhaps = _Queue[Worker, Pending](), _Queue[Worker, Pending]()
        self._expected: dict[tuple[Hashable, BlockWork, Hashable], _Errand[Worker, Pending]] = {}
        self._on_their_way: dict[Pending, _Errand[Worker, Pending]] = {}

    def expect(self, context: WorkContext, certain: Iterable[WorkUnit], perhaps: Iterable[WorkUnit]) -> None:
        """See `lhc.measure.workers.processes.Workers`."""
        name = self._name(context)
        before = {key: errand for key, errand in self._expected.items() if key[0] == name}
        for units, queue in ((certain, self._sure), (perhaps, self._perhaps)):
            for unit in units:
                errand = before.pop((name, unit.work, unit.samples), None) or self._errand(context, unit)
                self._expected[name, unit.work, unit.samples] = errand
                self._wait_in(queue, errand)
        for key, errand in before.items():
            del self._expected[key]
            self._drop(errand)

    def run(self, context: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        """See `lhc.measure.workers.processes.Workers`."""
        name, numbers = self._name(context), dict[_Errand[Worker, Pending], int]()
        try:
            for number, unit in enumerate(units):
                expected = self._expected.pop((name, unit.work, unit.samples), None)
                errand = expected or self._errand(context, unit)
                numbers[errand] = number
                self._wait_in(self._sure, errand)
            while numbers:
                self._hand_out()
                for errand in [one for one in numbers if one.done] or self._awaited():
                    if errand in numbers:
                        assert errand.pending is not None
                        yield numbers.pop(errand), self._result(errand.pending)
        finally:
            for errand in numbers:
                self._drop(errand)

    def _errand(self, context: WorkContext, unit: WorkUnit) -> _Errand[Worker, Pending]:
        placement, chips = unit.work.shared
        return _Errand(context, unit, (self._name(context), placement), unit.samples if chips is None else chips)

    def _wait_in(self, queue: _Queue[Worker, Pending], errand: _Errand[Worker, Pending]) -> None:
        """Have an errand wait in this queue and no other, if it still waits."""
        if errand.pending is None:
            self._perhaps.remove(errand)
            self._sure.remove(errand)
            queue.add(errand)

    def _drop(self, errand: _Errand[Worker, Pending]) -> None:
        """Nobody asks for it any more; what a worker is at is finished all the same."""
        self._sure.remove(errand)
        self._perhaps.remove(errand)
        if errand.pending is not None and errand.pending.cancel() is not False:
            self._on_their_way.pop(errand.pending, None)

    def _awaited(self) -> list[_Errand[Worker, Pending]]:
        """Those that are finished next."""
        found = [self._on_their_way.pop(pending) for pending in self._finished(list(self._on_their_way))]
        for errand in found:
            errand.done = True
        return found

    def _hand_out(self) -> None:
        """Give workers what they have room for."""
        workers = self._workers()
        self._at = {worker: place for worker, place in self._at.items() if worker in workers}
        load = Counter(errand.worker for errand in self._on_their_way.values())
        taken = Counter(key for place in self._at.values() for key in _keys(place))
        for queue, most in ((self._sure, AHEAD), (self._perhaps, 1)):
            while queue.waiting:
                with_room = sorted((one for one in workers if load[one] < most), key=load.__getitem__)
                if not any(self._give(worker, queue, load, taken) for worker in with_room):
                    break

    def _give(
        self,
        worker: Worker,
        queue: _Queue[Worker, Pending],
        load: "Counter[Worker | None]",
        taken: "Counter[Hashable]",
    ) -> bool:
        """Give a worker an errand, if there is one for it."""
        own = self._at.get(worker)
        errand = queue.chosen(own, taken, load[worker] > 0)
        if errand is None:
            return False
        queue.remove(errand)
        errand.unit.check()
        keeps = own is not None and own.placement == errand.placement and errand.unit.keeps_chips
        chips = own.chips | {errand.chips} if own is not None and keeps else frozenset({errand.chips})
        now = self._at[worker] = _Station(errand.placement, chips, errand.unit.samples)
        taken.subtract(() if own is None else _keys(own))
        taken.update(_keys(now))
        errand.worker, errand.pending = worker, self._submit(worker, errand.context, errand.unit)
        self._on_their_way[errand.pending] = errand
        load[worker] += 1
        return True


def _keys(place: _Station) -> list[Hashable]:
    """A placement, and its chips."""
    return [place.placement, *((place.placement, one) for one in place.chips)]
