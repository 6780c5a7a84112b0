"""Workers of this machine: this process, or others, each of which computes on one thread."""

import logging
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from hashlib import sha256
from multiprocessing import get_context, parent_process
from pathlib import Path
from weakref import WeakKeyDictionary, finalize

from lhc.errors import UsageError, WorkerError
from lhc.hardware.aihwkit_config.user_aihwkit_objects import import_modules
from lhc.measure.evaluation_context import Block, WorkContext
from lhc.measure.work_unit import BlockWork, Scorer
from lhc.measure.workers.scheduler import Scheduler, Workers, WorkUnit
from lhc.runtime.environment_fingerprint import environment, learn
from lhc.runtime.onnxruntime.sessions import give_back_pool
from lhc.samples.metrics import Array
from lhc.support.number_formatting import counted

__all__ = [
    "GUARD_HINT",
    "ProcessWorkers",
    "SerialWorkers",
    "check_cores",
    "end_processes",
    "ended_before_work",
    "packed",
    "scorer_of",
    "started_process",
]

log = logging.getLogger("lhc")

GUARD_HINT = (
    ". It ended before its work began: a worker loads the script that calls lhc, so a script makes its calls under"
    " if __name__ == '__main__':"
)
"""Where a process ended while it loaded libraries."""
_MOST_PER_CORE = 4
"""Processes for each core that this one may use."""
_IDLE_ENDS_WITHIN = 5.0
"""Seconds in which an idle process ends by itself, on a loaded machine too."""


def check_cores(processes: int) -> None:
    """Warn of more processes than cores that this process may use, and refuse far more.

    Args:
        processes: that are about to be started.

    Raises:
        UsageError: there are so many more that the machine could do nothing else.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or processes
    if processes > _MOST_PER_CORE * cores:
        raise UsageError(
            f"--jobs {processes}: lhc can use {counted(cores, 'core')} here; give at most {_MOST_PER_CORE * cores}"
        )
    if processes > cores:
        log.warning(
            "--jobs %d: lhc can use %d core%s here; more processes take more memory and save no time",
            processes,
            cores,
            "s" if cores > 1 else "",
        )


class SerialWorkers(Workers):
    """This process, one unit after the other."""

    count = 1

    def __init__(self) -> None:
        self._scorer: Scorer | None = None

    def run(self, context: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        if self._scorer is None or self._scorer.context is not context:
            self._scorer = Scorer(context)
        for number, unit in enumerate(units):
            unit.check()
            yield number, unit.work.done(self._scorer, unit.read())

    def forget(self) -> None:
        large = self._scorer is not None and self._scorer.context.is_large
        self._scorer = None
        if large:
            give_back_pool()


class ProcessWorkers(Scheduler[int]):
    """Processes of this machine, which are given a context and a block once, and keep what they programmed."""

    def __init__(self, count: int) -> None:
        """``count``: how many processes; they start at once, and load libraries while this one reads a model."""
        super().__init__()
        check_cores(count)
        self._folder = tempfile.TemporaryDirectory(prefix="lhc-")
        self._spooled: WeakKeyDictionary[WorkContext, Path] = WeakKeyDictionary()
        self._users: Counter[Path] = Counter()
        self._held: dict[int, Hashable] = {}
        # Each has a pool of its own, so that units go to whom they are meant for.
        started = [started_process(self._folder.name) for _ in range(count)]
        self._pools = [pool for pool, _ in started]
        self._loaded = [loaded for _, loaded in started]

    @property
    def count(self) -> int:
        return len(self._pools)

    def _workers(self) -> range:
        return range(self.count)

    def run(self, context: WorkContext, units: Iterable[WorkUnit]) -> Iterator[tuple[int, list[Array]]]:
        try:
            yield from super().run(context, units)
        except BrokenProcessPool as error:
            hint = GUARD_HINT if any(map(ended_before_work, self._loaded)) else ""
            raise WorkerError(
                "a worker process is gone: it was killed, it crashed, or the machine ran out of memory; what was"
                " finished is kept. Run the same command again, perhaps with a lower --jobs, and report it if that ends"
                f" so too{hint}"
            ) from error

    def _name(self, context: WorkContext) -> Path:
        """A file of the context, named by its content; it is removed with the last context that has it."""
        if context not in self._spooled:
            payload = packed(context)
            self._spooled[context] = path = Path(self._folder.name) / sha256(payload).hexdigest()
            self._users[path] += 1
            if not path.exists():
                path.write_bytes(payload)
            finalize(context, _remove_unused, self._users, path).atexit = False  # units that wait hold their context
        return self._spooled[context]

    def _submit(self, worker: int, context: WorkContext, unit: WorkUnit) -> Future[list[Array]]:
        pool, path = self._pools[worker], str(self._name(context))
        if worker not in self._held or self._held[worker] != unit.samples:
            for block in (None, unit.read()):  # by turns, so that a process never has two
                pool.submit(_hold, block)
            self._held[worker] = unit.samples
        return pool.submit(_do_spooled, path, unit.work)

    def close(self) -> None:
        """Stop all processes; units that they are at are lost."""
        end_processes(self._pools)
        self._folder.cleanup()


def _remove_unused(users: Counter[Path], path: Path) -> None:
    """Remove the file of a context that is gone, where no other context has the same: it is as large as the model."""
    users[path] -= 1
    if not users[path]:
        path.unlink(missing_ok=True)


def started_process(folder: str = "") -> tuple[ProcessPoolExecutor, Future[dict[str, str]]]:
    """A pool of one worker process that starts at once, and the environment that it will know once it has loaded it.

    Args:
        folder: is removed by the process where its parent ends before it.
    """
    # A fork of a process with threads of numeric libraries may hang.
    pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (folder,))
    with _uninterrupted():
        loaded = pool.submit(_load)
        loaded.add_done_callback(_learn)
    return pool, loaded


def ended_before_work(loaded: Future[dict[str, str]]) -> bool:
    """Whether a process ended while it loaded libraries; ``loaded``: as `started_process` gives it."""
    return loaded.done() and isinstance(loaded.exception(), BrokenProcessPool)


def end_processes(pools: Sequence[ProcessPoolExecutor]) -> None:
    """End the processes of some pools; what they are at is lost."""
    started = [
        (process, bool(getattr(pool, "_pending_work_items", True)))
        for pool in pools
        for process in (getattr(pool, "_processes", None) or {}).values()
    ]
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for process, at_work in started:
        if at_work:  # it would hold up the end
            process.terminate()
    for process, _ in started:
        process.join(_IDLE_ENDS_WITHIN)  # so an idle one gives back its semaphores
        process.terminate()
        process.join()


def packed(context: WorkContext) -> bytes:
    """A context as bytes, for other processes.

    Raises:
        UsageError: the metric exists in this process alone.
    """
    try:
        return pickle.dumps((context.hardware.user_code, pickle.dumps(context)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"metric {context.metric.name!r} cannot be given to other processes ({error}); define it in a module and"
            " name it as module:function, or measure with --jobs 1"
        ) from error


def _begin(folder: str) -> None:
    """Begin a worker. It ends with its parent, whatever ends that, and takes the folder of contexts with it.

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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes that start here are not reached by Ctrl-C, before they begin either; this one answers it afterwards.

    Its other threads may take the signal, which the main one answers then, though it blocks it: a process that has not
    been told yet what it is to do would find the end of its input.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    answer, came = signal.getsignal(signal.SIGINT), list[int]()
    held = threading.current_thread() is threading.main_thread() and answer is not None
    if held:
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.signal(signal.SIGINT, answer)
        if came:
            signal.raise_signal(signal.SIGINT)


def _load() -> dict[str, str]:
    """Load what units need, and say what that is."""
    with suppress(ImportError):  # there are units that need none of it
        import lhc.runtime.calibration.chip_outputs
        import lhc.runtime.operators.analog_layers  # noqa: F401
    return environment()


def _learn(loaded: Future[dict[str, str]]) -> None:
    if not loaded.cancelled() and loaded.exception() is None:
        learn(loaded.result())


_SCORERS: dict[str, Scorer] = {}
_HELD: list[Block] = []


def _hold(block: Block | None) -> None:
    """Have the samples of the units that follow; None: none."""
    _HELD[:] = [] if block is None else [block]


def _do_spooled(path: str, work: BlockWork) -> list[Array]:
    """Do a unit in a worker process."""
    return work.done(scorer_of(path, Path(path).read_bytes), _HELD[0])


def scorer_of(name: str, payload: Callable[[], bytes]) -> Scorer:
    """Scorer of a context; a process keeps the last one. ``payload``: packed by our parent or the user's scheduler."""
    if name not in _SCORERS:
        _SCORERS.clear()
        code, packed_context = pickle.loads(payload())
        import_modules({kind.partition(":")[0] for kind in code}, "hardware: module")
        context: WorkContext = pickle.loads(packed_context)
        if context.hardware.user_code != code:
            raise UsageError(f"hardware: another version of {', '.join(code)} is loaded here; restart the workers")
        _SCORERS[name] = Scorer(context)
    return _SCORERS[name]
