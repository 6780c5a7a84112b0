"""``lhc partition``: place every layer."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import typer

from lhc.cli.build import terminal_command
from lhc.cli.output import check_file, default_output, emit, hint
from lhc.cli.progress import watched
from lhc.options.command_line import command_line
from lhc.options.commands import PartitionOptions
from lhc.options.declare import option, options
from lhc.options.printed import Annotating, Estimating, Reporting, Watching

if TYPE_CHECKING:
    from lhc.study.outcome import PartitionResult

__all__ = ["command"]


@options
class PartitionOutput(Watching, Reporting, Annotating, Estimating):
    """What ``lhc partition`` writes."""

    PANEL: ClassVar[str] = "Output"

    plan_out: Path | None = option(
        "Also write the plan, to be read, edited, fed back.",
        default=None,
        metavar="F.yaml",
        result="result.plan.to_yaml()",
    )
    layer_ann: bool = option(
        "Also write onnxruntime's key layer_ann on nodes that have none.", default=False, result="save(layer_ann=True)"
    )
    show_pipeline: bool = option(
        "Print the steps that these options stand for, and do nothing.",
        default=False,
        result="lhc.commands.partition.pipeline(options)",
    )


def partition(asked: PartitionOptions, shown: PartitionOutput) -> None:
    """Place every layer within the loss you can afford. Annotates the model."""
    from lhc.cli import documents
    from lhc.cli.estimates import emit_estimate
    from lhc.cli.reports import report_measured
    from lhc.commands.estimate import estimate
    from lhc.commands.partition import partition as run
    from lhc.commands.partition import pipeline
    from lhc.study.outcome import check_output, retrained_from
    from lhc.study.source import open_model

    if shown.show_pipeline:
        typer.echo(str(pipeline(asked)))
        return
    opened = open_model(asked.model)
    asked = replace(asked, model=opened)
    if shown.dry_run:
        with watched(asked, True) as quietly:
            emit_estimate(estimate(quietly), shown.chosen)
        return
    documents.tell_renamed(opened.model.renamed, hint)
    where = shown.out or default_output(opened, ".lhc.onnx")
    force = shown.force or (asked.retrain and retrained_from(where, opened.model))
    check_output(where, opened.model, force, shown.external_data)
    _check_others(shown, force)
    with watched(asked, shown.quiet) as watching:
        result = run.of(watching)
    _tell(result)
    # With other weights it is another network; that its place is free was checked above.
    force = force or (asked.retrain and where.exists())
    result.save(where, force=force, external_data=shown.external_data, layer_ann=shown.layer_ann)
    made_by = command_line("partition", replace(asked, model=opened.model.label))
    if shown.plan_out is not None:
        _write_plan(result, made_by, shown.plan_out)
    _emit(result, where, shown.chosen)
    report_measured(result, where.name, watching.work_dir, shown.report)
    _end(result)


def _check_others(shown: PartitionOutput, force: bool) -> None:
    """Find out before any work whether the other files can be written."""
    from lhc.cli.reports import check_report

    if shown.plan_out is not None:
        check_file(shown.plan_out, force)
    if shown.report is not None:
        check_report(shown.report, force)


def _write_plan(result: "PartitionResult", made_by: str, path: Path) -> None:
    from lhc.support.files import write_file

    text = f"# {made_by}\n{result.plan.to_yaml()}"
    write_file(path, lambda file: file.write(text.encode()))
    hint(f"written: {path}")


def _tell(result: "PartitionResult") -> None:
    """Say how the layers were ranked, and what else there is to note."""
    from lhc.cli.documents import tell_ranking

    if result.ranking is not None:
        tell_ranking(result.ranking, hint)
    for note in result.notes:
        hint(f"note: {note}")


def _emit(result: "PartitionResult", where: Path, form: str) -> None:
    """Print the placement with its costs, and say where the model is."""
    from lhc.cli import cost_lines, documents, searching
    from lhc.study.outcome import plan_table

    document = documents.partition(result) | {
        "cost": cost_lines.system_cost(result.cost, result.digital_cost),
        "infeasibility": searching.infeasibility(result.infeasibility),
    }
    emit(document, plan_table(result.plan), documents.outcome_text(result), form)
    hint(f"written: {where}")


def _end(result: "PartitionResult") -> None:
    """Say what was not kept to; exit code 1 if anything was not."""
    from lhc.cli.searching import infeasibility_lines

    outcome = result.plan.outcome
    if outcome is None:
        return
    if not outcome.limits_kept:
        hint("no placement keeps to --max-tiles, --max-latency and --max-energy; the plan was written all the same")
    if not outcome.within_budget:
        hint("the budget is not met; the plan was written all the same")
    for line in infeasibility_lines(result.infeasibility, result.plan):
        hint(line)
    if not (outcome.within_budget and outcome.limits_kept):
        raise typer.Exit(1)


command = terminal_command("partition", partition, PartitionOptions, PartitionOutput)
