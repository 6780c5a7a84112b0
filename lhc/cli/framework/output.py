"""Output of the command line: results to stdout, everything else to stderr."""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from lhc.errors import UsageError
from lhc.support.documentation_links import page
from lhc.support.files import check_writable, write_file
from lhc.support.tables import Table, terminal_width
from lhc.support.text_escaping import one_line, plain

if TYPE_CHECKING:
    from lhc.pipeline.inputs.model_source import LoadedModel
    from lhc.plan import Outcome

SCHEMA_VERSION = 1


def hint(text: str) -> None:
    """A line for the user on stderr; it is dropped where stderr is closed or cannot be written."""
    if sys.stderr is None:  # print would take stdout then
        return
    try:
        print(plain(text), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def say(text: str, end: str = "\n") -> None:
    """Text on stdout; it is dropped where nobody reads it any more, as behind ``| head -1``.

    Raises:
        UsageError: stdout is closed, or cannot be written since its disk is full.
    """
    _to_stdout(plain(text), end)


def flush() -> None:
    """Write what other packages have printed to stdout; raises as `say` does."""
    _to_stdout("", end="")


def _to_stdout(text: str, end: str = "\n") -> None:
    if sys.stdout is None:  # closed by whoever started the command
        if not text:
            return
        raise UsageError("standard output is closed; send it to another place")
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise UsageError(
            f"standard output cannot be written: {error.strerror or error}; send it to another place"
        ) from error


def discard(stream: TextIO) -> None:
    """Send a stream to nowhere, with what it still holds: Python would write that when it ends, and fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def hints(found: Iterable[str]) -> None:
    """Several of them."""
    for one in found:
        hint(one)


def notes(found: Iterable[str]) -> None:
    """Print sentences, each as a note."""
    hints(f"note: {one}" for one in found)


def write(path: Path, content: str | bytes) -> None:
    """A file, and that it was written."""
    data = content.encode() if isinstance(content, str) else content
    write_file(path, lambda file: file.write(data))
    hint(f"written: {path}")


def told_written(path: Path, before: str | None, now: str) -> None:
    """Message that a placed model was written, and which other placement it replaced.

    Args:
        before: what the file held, as `lhc.onnx_io.held_in` tells; None where there was none.
        now: the same of what it holds.
    """
    hint(f"written: {path}{replaced_text(before, now)}")


def replaced_text(before: str | None, now: str | None) -> str:
    """End of the message that a file was written: what it replaced, on one line; empty where that is the same."""
    return "" if before in (None, now) else f"; replaced: {one_line(before or 'a file without a placement')}"


def default_output(opened: "LoadedModel", ending: str) -> Path:
    """Default path of a model that was made of another: beside it, with another ending."""
    path = opened.model.path
    if path is None:
        return Path(f"{opened.model.label}{ending}")
    return path.with_name(f"{path.name.removesuffix('.onnx').removesuffix('.lhc')}{ending}")


def emit(document: Mapping[str, object], table: Table, footer: str, form: str, head: str = "") -> None:
    """The result on stdout: one JSON document, or what `emit_table` shows."""
    if form == "json":
        emit_json(document)
    else:
        emit_table(table, footer, form, head)


def emit_table(table: Table, footer: str, form: str, head: str = "") -> None:
    """Print a heading, a table and its footer; or rows alone.

    A terminal gets the columns that fit, and is told which do not.
    """
    if form in ("table", "markdown"):
        table, note = table.fitted(terminal_width() if form == "table" else math.inf)
        said = "\n".join(filter(None, (note, footer)))
        say("\n\n".join(filter(None, (head, table.render(form), said))))
    else:
        say(table.render(form))


def emit_json(document: Mapping[str, object]) -> None:
    """One JSON document on stdout."""
    import json

    _to_stdout(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, allow_nan=False))


def check_file(path: Path | None, force: bool) -> None:
    """Refuse to overwrite, before any work is done; None: nothing is written.

    Raises:
        UsageError: the file exists (unless ``force``), or its folder does not or takes none.
    """
    if path is None:
        return
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: not a file name in an existing folder")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists; --force replaces it")
    check_writable(path)


def end_by(outcome: "Outcome | None", what: str, why: Iterable[str] = ()) -> None:
    """Exit code 1 where limits or the budget are not kept to.

    Args:
        what: was written all the same, with its verb: ``files were``.
        why: sentences on what stands in the way of the budget, and what would help.
    """
    if outcome is None:
        return
    if not outcome.limits_kept:
        named = ", ".join(f"--max-{measure}" for measure in outcome.limits)
        hint(f"no placement keeps to all limits ({named}); the {what} written all the same")
    if not outcome.within_budget:
        remedies = f"what helps, and when it pays: {page('budget-not-met')}"
        hint(f"the budget is not met; the {what} written all the same; {remedies}")
    hints(why)
    if not (outcome.within_budget and outcome.limits_kept):
        raise typer.Exit(1)
