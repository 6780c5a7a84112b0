"""Error reporting: a user's error by a message and an exit code, a mistake in the code by a file with the traceback."""

import os
import platform
import shlex
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from lhc.cli.framework.output import hint
from lhc.errors import LhcError
from lhc.support.version import VERSION

P = ParamSpec("P")
R = TypeVar("R")


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Turn lhc's errors into a message on stderr and the exit code that goes with them."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except LhcError as error:
            hint(f"error: {error}")
            raise typer.Exit(error.exit_code) from error
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):  # as torch says it
                raise
            hint(
                f"error: more memory is needed than there is ({str(error)[:200] or 'no size is told'}): check the sizes"
                " that the model and the hardware tell, or lower --memory and --jobs"
            )
            raise typer.Exit(LhcError.exit_code) from error
        except KeyboardInterrupt as error:
            hint("interrupted; finished evaluations are kept, and the same command goes on where it stopped")
            raise typer.Exit(130) from error

    return wrapped


def tell_crash(error: Exception, whose: str = "lhc") -> None:
    """Say what happened in whose package, where the traceback is, and what to do with it."""
    text = (
        f"lhc {VERSION}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{shlex.join(['lhc', *sys.argv[1:]])}\n\n{''.join(traceback.format_exception(error))}"
    )
    where = _kept(text)
    if where is None:
        hint(text)
    first = next(iter(str(error).splitlines()), "")[:500]
    hint(
        f"error: {whose} crashed: {type(error).__name__}{': ' if first else ''}{first}\n"
        f"The mistake is in {whose}. The traceback is {f'in {where}' if where else 'above'}; please report it where you"
        f" got {whose}, with the model if you may share it. What was finished is kept; the same command goes on from"
        " there."
    )


def _kept(text: str) -> str | None:
    import tempfile

    try:
        handle, path = tempfile.mkstemp(prefix="lhc-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return path
