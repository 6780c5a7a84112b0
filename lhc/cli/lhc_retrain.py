"""``lhc retrain``: train a placed model."""

from dataclasses import replace

import typer

from lhc.cli.build import terminal_command
from lhc.cli.output import default_output, emit, hint, notes
from lhc.cli.progress import watched
from lhc.options.commands import RetrainOptions
from lhc.options.declare import options
from lhc.options.printed import Annotating, Watching


@options
class RetrainOutput(Watching, Annotating):
    """What ``lhc retrain`` writes."""


def retrain(asked: RetrainOptions, shown: RetrainOutput) -> None:
    """Train a placed model under the noise of its tiles. The weights are kept if they are better."""
    from lhc.commands.retrain import retrain as run
    from lhc.onnx_io import check_output, retrained_from
    from lhc.report.json_documents import placement_document
    from lhc.report.placement_lines import partition_head
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    where = shown.out or default_output(opened, ".retrained.lhc.onnx")
    force = shown.force or retrained_from(where, opened.model)
    check_output(where, opened.model, force, shown.external_data)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        result = run.of(watching)
    notes(result.notes)
    # The output was checked against the input before the training; a file that is there holds that network.
    result.save(where, force=force or where.exists(), external_data=shown.external_data)
    emit(placement_document(result), result.as_table(), result.summary, shown.chosen, partition_head(result))
    hint(f"written: {where}")
    outcome = result.plan.outcome
    if outcome is not None and not outcome.within_budget:
        hint("the budget is not met; the model was written all the same")
        raise typer.Exit(1)


command = terminal_command(
    "retrain",
    retrain,
    RetrainOptions,
    RetrainOutput,
    examples=(
        (
            "lhc retrain model.lhc.onnx --data samples.npz --steps 200",
            "weights that stand the noise better, kept only if they do",
        ),
    ),
)
