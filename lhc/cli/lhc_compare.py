"""``lhc compare``: machines side by side."""

from dataclasses import replace

import typer

from lhc.cli.build import terminal_command
from lhc.cli.output import emit
from lhc.cli.progress import watched
from lhc.options.commands import CompareOptions
from lhc.options.printed import Watching

__all__ = ["command"]


def compare(asked: CompareOptions, shown: Watching) -> None:
    """Place a network on several machines. Accuracy, energy, latency and tiles side by side."""
    from lhc.commands.compare import compare as run
    from lhc.report.json_documents import comparison_document
    from lhc.report.measured_tables import comparison_footer, comparison_table
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        results = run.of(watching)
    table, footer = comparison_table(results), comparison_footer(results)
    emit(comparison_document(results), table, footer, shown.chosen)
    if not all(result.plan.outcome is None or result.plan.outcome.within_budget for result in results):
        raise typer.Exit(1)


command = terminal_command(
    "compare",
    compare,
    CompareOptions,
    Watching,
    examples=(
        (
            "lhc compare model.onnx --data samples.npz --hardware lionheart --hardware mine.yaml",
            "what a machine of your own does beside a preset",
        ),
    ),
)
