"""What is said when lhc itself has a mistake: a sentence, and the traceback in a file of its own."""

import os
import platform
import shlex
import sys
import tempfile
import traceback

from lhc import __version__
from lhc.cli.output import hint

__all__ = ["tell_crash"]


def tell_crash(error: Exception) -> None:
    """Say what happened, where the traceback is, and what to do with it; a run of hours need not be repeated for it."""
    text = (
        f"lhc {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{shlex.join(['lhc', *sys.argv[1:]])}\n\n{''.join(traceback.format_exception(error))}"
    )
    where = _kept(text)
    if where is None:
        hint(text)
    first = next(iter(str(error).splitlines()), "")[:500]
    hint(
        f"error: lhc crashed: {type(error).__name__}{': ' if first else ''}{first}\n"
        f"The mistake is in lhc. The traceback is {f'in {where}' if where else 'above'}; please report it where you got"
        " lhc, with the model if you may share it. What was finished is kept; the same command goes on from there."
    )


def _kept(text: str) -> str | None:
    try:
        handle, path = tempfile.mkstemp(prefix="lhc-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return path
