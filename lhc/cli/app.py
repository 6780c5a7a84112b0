"""Entry point: the command with all its sub-commands, and how its errors are told.

Exit codes: 0 done and within budget; 1 done, budget not met (the best plan is written); 2 usage or configuration;
3 model or data not usable; 70 lhc crashed; 130 interrupted.
"""

import logging
import sys
from importlib import import_module
from typing import Annotated

import typer

from lhc.cli.crash import reporting, tell_crash
from lhc.cli.foreign_commands import Commands
from lhc.errors import CRASHED
from lhc.support.version import VERSION

__all__ = ["app", "main"]

COMMANDS = (
    "analyze sensitivity partition retrain run inspect view"
    " report diff pareto robustness attribute compile split reapply hardware models export"
)
"""In the order in which help lists them: that of the work."""

app = typer.Typer(
    name="lhc",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Partition ONNX networks between analog in-memory computing tiles and digital cores.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lhc {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _name in COMMANDS.split():
    app.command()(reporting(import_module(f"lhc.cli.lhc_{_name}").command))


def main() -> None:
    """Entry point of the ``lhc`` command."""
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", stream=sys.stderr)
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        tell_crash(error)
        sys.exit(CRASHED)
