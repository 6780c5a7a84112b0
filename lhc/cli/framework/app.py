"""Entry point: the command with all its sub-commands, and how its errors are told.

Exit codes: 0 done and within budget; 1 done, budget not met (the best plan is written); 2 usage or configuration;
3 model or data not usable; 70 lhc crashed; 130 interrupted.
"""

import logging
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from lhc.cli.framework.command_groups_and_plugins import Commands
from lhc.cli.framework.error_reporting import reporting, tell_crash
from lhc.cli.framework.output import hint, say
from lhc.errors import CRASHED
from lhc.support.log_levels import NOTE
from lhc.support.version import VERSION

__all__ = ["app", "main"]

_MORE = """\
'lhc COMMAND --help' shows examples and options, '--help-all' those that are rarely needed. 'lhc partition digits' is a\
 first thing to try. Options can stand in a file, lhc.toml or [tool.lhc] of a pyproject.toml: --config FILE.\
 'lhc --install-completion' makes bash, zsh or fish complete commands, options and names."""

app = typer.Typer(
    name="lhc",
    cls=Commands,
    no_args_is_help=True,
    epilog=_MORE,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Partition ONNX networks between analog in-memory computing tiles and digital cores.",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"lhc {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    trusted: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a module of yours: device classes that a hardware description or an annotated model names, and"
            " operator rules. By itself lhc imports those of installed packages alone. Repeat it for several.",
        ),
    ] = None,
) -> None:
    if trusted:
        _import(trusted)


@reporting
def _import(modules: list[str]) -> None:
    from lhc.hardware.aihwkit_config.user_aihwkit_objects import import_modules

    import_modules(modules, "--import")


class _ToStderr(logging.Handler):
    """Records as lines on stderr; those of -v are no warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record)
        hint(message if record.levelno < logging.WARNING else f"warning: {message}")


class _Once(logging.Filter):
    """A warning is told once a command: machines that are compared have some in common."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = record.levelno < logging.WARNING or message not in self._told
        self._told.add(message)
        return new


def _end(number: int, frame: FrameType | None) -> None:
    """End as if all was over: files are put away, and workers end."""
    sys.exit(128 + number)


def main() -> None:
    """Entry point of the ``lhc`` command."""
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(_Once())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("lhc").setLevel(NOTE)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    try:
        app()
    except Exception as error:
        tell_crash(error)
        sys.exit(CRASHED)
