"""Workers of a Dask cluster (extra ``lhc[distributed]``).

Dask sends a context and a block of samples to a worker once, by their content, so workers need no common disk. Units of
a worker that dies are done again by others.
"""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from hashlib import sha256
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from lhc.errors import LhcError, MissingDependencyError, UsageError, WorkerError
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.work_unit import BlockWork
from lhc.measure.workers.processes import packed, scorer_of
from lhc.measure.workers.scheduler import Scheduler, WorkUnit
from lhc.runtime.environment_fingerprint import environment
from lhc.samples.metrics import Array
from lhc.support.documentation_links import page
from lhc.support.version import VERSION

__all__ = ["DaskConnection", "DaskWorkers", "check_environment"]

T = TypeVar("T")

CONNECT_SECONDS = 10
SILENCE_SECONDS = 60
LOOK_SECONDS = 5
"""Between two looks at whether there are workers at all."""


class DaskConnection:
    """Connection to a running Dask scheduler whose workers have the same lhc.

    Attributes:
        client: Dask's own.
    """

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
            raise MissingDependencyError("--scheduler needs Dask; pip install distributed") from error
        self._distributed: Any = distributed
        # Before connecting, which on a busy machine ends in silence instead of Dask's own TypeError.
        security = self._distributed.Security().get_connection_args("client")
        if address.startswith("tls://") and security.get("ssl_context") is None:
            raise UsageError(
                f"--scheduler {address!r}: for tls:// name the certificates in Dask's configuration"
                f" (distributed.comm.tls), see {page('command-line')}"
            )
        try:
            # Dask limits how long it waits for a connection, and not for whoever takes one and says nothing.
            self.client: Any = _answer(
                lambda: self._distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False),
                3 * CONNECT_SECONDS,
            )
        except WorkerError as error:
            raise UsageError(f"--scheduler {address!r}: {error}") from error
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
            found: dict[str, dict[str, str]] = _answer(lambda: self.client.run(environment))
        except WorkerError:
            raise
        except Exception as error:  # whatever a worker without lhc raises
            raise UsageError(
                f"--scheduler {address!r}: workers cannot run lhc ({error}); install lhc {VERSION} on them"
            ) from error
        if not found:
            raise UsageError(f"--scheduler {address!r} has no workers; start some with dask worker {address}")
        for worker, theirs in found.items():
            check_environment(f"worker {worker}", theirs, environment())

    @property
    def workers(self) -> list[str]:
        """Addresses of the workers that the scheduler has now."""
        return list(_answer(self.client.nthreads))

    def finished(self, futures: list[Any]) -> list[Any]:
        """Those of some futures that are done, at least one."""
        with self.client.as_current():
            done, _ = self._patiently(lambda s: self._distributed.wait(futures, s, return_when="FIRST_COMPLETED"))
        return list(done)

    def result(self, future: Any) -> Any:  # noqa: ANN401  # Dask's Future
        """Result of a future; what is lost with its worker is computed again.

        Raises:
            LhcError: that of the worker, or no worker is left.
            WorkerError: it failed, or several workers died at it.
        """
        try:
            return self._patiently(lambda seconds: future.result(timeout=seconds))
        except LhcError:
            raise
        except Exception as error:  # Dask's own, and whatever a worker raises
            raise WorkerError(
                f"a unit of work failed on the cluster: {type(error).__name__}: {error}; what was finished is kept. Run"
                " the same command again"
            ) from error

    def _patiently(self, action: Callable[[float], T]) -> T:
        """Wait for something as long as there are workers; ``action`` is given seconds after which it shall give up."""
        while True:
            try:
                return action(LOOK_SECONDS)
            except self._distributed.TimeoutError:
                if not self.workers:
                    raise LhcError(
                        "the cluster has no workers left; what was finished is kept. Start some with dask worker and"
                        " run the same command again"
                    ) from None

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


class DaskWorkers(Scheduler[str]):
    """Workers of a running Dask scheduler."""

    def __init__(self, address: str) -> None:
        """Connect, see `DaskConnection`."""
        super().__init__()
        self._cluster = DaskConnection(address)
        self._packed: WeakKeyDictionary[WorkContext, Any] = WeakKeyDictionary()

    @property
    def count(self) -> int:
        """Workers that the scheduler has now."""
        return len(self._workers())

    def _workers(self) -> list[str]:
        """Addresses of the workers; where there are none, a place where units wait for one."""
        return self._cluster.workers or [""]

    def _shared(self, context: WorkContext) -> Any:  # noqa: ANN401  # Dask's Future
        """A context on the cluster."""
        if context not in self._packed:
            self._packed[context] = self._given(packed(context), "context")
        return self._packed[context]

    def _name(self, context: WorkContext) -> str:
        return str(self._shared(context).key)

    def _submit(self, worker: str, context: WorkContext, unit: WorkUnit) -> Any:  # noqa: ANN401  # Dask's Future
        shared, block = self._shared(context), unit.read()
        given = self._given(block, f"block-{block.first}", block.digest)
        # Another one does it where this one is gone.
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        client = self._cluster.client
        return client.submit(_do, shared.key, shared, unit.work, given, environment(), pure=False, **where)

    def _given(self, value: object, what: str, digest: str | None = None) -> Any:  # noqa: ANN401  # Dask's Future
        """A value on the cluster. The scheduler holds it as a task, so it outlives the worker that was given it."""
        digest = sha256(value).hexdigest() if isinstance(value, bytes) else digest
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            return self._cluster.client.submit(_itself, value, key=f"lhc-{what}-{digest}")

    def _finished(self, futures: list[Any]) -> list[Any]:
        """At least one that is."""
        return self._cluster.finished(futures)

    def _result(self, future: Any) -> list[Array]:  # noqa: ANN401  # Dask's Future
        """Result of a unit; one whose worker dies with it is done again."""
        found: list[Array] = self._cluster.result(future)
        return found

    def close(self) -> None:
        """Disconnect."""
        self._cluster.close()


def _answer(ask: Callable[[], T], seconds: float | None = None) -> T:
    """Answer of a scheduler to a question for which Dask knows no limit of time."""
    found: Future[T] = Future()

    def settle() -> None:
        try:
            found.set_result(ask())
        except BaseException as error:  # handed over to whoever waits
            found.set_exception(error)

    threading.Thread(target=settle, daemon=True).start()
    seconds = SILENCE_SECONDS if seconds is None else seconds
    try:
        return found.result(seconds)
    except FutureTimeoutError:
        raise WorkerError(
            f"no answer of the Dask scheduler for {seconds:g} s; what was finished is kept. See that it runs, and run"
            " the same command again"
        ) from None


def _itself(value: T) -> T:
    return value


def check_environment(who: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    """Refuse a worker of other versions or another processor, whose results would differ.

    Raises:
        UsageError: it is one.
    """
    other = [f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours if theirs.get(name) != ours[name]]
    if other:
        raise UsageError(
            f"{who} has {', '.join(other)}; results would differ from those of this machine. Install the same versions"
        )


def _do(name: str, payload: bytes, work: BlockWork, block: Block, ours: dict[str, str]) -> list[Array]:
    """Do a unit on a worker of the cluster, which may have joined after the others were looked at."""
    check_environment("a worker of the cluster", environment(), ours)
    return work.done(scorer_of(name, lambda: payload), block)
