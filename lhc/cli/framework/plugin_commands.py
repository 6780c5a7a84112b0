"""Commands that other installed packages add: entry points of the group ``lhc.commands``.

They are looked for only where a name is none of lhc's own commands: to read what is installed takes 50 ms, a third of
the time of ``lhc --help``, which does not list them.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from lhc.cli.framework.error_reporting import reporting, tell_crash
from lhc.cli.framework.output import hint
from lhc.errors import CRASHED, LhcError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "foreign", "made"]

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
        except (LhcError, typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:
            tell_crash(error, package)
            raise typer.Exit(CRASHED) from error

    return guarded
