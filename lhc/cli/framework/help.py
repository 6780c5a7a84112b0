"""Help of a command: examples first, options under headings, the rare ones behind ``--help-all``.

Headings and rareness are said with each option (`lhc.options.declaration.option_fields.Option`); nothing is listed here
twice. Plain text: to load what would draw boxes takes as long as the rest of ``lhc --help``.

Values stay as they were written (`AsWritten`). typer converts them by pydantic, which takes longer to load than numpy.
Options of lhc convert themselves (`lhc.options.declaration.option_fields`), so text is left as text, and a path becomes
one without that.
"""

from pathlib import Path
from textwrap import indent
from typing import Any

from typer.core import TyperCommand, TyperOption

from lhc.cli.framework.output import say
from lhc.support.number_formatting import counted

_KINDS: dict[Any, type[str] | type[Path]] = {str: str, Path: Path, list[str]: str, list[Path]: Path}


class AsWritten:
    """Command of typer whose parameters take texts and paths as written."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """The parameters, as click gives them."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the command
        for one in found:
            one.get_runtime_param = _Written  # typer's own would load pydantic
        return found

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ANN401
        """``--help``, which prints as results are printed."""
        found = super().get_help_option(ctx)  # type: ignore[misc]  # of the command
        if found is not None:
            found.callback = _show_help
        return found


def _show_help(ctx: Any, param: Any, wanted: bool) -> None:  # noqa: ANN401
    """Callback of ``--help``."""
    if wanted and not ctx.resilient_parsing:
        say(ctx.get_help())
        ctx.exit()


class _Written:
    """Converter of a value for typer."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as typer has it
        """The value of a parameter; one that is neither text nor path is typer's to convert."""
        several, kind = param.multiple or param.nargs == -1, _KINDS.get(param.type_descriptor.annotation)
        if value is None:
            return () if several else None
        if kind is None or (several and isinstance(value, str)):
            return type(param).get_runtime_param(param).coerce(value, param=param, ctx=ctx)
        return [kind(one) for one in value] if several else kind(value)


GROUPS = {
    "Look": ("at a network, its placement, what there is", "analyze inspect view models hardware cache"),
    "Measure": ("what noise does", "sensitivity attribute robustness"),
    "Place": ("layers on tiles within the loss you can afford", "partition smooth widen retrain pareto compare sweep"),
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
