"""``lhc diff``: what differs between two placed models, or two machines."""

from lhc.cli.framework.output import emit_json, say
from lhc.options.viewing import DiffOptions
from lhc.support.tables import terminal_width


def diff(asked: DiffOptions) -> None:
    """Show what differs between two placed models or machines. Compares layers, sensitivities, outcome, hardware."""
    from lhc.commands.diff import diff as run
    from lhc.hardware import Hardware, preset_names
    from lhc.report.tables.difference import compare_machines

    one, two = asked.before, asked.after
    machines = any(name.endswith((".yaml", ".yml")) or name in preset_names() for name in (one, two))
    found = compare_machines(Hardware.load(one), Hardware.load(two)) if machines else run(one, two)
    if asked.json:
        emit_json(found.document())
    else:
        say("\n".join(found.rendered(one, two, terminal_width())))
