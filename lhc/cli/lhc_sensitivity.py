"""``lhc sensitivity``: how much damage single layers do."""

from lhc.cli.build import terminal_command
from lhc.cli.output import emit, hint
from lhc.cli.progress import watched
from lhc.options.commands import SensitivityOptions
from lhc.options.declare import options
from lhc.options.printed import Estimating, Watching

__all__ = ["command"]


@options
class SensitivityOutput(Watching, Estimating):
    """What ``lhc sensitivity`` prints."""


def sensitivity(asked: SensitivityOptions, shown: SensitivityOutput) -> None:
    """Measure the damage of each layer when it alone is analog."""
    from lhc.cli import documents
    from lhc.cli.estimates import emit_estimate
    from lhc.commands.estimate import estimate
    from lhc.commands.sensitivity import sensitivity as run
    from lhc.support.numbers import time_text

    if shown.dry_run:
        with watched(asked, True) as quietly:
            emit_estimate(estimate(quietly), shown.chosen)
        return
    with watched(asked, shown.quiet) as watching:
        table = run.of(watching)
    documents.tell_ranking(table, hint)
    footer = (
        f"{table.draws} draws, {table.samples} samples, {time_text(table.t_s)} after programming, seed {table.seed}"
    )
    emit(documents.sensitivity(table), table.as_table(), footer, shown.chosen)


command = terminal_command("sensitivity", sensitivity, SensitivityOptions, SensitivityOutput)
