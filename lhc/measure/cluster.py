"""Units of work on a Dask cluster (extra ``lhc[distributed]``).

The scheduler sends a setting and a block of samples to a worker once, by their content, so workers need no common
disk; units of a worker that dies are done again by others.
"""

import pickle
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

from lhc import __version__
from lhc.errors import LhcError, MissingDependencyError, UsageError
from lhc.measure.scoring import Block, Job, Scorer, Setting
from lhc.measure.workers import AHEAD, Unit, packed
from lhc.metrics import Array
from lhc.runtime.environment import environment

__all__ = ["DaskWorkers"]

CONNECT_SECONDS = 10
_SCORERS: dict[str, Scorer] = {}


class DaskWorkers:
    """Workers of a running Dask scheduler."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: of the scheduler, ``tcp://host:port``.

        Raises:
            MissingDependencyError: Dask is not installed.
            UsageError: no scheduler answers there, it has no workers, or they have another lhc.
        """
        try:
            import distributed
        except ImportError as error:
            raise MissingDependencyError(
                "--scheduler needs Dask; install it with pip install 'lhc[distributed]'"
            ) from error
        self._distributed: Any = distributed
        try:
            self._client: Any = self._distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--scheduler {address!r}: no Dask scheduler answers there ({error}); start one with dask scheduler,"
                " and workers with dask worker"
            ) from error
        try:
            self._check_workers(address)
        except BaseException:
            self.close()
            raise

    def _check_workers(self, address: str) -> None:
        try:
            found: dict[str, dict[str, str]] = self._client.run(environment)
        except Exception as error:  # whatever a worker without lhc raises
            raise UsageError(
                f"--scheduler {address!r}: workers cannot run lhc ({error}); install lhc {__version__} on them"
            ) from error
        if not found:
            raise UsageError(f"--scheduler {address!r} has no workers; start some with dask worker {address}")
        for worker, theirs in found.items():
            _check_environment(f"worker {worker}", theirs, environment())

    def run(self, setting: Setting, units: Iterable[Unit]) -> Iterator[tuple[int, list[Array]]]:
        """See `Workers`."""
        payload = packed(setting)
        name = sha256(payload).hexdigest()
        shared = self._client.scatter(payload, hash=True, broadcast=False)
        todo = enumerate(units)
        results = self._distributed.as_completed()
        numbers: dict[Any, int] = {}
        most = AHEAD * max(1, len(self._client.scheduler_info()["workers"]))
        try:
            while True:
                for number, (job, samples) in islice(todo, most - len(numbers)):
                    block = self._client.scatter(samples(), hash=True)
                    future = self._client.submit(_score, name, shared, job, block, environment(), pure=False, retries=1)
                    numbers[future] = number
                    results.add(future)
                if not numbers:
                    return
                future = next(results)
                yield numbers.pop(future), _result(future)
        finally:
            for future in numbers:
                future.cancel()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def _result(future: Any) -> list[Array]:  # noqa: ANN401  # Dask's Future, which may not be installed
    try:
        found: list[Array] = future.result()
    except LhcError:
        raise
    except Exception as error:  # Dask's own, and whatever a worker raises
        raise LhcError(
            f"a unit of work failed on the cluster: {type(error).__name__}: {error}; what was finished is kept. Run the"
            " same command again"
        ) from error
    return found


def _check_environment(who: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    other = [f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours if theirs.get(name) != ours[name]]
    if other:
        raise UsageError(
            f"{who} has {', '.join(other)}; results would differ from those of this machine. Install the same versions"
        )


def _score(name: str, payload: bytes, job: Job, block: Block, ours: dict[str, str]) -> list[Array]:
    """Do a unit on a worker of the cluster, which may have joined after the others were looked at."""
    _check_environment("a worker of the cluster", environment(), ours)
    if name not in _SCORERS:
        _SCORERS.clear()
        _SCORERS[name] = Scorer(pickle.loads(payload))  # from the user's own scheduler
    return _SCORERS[name].scores(job, block)
