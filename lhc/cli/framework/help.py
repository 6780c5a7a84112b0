"""Help of a command: examples first, options under headings, the rare ones behind ``--help-all``.

Headings and rareness are said with each option (`lhc.options.declaration.option_fields.Option`); nothing is listed here
twice. Plain text: to load what would draw boxes takes as long as the rest of ``lhc --help``.
"""

from textwrap import indent
from typing import Any

from typer.core import TyperCommand, TyperOption

from lhc.support.command_line_values import AsWritten
from lhc.support.number_formatting import counted

__all__ = ["GROUPS", "HEADINGS", "HELP_ALL", "NAMES", "Helped"]

GROUPS = {
    "Look": ("at a network, its placement, what there is", "analyze inspect view models hardware"),
    "Measure": ("what noise does", "sensitivity attribute robustness"),
    "Place": ("layers on tiles within the loss you can afford", "partition smooth widen retrain pareto compare"),
    "Run": ("a placed network with its noise", "run"),
    "Explain": ("what was decided and measured", "report diff"),
    "Export": ("for other tools", "compile split reapply export"),
}
NAMES = tuple(name for _, names in GROUPS.values() for name in names.split())
HELP_ALL = "help_all"
"""Name of the parameter ``--help-all``."""
HEADINGS = (
    *("Model", "Data", "Budget", "Goal", "Placement", "Machine", "Layers", "Chips"),
    *("Search", "Training", "Execution", "Output"),
)
"""In this order; what has another one comes behind them."""
_LAST = "Help"


class Helped(AsWritten, TyperCommand):
    """A command whose options lie under headings."""

    examples = ""
    """Commands, and below each what it does."""
    rare: frozenset[str] = frozenset()
    """Names of parameters that only ``--help-all`` shows."""
    all_shown = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of typer's own copy of click
        """Parsed arguments; a second value of an option that takes one is refused, where click takes the last."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for one in order:
            if not isinstance(one, TyperOption) or one.multiple or order.count(one) == 1:
                continue
            if not one.is_flag or one.secondary_opts:  # the same yes twice says nothing else
                several = "; 'lhc compare' takes several machines" if one.name == "hardware" else ""
                ctx.fail(f"{one.opts[0]} is given {order.count(one)} times, and takes one value{several}")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - of typer's own copy of click
        """``[OPTIONS] MODEL``, without typer's braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - of typer's own copy of click
        """Write the description of the command, and its examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            formatter.write_paragraph()
            formatter.write(indent(f"{self.examples}\n", "  "))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Options by heading."""
        by_heading: dict[str, list[tuple[str, str]]] = {}
        left_out = 0
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.name in self.rare and not self.all_shown:
                left_out += 1
                continue
            named = getattr(parameter, "rich_help_panel", None)
            heading = "Arguments" if parameter.param_type_name == "argument" else named or _LAST
            name, does = record
            # Typer tells the type of an argument, which is text for all of them.
            by_heading.setdefault(heading, []).append((name.removesuffix(" <str>"), does))
        for heading in ("Arguments", *HEADINGS, *by_heading):
            if records := by_heading.pop(heading, None):
                with formatter.section(heading):
                    formatter.write_dl(records)
        if left_out:
            formatter.write_paragraph()
            formatter.write_text(f"{counted(left_out, 'option')} rarely needed: --help-all")
