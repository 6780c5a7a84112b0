"""Progress on stderr: a bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from lhc.cli.output import emit, hint
from lhc.options.commands import PartitionOptions, RunOptions, SensitivityOptions
from lhc.options.printed import Form
from lhc.options.subjects import Execution
from lhc.support.numbers import work_text

__all__ = ["dry_run", "reporter", "watched"]

_EVERY_S = 15.0
C = TypeVar("C", bound=Execution)


@contextmanager
def watched(asked: C, quiet: bool) -> Iterator[C]:
    """The options with a progress that is shown, and with the folder in the user's cache where none is named.

    Args:
        asked: of a command that works.
        quiet: show nothing.
    """
    from lhc.store import default_work_dir

    with reporter(quiet) as progress:
        yield replace(asked, progress=progress, work_dir=asked.work_dir or default_work_dir())


def dry_run(asked: SensitivityOptions | PartitionOptions | RunOptions, form: Form) -> None:
    """Print how much work a command has and how long it will take."""
    from lhc.commands.estimate import estimate
    from lhc.report.json_documents import effort_document
    from lhc.report.measured_tables import effort_footer, effort_table

    with watched(asked, quiet=True) as quietly:
        found = estimate(quietly)
    emit(effort_document(found), effort_table(found), effort_footer(found), form)


@contextmanager
def reporter(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A function ``(what, done, total)`` that shows how far the work is."""
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading")
        current = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal current
            if what != current:
                current = what
                progress.reset(task, total=total, description=what)
            progress.update(task, completed=done)

        yield report


def _lines() -> Callable[[str, int, int], None]:
    started = printed = time.monotonic()
    current = ""

    def report(what: str, done: int, total: int) -> None:
        nonlocal started, printed, current
        now = time.monotonic()
        if what != current:
            current, started = what, now
        if now - printed >= _EVERY_S and done:
            printed = now
            left = (now - started) / done * (total - done)
            hint(f"{what}: {done}/{total}, about {work_text(left)} left")

    return report
