"""Progress on stderr: a bar with the time left on a terminal, plain lines elsewhere."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import TypeVar

from lhc.cli.framework.output import emit, hint
from lhc.options.by_command import PartitionOptions, RetrainOptions, RunOptions, SensitivityOptions
from lhc.options.output_options import Form
from lhc.options.shared import Execution
from lhc.support.files import default_work_dir
from lhc.support.number_formatting import work_text
from lhc.support.text_escaping import one_line

EVERY_S = 15.0
"""Between two lines where stderr is no terminal."""
READING = "reading the network and its samples"
"""Until the first step reports."""
C = TypeVar("C", bound=Execution)
Estimated = SensitivityOptions | PartitionOptions | RetrainOptions | RunOptions  # with those of `lhc compare`


@contextmanager
def watched(asked: C, quiet: bool) -> Iterator[C]:
    """The options with a progress that is shown, and with the folder in the user's cache where none is named."""
    with reporter(quiet) as progress:
        yield replace(asked, progress=progress, work_dir=asked.work_dir or default_work_dir())


def dry_run(asked: Estimated, form: Form) -> None:
    """Print how much work a command has and how long it will take."""
    from lhc.commands.estimate import estimate
    from lhc.report.exports.json_documents import effort_document

    with watched(asked, quiet=True) as quietly:
        found = estimate(quietly)
    emit(effort_document(found), found.as_table(), found.summary, form)


@contextmanager
def reporter(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A function ``(what, done, total)`` that shows how far the work is."""
    if not gc.isenabled():  # as in a command, which ends anyway: no search walks what was loaded before
        gc.freeze()
        gc.enable()
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        with _lines() as report:
            yield report


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from lhc.support.progress_eta import TimeLeft, share_done

    time_left = TimeLeft()
    step = TextColumn("{task.description}", markup=False)
    columns = (step, BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(READING, total=None, left="")

        def report(what: str, done: int, total: int) -> None:
            left = time_left(what, done, total)
            shown = "" if left is None else f"about {work_text(left)} left of this step"
            share = share_done(what, done, total)
            # A step whose first unit is not done shows that it is alive, not how far it is.
            progress.update(task, total=1.0 if share else None, completed=share, description=one_line(what), left=shown)

        yield report


@contextmanager
def _lines() -> Iterator[Callable[[str, int, int], None]]:
    """A line at most every 15 s, and at least: a step that reports nothing for so long is said to go on."""
    from lhc.support.progress_eta import TimeLeft, progress_text

    time_left, ended, lock = TimeLeft(), Event(), Lock()
    printed = time.monotonic()
    last: tuple[str, float | None] = READING, printed

    def report(what: str, done: int, total: int) -> None:
        nonlocal last, printed
        with lock:
            left, now = time_left(what, done, total), time.monotonic()
            text = progress_text(what, done, total, left)
            last = text, now if left is None else None
            if now - printed >= EVERY_S:
                printed = now
                hint(text)

    def go_on() -> None:
        nonlocal printed
        while not ended.wait(EVERY_S / 3):
            with lock:
                now, (text, since) = time.monotonic(), last
                if now - printed >= EVERY_S:
                    printed = now
                    with suppress(OSError):  # nobody reads it any more
                        # What is left has an estimate from the whole step; the time since this report says nothing.
                        hint(text if since is None else f"{text} ({work_text(now - since)} so far)")

    Thread(target=go_on, daemon=True).start()
    try:
        yield report
    finally:
        ended.set()
