"""``lhc.sweep``: many runs of ``lhc.partition``, one row each, on processes or a cluster; finished rows are kept."""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from lhc.commands.estimate import estimate
from lhc.commands.partition import partition
from lhc.errors import DataError, LhcError, WorkerError
from lhc.hardware.aihwkit_config.user_aihwkit_objects import TRUSTED, import_modules
from lhc.measure.workers.processes import check_cores
from lhc.measure.workers.whole_runs import RunWorkers, run_workers
from lhc.options.by_command import PartitionOptions, SweepOptions
from lhc.options.declaration.command_text import made_by
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.analysis_and_partition_results import run_figures
from lhc.pipeline.inputs.sweep_file import SweepRun, outside_files, read_sweep, run_facts
from lhc.report.tables.sweep_table import ForecastKind, SweepForecast, SweepResult, settings_text, varying
from lhc.results import SweepRow
from lhc.runtime.environment_fingerprint import environment, program
from lhc.store import ResultCache, fingerprint
from lhc.support.files import default_work_dir
from lhc.support.log_levels import NOTE

log = logging.getLogger("lhc")

KIND = "sweep row"
"""Of documents in the result cache."""
_WHAT = "runs"
_SAME_WORK = {"seed", "max-drop", "t-inference", "confidence"}
"""Options that change how long a run takes too little to time it for each of their values."""
_ROW = TypeAdapter(SweepRow)


@dataclass(frozen=True)
class _Task:
    """A run for a worker.

    Attributes:
        key: fingerprint of all that the row depends on; empty where it need not be the same on the worker.
        outside: digest of what lies below ``LHC_DATA`` where the sweep began; times of files differ between machines.
        folder: in which relative paths lie, and modules of the user's.
        work_dir: the result cache; None: none.
        cluster: whether the worker may be on another machine, whose cache is the one that ``LHC_CACHE`` names there.
        modules: that the user had imported.
    """

    run: SweepRun
    key: str
    outside: str
    folder: str
    work_dir: str | None
    cluster: bool
    fresh: bool
    memory: str | int
    modules: tuple[str, ...]

    def options(self) -> PartitionOptions:
        """Options of the run."""
        own = default_work_dir() if self.cluster and os.environ.get("LHC_CACHE") else None
        return self.run.options(work_dir=own or self.work_dir, fresh=self.fresh, memory=self.memory)


@keywords(SweepOptions)
def sweep(options: SweepOptions) -> SweepResult:
    """Run ``lhc.partition`` for every combination of some options' values, one row each, in the order of the sweep.

    Rows that are kept in ``work_dir`` are not run again: those of the same options, content of files, versions and
    processor. A run that fails is a row with its error, and is run again the next time. Before the first of several
    runs a forecast of all is told, as a note. The rows are the same for any number of processes, and after any
    interruption.

    Raises:
        UsageError: no such file, or the scheduler cannot be used.
        ConfigError: a mistake in the sweep.
        LhcError: the cluster has no workers left; finished rows are kept.
    """
    end = None if options.timeout_s is None else time.monotonic() + options.timeout_s
    runs = read_sweep(options.sweep)
    with run_workers(options) as workers, _KeptRows(options) as kept:
        tasks = _tasks(options, runs, workers)
        rows = {number: row for number, task in enumerate(tasks) if (row := kept.row(task)) is not None}
        earlier, pending = len(rows), [number for number in range(len(tasks)) if number not in rows]
        if options.scheduler is None:
            check_cores(min(options.jobs, len(pending)))
        if len(pending) > 1:
            log.log(NOTE, "forecast: %s", _forecast(options, tasks, set(pending), workers).summary)
        begun = (tasks[number] for number in pending if end is None or time.monotonic() < end)
        options.progress(_WHAT, 0, len(pending))
        for done, (place, found) in enumerate(workers.run(_row, begun), 1):
            number = pending[place]
            rows[number] = _failed(tasks[number], str(found)) if isinstance(found, WorkerError) else found
            kept.keep(tasks[number], rows[number])
            options.progress(_WHAT, done, len(pending))
    name = "sweep" if isinstance(options.sweep, Mapping) else Path(options.sweep).stem
    return SweepResult(name, tuple(rows[number] for number in sorted(rows)), len(tasks) - len(rows), earlier)


def forecast(options: SweepOptions) -> SweepForecast:
    """How long a sweep will take: a run of each kind is timed, as `lhc.estimate` does.

    Raises:
        UsageError, ConfigError: as `sweep` does.
    """
    runs = read_sweep(options.sweep)
    with run_workers(options) as workers, _KeptRows(options) as kept:
        tasks = _tasks(options, runs, workers)
        pending = {number for number, task in enumerate(tasks) if kept.row(task) is None}
        return _forecast(options, tasks, pending, workers)


def _tasks(options: SweepOptions, runs: tuple[SweepRun, ...], workers: RunWorkers) -> list[_Task]:
    cluster = options.scheduler is not None
    where = None if options.work_dir is None or cluster else str(Path(options.work_dir).absolute())
    shared = (str(Path.cwd()), where, cluster, options.fresh, options.memory, tuple(TRUSTED))
    known = workers.environment()
    outside = outside_files()
    return [_Task(run, _key(known, run.options(), outside), outside, *shared) for run in runs]


def _key(known: Mapping[str, str], options: PartitionOptions, outside: str) -> str:
    """Fingerprint of all that a row depends on; ``known``: the environment that measures it."""
    return fingerprint({"environment": dict(known), "program": program()}, run_facts(options, outside))


def _forecast(options: SweepOptions, tasks: list[_Task], pending: set[int], workers: RunWorkers) -> SweepForecast:
    """A run of every kind is timed, by the workers."""
    kinds = defaultdict[str, list[int]](list)
    for number, task in enumerate(tasks):
        kept = {key: value for key, value in task.run.settings.items() if key not in _SAME_WORK}
        kinds[repr(sorted(kept.items()))].append(number)
    first = [next((number for number in numbers if number in pending), None) for numbers in kinds.values()]
    timed = [number for number in first if number is not None]
    seconds: dict[int, float | str] = {}
    options.progress("timing a run of each kind", 0, len(timed))
    for done, (place, estimated) in enumerate(workers.run(_seconds, (tasks[number] for number in timed)), 1):
        seconds[timed[place]] = str(estimated) if isinstance(estimated, WorkerError) else estimated
        options.progress("timing a run of each kind", done, len(timed))
    shown = [key for key in varying([task.run.settings for task in tasks]) if key not in _SAME_WORK]
    forecasts = []
    for numbers, one in zip(kinds.values(), first, strict=True):
        each = 0.0 if one is None else seconds[one]
        left = sum(number in pending for number in numbers)
        what = settings_text(tasks[numbers[0]].run.settings, shown or ["model"])
        known = (None, each) if isinstance(each, str) else (each, None)
        forecasts.append(ForecastKind(what, len(numbers), len(numbers) - left, *known))
    return SweepForecast(tuple(forecasts), workers.count)


class _KeptRows:
    """Finished rows in the result cache; nothing is kept without one."""

    def __init__(self, options: SweepOptions) -> None:
        self._cache = None if options.work_dir is None else ResultCache(options.work_dir)
        self._looks = not options.fresh

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cache is not None:
            self._cache.close()

    def row(self, task: _Task) -> SweepRow | None:
        """The row of a run that was finished before."""
        found = self._cache.document(KIND, task.key) if self._cache is not None and self._looks else None
        try:
            return None if found is None else replace(_ROW.validate_json(found), settings=task.run.settings)
        except ValidationError:  # of a later version
            return None

    def keep(self, task: _Task, row: SweepRow) -> None:
        """Keep a row; what failed may work another time, and is not kept."""
        if self._cache is not None and row.error is None:
            self._cache.update(KIND, task.key, lambda before: _ROW.dump_json(row))


def _row(task: _Task) -> SweepRow:
    """Do a run in a worker; whatever goes wrong is its row."""
    started = time.monotonic()
    with _as_asked(task), _told() as notes:
        try:
            asked = _checked(task)
            result = partition.of(asked)
            row = SweepRow(task.run.settings, _command(task), run_figures(result), None, result.notes)
        except LhcError as error:
            row = _failed(task, str(error))
        except Exception as error:  # lhc's own mistakes, too little memory
            row = _failed(task, f"lhc crashed: {type(error).__name__}: {error}")
    told = tuple(dict.fromkeys([*notes, *row.notes]))
    return replace(row, notes=told, seconds=time.monotonic() - started)


def _seconds(task: _Task) -> float | str:
    """Estimate of a run in a worker, in seconds; else why there is none."""
    with _as_asked(task), _told():
        try:
            return estimate(_checked(task)).seconds
        except LhcError as error:
            return str(error)
        except Exception as error:  # as in the run itself
            return f"{type(error).__name__}: {error}"


def _checked(task: _Task) -> PartitionOptions:
    """The options of a run, of files that are those that the sweep began with.

    Raises:
        DataError: they are not.
    """
    import_modules(task.modules, "--import")
    asked = task.options()
    if _key(environment(), asked, task.outside) != task.key:
        raise DataError(
            f"a file that it names is another one than when the sweep began, or than on the machine that began it:"
            f" workers need the same files in {task.folder}"
        )
    return asked


def _failed(task: _Task, error: str) -> SweepRow:
    return SweepRow(task.run.settings, _command(task), None, error)


def _command(task: _Task) -> str:
    return made_by("partition", task.run.options(), cut_short=True)


def _as_asked(task: _Task) -> AbstractContextManager[None]:
    """In the folder that the sweep was begun in, where this machine has it."""
    return chdir(task.folder) if Path(task.folder).is_dir() else nullcontext()


@contextmanager
def _told() -> Iterator[list[str]]:
    """Warnings of a run, which belong to its row; nothing is printed."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, before = Keep(logging.WARNING), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield found
    finally:
        log.removeHandler(handler)
        log.propagate = before
