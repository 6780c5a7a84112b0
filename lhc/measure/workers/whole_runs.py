"""Workers that do whole runs: a call of a function each, one after the other, on processes or a Dask cluster.

Beside the workers that score units (`lhc.measure.workers.scheduler`): here one process does all of a command. A run
whose worker dies is done again by another one, until `MOST_DEATHS` died at it: a run that needs more memory than there
is would end every worker that is given it.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from lhc.errors import WorkerError
from lhc.measure.workers.processes import (
    GUARD_HINT,
    end_processes,
    ended_before_work,
    started_process,
)
from lhc.options.shared import Execution
from lhc.runtime.environment_fingerprint import environment, is_known, learn

__all__ = ["LocalRuns", "RunWorkers", "run_workers"]

T = TypeVar("T")
R = TypeVar("R")

MOST_DEATHS = 3
"""Workers that may die at a run before it counts as failed."""
AHEAD = 2
"""Runs for each worker of a cluster that are on their way, so that none waits for its next one."""


class RunWorkers(AbstractContextManager["RunWorkers"], ABC):
    """Does whole runs."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Runs that are done at a time."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Versions of what computes the runs; the same on all workers."""

    @abstractmethod
    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R | WorkerError]]:
        """Number of a task and what the function gives, as they are finished.

        Args:
            function: of a module, so that it can be named to other processes; what it raises ends all.
            tasks: is asked for the next one when a worker has room for it.

        Returns:
            An error in place of a result where workers died at it.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers; what they are at is lost."""

    def __exit__(self, *_: object) -> None:
        self.close()


def run_workers(execution: Execution) -> RunWorkers:
    """The workers that options name.

    Raises:
        UsageError: the scheduler cannot be used.
    """
    return LocalRuns(execution.jobs) if execution.scheduler is None else DaskRuns(execution.scheduler)


class LocalRuns(RunWorkers):
    """Processes of this machine; one that dies is replaced."""

    def __init__(self, count: int) -> None:
        """``count``: how many at most; each starts when there is a run for it."""
        self._count = count
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._loaded: dict[int, Future[dict[str, str]]] = {}

    @property
    def count(self) -> int:
        return self._count

    def environment(self) -> dict[str, str]:
        if not is_known():
            self._pools[0], loaded = started_process()
            self._loaded[0] = loaded
            with suppress(BrokenProcessPool):  # then this process finds it out
                learn(loaded.result())
        return environment()

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R | WorkerError]]:
        waiting, again, deaths = enumerate(tasks), deque[tuple[int, T]](), Counter[int]()
        running: dict[Future[R], tuple[int, int, T]] = {}

        def give(worker: int) -> None:
            """The next task to a worker, if there is one."""
            task = again.popleft() if again else next(waiting, None)
            if task is not None:
                running[self._submitted(worker, function, task[1])] = (worker, *task)

        for worker in range(self.count):
            give(worker)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, number, task = running.pop(future)
                died = isinstance(future.exception(), BrokenProcessPool)
                deaths[number] += died
                lost = deaths[number] == MOST_DEATHS
                if died and not lost:
                    again.append((number, task))
                loaded = self._loaded[worker]
                give(worker)  # before anybody looks at the result, so that the worker does not wait for that
                if lost:
                    hint = GUARD_HINT if ended_before_work(loaded) else ""
                    yield number, WorkerError(_lost(f"{MOST_DEATHS} worker processes ended at it") + hint)
                elif not died:
                    yield number, future.result()

    def _submitted(self, worker: int, function: Callable[[T], R], task: T) -> Future[R]:
        if worker in self._pools:
            try:
                return self._pools[worker].submit(function, task)
            except BrokenProcessPool:
                self._pools[worker].shutdown(wait=False)
        self._pools[worker], self._loaded[worker] = started_process()
        return self._pools[worker].submit(function, task)

    def close(self) -> None:
        end_processes(list(self._pools.values()))


class DaskRuns(RunWorkers):
    """Workers of a Dask cluster; they see the files that runs name under the same paths."""

    def __init__(self, address: str) -> None:
        """Connect, see `lhc.measure.workers.dask_cluster.DaskConnection`."""
        from lhc.measure.workers.dask_cluster import DaskConnection

        self._cluster = DaskConnection(address)

    @property
    def count(self) -> int:
        return max(1, len(self._cluster.workers))

    def environment(self) -> dict[str, str]:
        return environment()

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R | WorkerError]]:
        from lhc.measure.workers.dask_cluster import LOOK_SECONDS

        waiting, running = enumerate(tasks), dict[Any, int]()
        room, looked = AHEAD * self.count, time.monotonic()

        def give() -> None:
            while len(running) < room and (task := next(waiting, None)) is not None:
                future = self._cluster.client.submit(_checked, function, task[1], environment(), pure=False)
                running[future] = task[0]

        give()
        while running:
            for future in self._cluster.finished(list(running)):
                number = running.pop(future)
                give()
                yield number, self._found(future)
            if time.monotonic() - looked > LOOK_SECONDS:  # workers come and go
                room, looked = AHEAD * self.count, time.monotonic()

    def _found(self, future: Any) -> Any:  # noqa: ANN401  # Dask's Future, and what the function gives
        try:
            return self._cluster.result(future)
        except WorkerError as error:
            return WorkerError(_lost(str(error.__cause__ or error)))

    def close(self) -> None:
        self._cluster.close()


def _checked(function: Callable[[T], R], task: T, ours: dict[str, str]) -> R:
    """Do a run on a worker that may have joined after the others were looked at."""
    from lhc.measure.workers.dask_cluster import check_environment

    check_environment("a worker of the cluster", environment(), ours)
    return function(task)


def _lost(why: str) -> str:
    return f"no worker finished it ({why}): does it need more memory than there is? Fewer --jobs leave more to each"
