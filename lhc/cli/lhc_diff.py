"""``lhc diff``: what differs between two placed models."""

from lhc.cli.output import emit_json, say
from lhc.options.looking_options import DiffOptions


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
