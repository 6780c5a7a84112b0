"""``lhc diff``: what differs between two placed models."""

from typing import ClassVar

import typer

from lhc.cli.build import terminal_command
from lhc.cli.output import emit_json
from lhc.options.declare import argument, option, options

__all__ = ["command"]


@options
class DiffOptions:
    """Of ``lhc diff``."""

    PANEL: ClassVar[str] = "Output"

    before: str = argument("An annotated model.", kw_only=False, metavar="A.lhc.onnx")
    after: str = argument("Another one.", kw_only=False, metavar="B.lhc.onnx")
    json: bool = option("Print JSON.", default=False, result="found.document()")


def diff(asked: DiffOptions) -> None:
    """Show what differs between two placed models. Compares layers, sensitivities, outcome, hardware."""
    from lhc.commands.diff import diff as run

    found = run(asked.before, asked.after)
    if asked.json:
        emit_json(found.document())
        return
    if found.notice is not None:
        typer.echo(f"{asked.before}, {asked.after}: {found.notice}\n")
    if found.layers and not found.unrelated:
        typer.echo(found.table().render() + "\n")
    typer.echo("\n".join(found.lines()))


command = terminal_command("diff", diff, DiffOptions)
