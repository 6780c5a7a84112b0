"""The commands by the work that they are for, as ``lhc --help`` lists them."""

import sys
from difflib import get_close_matches
from io import StringIO
from typing import Any

from typer.core import TyperGroup

from lhc.cli.framework.command_builder import own_command
from lhc.cli.framework.help import GROUPS, NAMES, AsWritten
from lhc.cli.framework.output import hint
from lhc.cli.framework.plugin_commands import foreign, made

__all__ = ["Commands"]


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
