"""``lhc diff``: what differs between two placed models."""

from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit_json, say
from lhc.options.declare import argument, option, options


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
        say(f"{asked.before}, {asked.after}: {found.notice}\n")
    if found.layers and not found.unrelated:
        say(found.table().render() + "\n")
    say("\n".join(found.lines()))


command = terminal_command("diff", diff, DiffOptions)
