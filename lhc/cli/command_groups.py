"""The commands by the work that they are for, as ``lhc --help`` lists them."""

import sys
from io import StringIO
from typing import Any

from lhc.cli.foreign_commands import ForeignCommands
from lhc.cli.help import listed
from lhc.cli.output import hint

__all__ = ["GROUPS", "NAMES", "Commands"]

GROUPS = {
    "Look": ("at a network, its placement, what there is", "analyze inspect view models hardware"),
    "Measure": ("what noise does", "sensitivity attribute robustness"),
    "Place": ("layers on tiles within the loss you can afford", "partition smooth widen retrain pareto compare"),
    "Run": ("a placed network with its noise", "run"),
    "Explain": ("what was decided and measured", "report diff"),
    "Export": ("for other tools", "compile split reapply export"),
}
NAMES = tuple(name for _, names in GROUPS.values() for name in names.split())


class Commands(ForeignCommands):
    """lhc's commands in groups, and behind them those of other packages."""

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
        groups = []
        for heading, (says, names) in GROUPS.items():
            commands = [(name, self.commands[name].get_short_help_str(90)) for name in names.split()]
            groups.append((heading, says, commands))
        listed(groups, formatter)
