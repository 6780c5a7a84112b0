"""How measuring is carried out: by how many processes, with how much memory and time, and where results are kept."""

import time
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from lhc.errors import OutOfTimeError, UsageError
from lhc.measure.scoring import DEFAULT_MEMORY
from lhc.measure.workers import ProcessWorkers, SerialWorkers, Workers
from lhc.store import ResultCache

__all__ = ["HERE", "Execution", "Running"]


@dataclass(frozen=True)
class Execution:
    """What a user asks of the machine. Results do not depend on it.

    Attributes:
        jobs: processes of this machine, one thread each.
        scheduler: address of a Dask scheduler whose workers measure instead.
        work_dir: folder where finished evaluations are kept and looked for; None: nowhere.
        fresh: do not look at those that are there already.
        memory: bytes for programmed tiles and outputs that are kept, in each process.
        timeout_s: seconds after which no new evaluation is begun; None: no limit.
    """

    jobs: int = 1
    scheduler: str | None = None
    work_dir: str | Path | None = None
    fresh: bool = False
    memory: int = DEFAULT_MEMORY
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {self.jobs}")
        if self.memory < 2**20:
            raise UsageError(f"--memory must be at least 1 MiB, got {self.memory} bytes")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise UsageError(f"--timeout must be above 0 s, got {self.timeout_s}")
        if self.scheduler is not None and self.jobs > 1:
            raise UsageError("--jobs is for processes of this machine; a --scheduler has workers of its own")

    def since(self, started: float) -> "Execution":
        """The same with what is left of its time, for what comes after other work of one command.

        Args:
            started: when that began, by ``time.monotonic()``.
        """
        if self.timeout_s is None:
            return self
        return replace(self, timeout_s=max(self.timeout_s - (time.monotonic() - started), 1e-9))

    def start(self) -> "Running":
        """Open everything; to be used as a context manager."""
        return Running(self)


HERE = Execution()
"""In this process, keeping nothing."""


class Running:
    """Workers, the result cache and the clock of one command."""

    def __init__(self, execution: Execution | None = None) -> None:
        """Start workers and open the cache.

        Raises:
            UsageError: the scheduler cannot be used.
        """
        chosen = Execution() if execution is None else execution
        self.memory = chosen.memory
        self._end = None if chosen.timeout_s is None else time.monotonic() + chosen.timeout_s
        self.cache = None if chosen.work_dir is None else ResultCache(chosen.work_dir, fresh=chosen.fresh)
        self.workers = _workers(chosen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workers.close()
        if self.cache is not None:
            self.cache.close()

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and time.monotonic() >= self._end

    def check_time(self) -> None:
        """Stop here if the time is over.

        Raises:
            OutOfTimeError: it is.
        """
        if self.late:
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
        from lhc.measure.cluster import DaskWorkers

        return DaskWorkers(execution.scheduler)
    return SerialWorkers() if execution.jobs == 1 else ProcessWorkers(execution.jobs)
