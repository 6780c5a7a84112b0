"""Who does the units of work: this process, others on this machine, or a Dask cluster.

All of them do the same units and give the same bytes; they differ in when a unit is done and by whom. Every process
computes on one thread.
"""

import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Protocol, TypeVar

from lhc.errors import UsageError, WorkerError
from lhc.measure.scorer import Block, Job, Scorer, Setting
from lhc.runtime.ort import give_back_pool
from lhc.samples.metrics import Array

__all__ = ["ProcessWorkers", "SerialWorkers", "Unit", "Workers", "packed", "scorer_of", "windowed"]

Unit = tuple[Job, Callable[[], Block]]
"""A job and where its samples come from; they are read when the unit's turn comes."""

AHEAD = 2
"""Units for each worker that are on their way, so that none waits for its next one."""


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


Pending = TypeVar("Pending", bound=_Cancellable)
"""A unit that is on its way."""


class Workers(Protocol):
    """Does units of work."""

    @property
    def count(self) -> int:
        """How many processes share the units."""
        ...

    def run(self, setting: Setting, units: Iterable[Unit]) -> Iterator[tuple[int, list[Array]]]:
        """Results as they come: number of the unit, and what `Scorer.scores` gives for it.

        Raises:
            LhcError: a unit cannot be done.
            WorkerError: a worker is gone.
        """
        ...

    def forget(self) -> None:
        """Let go of what this process holds for the next units."""
        ...

    def close(self) -> None:
        """Let go of all processes and connections."""
        ...


class SerialWorkers:
    """This process, one unit after the other."""

    count = 1

    def __init__(self) -> None:
        self._scorer: Scorer | None = None

    def run(self, setting: Setting, units: Iterable[Unit]) -> Iterator[tuple[int, list[Array]]]:
        """See `Workers`."""
        if self._scorer is None or self._scorer.setting is not setting:
            self._scorer = Scorer(setting)
        for number, (job, samples) in enumerate(units):
            yield number, self._scorer.scores(job, samples())

    def forget(self) -> None:
        """See `Workers`."""
        large = self._scorer is not None and self._scorer.setting.is_large
        self._scorer = None
        if large:
            give_back_pool()

    def close(self) -> None:
        """Nothing is open."""


class ProcessWorkers:
    """Processes of this machine, which load a setting once and keep what they programmed."""

    def __init__(self, count: int) -> None:
        """``count``: how many processes, which are started for the first unit."""
        self._folder = tempfile.TemporaryDirectory(prefix="lhc-")
        self.count = count
        self._spooled: tuple[Setting, Path] | None = None
        # A fork of a process with threads of numeric libraries may hang.
        self._pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_begin, initargs=(self._folder.name,)
        )

    def run(self, setting: Setting, units: Iterable[Unit]) -> Iterator[tuple[int, list[Array]]]:
        """See `Workers`."""
        if self._spooled is None or self._spooled[0] is not setting:
            payload = packed(setting)
            self._spooled = (setting, Path(self._folder.name) / sha256(payload).hexdigest())
            self._spooled[1].write_bytes(payload)
        path = self._spooled[1]

        def submit(job: Job, block: Block) -> Future[list[Array]]:
            return self._pool.submit(_score_spooled, str(path), job, block)

        try:
            yield from windowed(units, submit, lambda: self.count, _finished, Future.result)
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process is gone: it was killed, it crashed, or the machine ran out of memory; what was"
                " finished is kept. Run the same command again, perhaps with a lower --jobs, and report it if that ends"
                " so too"
            ) from error

    def forget(self) -> None:
        """Nothing is held in this one."""

    def close(self) -> None:
        """Stop all processes; a unit that one is at is lost."""
        # Processes that are still at work would hold up the end.
        running = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        self._folder.cleanup()


def windowed(
    units: Iterable[Unit],
    submit: Callable[[Job, Block], Pending],
    count: Callable[[], int],
    finished: Callable[[list[Pending]], Iterable[Pending]],
    result: Callable[[Pending], list[Array]],
) -> Iterator[tuple[int, list[Array]]]:
    """Keep a bounded number of units on their way.

    Args:
        finished: waits for one at least, and gives those that are.
    """
    waiting: dict[Pending, int] = {}
    todo = enumerate(units)
    try:
        while True:
            for number, (job, samples) in islice(todo, max(0, AHEAD * count() - len(waiting))):
                waiting[submit(job, samples())] = number
            if not waiting:
                return
            for future in finished(list(waiting)):
                yield waiting.pop(future), result(future)
    finally:
        for future in waiting:
            future.cancel()


def _finished(futures: list[Future[list[Array]]]) -> Iterable[Future[list[Array]]]:
    return wait(futures, return_when=FIRST_COMPLETED).done


def packed(setting: Setting) -> bytes:
    """A setting as bytes, for other processes.

    Raises:
        UsageError: the metric exists in this process alone.
    """
    try:
        return pickle.dumps(setting)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"metric {setting.metric.name!r} cannot be given to other processes ({error}); define it in a module and"
            " name it as module:function, or measure with --jobs 1"
        ) from error


def _begin(folder: str) -> None:
    """Begin a worker. It ends with its parent, whatever ends that, and takes the folder of settings with it.

    Ctrl-C reaches all processes of a terminal; the parent answers it, and ends the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ())):
        signal.signal(ending, signal.SIG_DFL)  # spawn imports the parent's main module, which answers these
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: str) -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


_SCORERS: dict[str, Scorer] = {}


def _score_spooled(path: str, job: Job, block: Block) -> list[Array]:
    """Do a unit in a worker process."""
    return scorer_of(path, Path(path).read_bytes).scores(job, block)


def scorer_of(name: str, payload: Callable[[], bytes]) -> Scorer:
    """That of a setting; a process keeps the last one. ``payload``: as our parent or the user's scheduler packed it."""
    if name not in _SCORERS:
        _SCORERS.clear()
        _SCORERS[name] = Scorer(pickle.loads(payload()))
    return _SCORERS[name]
