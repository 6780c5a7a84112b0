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
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lhc.support.time_left import TimeLeft, share_done

    time_left = TimeLeft()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None, left="")

        def report(what: str, done: int, total: int) -> None:
            left = time_left(what, done, total)
            shown = "" if left is None else f"about {work_text(left)} left of this step"
            progress.update(task, total=1.0, completed=share_done(what, done, total), description=what, left=shown)

        yield report


def _lines() -> Callable[[str, int, int], None]:
    from lhc.support.time_left import TimeLeft

    time_left, printed = TimeLeft(), time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal printed
        left, now = time_left(what, done, total), time.monotonic()
        if now - printed >= _EVERY_S:
            printed = now
            hint(f"{what}: {done}/{total}{'' if left is None else f'; about {work_text(left)} left of this step'}")

    return report
