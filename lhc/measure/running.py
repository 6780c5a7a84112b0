"""Running a command: its worker processes, its memory and time, and the cache of its results."""

import logging
import time
from copy import copy
from types import TracebackType
from typing import Self

from lhc.errors import OutOfTimeError
from lhc.measure.workers.processes import ProcessWorkers, SerialWorkers
from lhc.measure.workers.scheduler import Workers
from lhc.options.shared import Execution
from lhc.store import ResultCache
from lhc.support.log_levels import NOTE
from lhc.support.number_formatting import counted

__all__ = ["Running"]

log = logging.getLogger("lhc")


class Running:
    """Workers, the result cache and the clock of one command."""

    def __init__(self, execution: Execution | None = None, looks_only: bool = False) -> None:
        """Start workers and open the cache.

        Args:
            looks_only: nothing is measured, and results of earlier runs are looked up to say how many there are.

        Raises:
            UsageError: the scheduler cannot be used.
        """
        chosen = Execution() if execution is None else execution
        self.memory = chosen.bytes
        self._end = None if chosen.timeout_s is None else time.monotonic() + chosen.timeout_s
        self._stops: list[float] = []  # shared with copies
        self.cache = None if chosen.work_dir is None else ResultCache(chosen.work_dir, fresh=chosen.fresh)
        self.workers = _workers(chosen)
        self._looks_only = looks_only

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workers.close()
        if self.cache is not None:
            self.cache.close()
            if self.cache.earlier and error is None and not self._looks_only:
                told = counted(self.cache.earlier, "result")
                log.log(NOTE, "note: %s of an earlier run reused (--fresh measures anew)", told)

    @property
    def bounded(self) -> bool:
        """Whether the user gave a time."""
        return self._end is not None

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and time.monotonic() >= self._end

    @property
    def cut_short(self) -> bool:
        """Whether something was left undone because the time was over."""
        return bool(self._stops)

    def check_time(self) -> None:
        """Stop here if the time is over.

        Raises:
            OutOfTimeError: it is.
        """
        if self.late:
            self._stops.append(time.monotonic())
            raise OutOfTimeError("--timeout: the time is over; what was finished is kept")

    def uncached(self) -> "Running":
        """The same workers and time without a cache, for what is done to be timed."""
        other = copy(self)
        other.cache = None
        return other

    def unlimited(self) -> "Running":
        """The same workers and cache without a limit of time, for what must be finished."""
        other = copy(self)
        other._end = None
        return other


def _workers(execution: Execution) -> Workers:
    if execution.scheduler is not None:
        from lhc.measure.workers.dask_cluster import DaskWorkers

        return DaskWorkers(execution.scheduler)
    return SerialWorkers() if execution.jobs == 1 else ProcessWorkers(execution.jobs)
