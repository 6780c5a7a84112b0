"""Entry point: the command with all its sub-commands, and how its errors are told.

Exit codes: 0 done and within budget; 1 done, budget not met (the best plan is written); 2 usage or configuration;
3 model or data not usable; 70 lhc crashed; 130 interrupted.

Commands are in groups, as ``lhc --help`` lists them. Other installed packages add commands as entry points of the group
``lhc.commands``. They are looked for only where a name is none of lhc's own commands: to read what is installed takes
50 ms, a third of the time of ``lhc --help``, which does not list them.
"""

import logging
import signal
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from io import StringIO
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lhc.cli.framework.command_builder import own_command
from lhc.cli.framework.error_reporting import reporting, tell_crash
from lhc.cli.framework.help import GROUPS, NAMES, AsWritten
from lhc.cli.framework.output import discard, flush, hint, say
from lhc.errors import CRASHED, LhcError
from lhc.support.log_levels import NOTE
from lhc.support.version import VERSION

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "lhc.commands"


def foreign(name: str) -> Any:  # noqa: ANN401 - of typer's own copy of click
    """The command of that name; None where there is none, or where it cannot be loaded."""
    from lhc.support.installed_packages import installed, package_of  # slow: see above

    entry = installed(GROUP, name)
    if entry is None:
        return None
    package = package_of(entry)
    try:
        return made(name, _guarded(entry, package))
    except Exception as error:  # a package can raise anything while it is imported
        hint(f"warning: {package}: its command {name!r} cannot be loaded: {type(error).__name__}: {error}")
        return None


def made(name: str, function: Callable[..., None]) -> Any:  # noqa: ANN401
    """A command of a function that typer takes, or that `lhc.cli.framework.command_builder.terminal_command` gives."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, cls=getattr(function, "kind", None))(reporting(function))
    return typer.main.get_command(alone)


def _guarded(entry: "EntryPoint", package: str) -> Callable[..., None]:
    """A mistake in it is that package's."""
    function = entry.load()

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> None:
        try:
            function(*args, **kwargs)
        except BrokenPipeError:  # it prints by itself, and nobody reads that any more
            discard(sys.stdout)
        except (LhcError, typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            tell_crash(error, package)
            raise typer.Exit(CRASHED) from error

    return guarded


class Commands(AsWritten, TyperGroup):
    """lhc's commands in groups, and behind them those of other packages; each is loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - as typer has it
        """Names of lhc's own."""
        return list(NAMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as typer has it
        """The command of that name; None where there is none."""
        if cmd_name in NAMES and cmd_name not in self.commands:
            self.commands[cmd_name] = made(cmd_name, own_command(cmd_name))
        return self.commands.get(cmd_name) or foreign(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - as typer has it
        """The command that the arguments begin with, as click gives it."""
        near = get_close_matches(args[0], NAMES, 1)
        if near and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def main(self, args: Any = None, *rest: Any, **extra: Any) -> Any:  # noqa: ANN401 - as typer has it
        """Run a command; what is wrong with its options is told as all other errors are."""
        if rest or not extra.pop("standalone_mode", True):
            return super().main(args, *rest, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
            flush()
        except LhcError as error:  # a command's own are told by `reporting`; this one is of help or of `flush`
            hint(f"error: {error}")
            code = error.exit_code
        except Exception as error:
            if not hasattr(error, "format_message"):  # of click, whose copy in typer cannot be named
                raise
            shown = StringIO()
            error.show(shown)  # type: ignore[attr-defined]
            hint(shown.getvalue().replace("Error: ", "error: ", 1).rstrip())
            code = error.exit_code  # type: ignore[attr-defined]
        sys.exit(code)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - of typer's own copy of click
        """Commands by what they are for."""
        for heading, (says, names) in GROUPS.items():
            with formatter.section(f"{heading} {says}"):
                formatter.write_dl((name, self.get_command(ctx, name).get_short_help_str(90)) for name in names.split())


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
