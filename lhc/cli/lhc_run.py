"""``lhc run``: what a placement is worth, and what the mapped network answers."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lhc.cli.build import given, terminal_command
from lhc.cli.output import check_file, emit, hint, hints, write_npz
from lhc.cli.progress import dry_run, watched
from lhc.options.commands import OutputsOptions, RunOptions
from lhc.options.declare import option, options, part
from lhc.options.printed import Estimating, Replacing, Reporting, Watching

if TYPE_CHECKING:
    from lhc.study.source import Opened


@options
class RunOutput(Watching, Reporting, Replacing, Estimating):
    """What ``lhc run`` writes."""

    PANEL: ClassVar[str] = "Output"

    outputs: Path | None = option(
        "Write the outputs of the mapped network, of one chip unless --draws is given.",
        default=None,
        metavar="OUT.npz",
        result="lhc.analog_outputs(…)",
    )


def run(asked: RunOptions, shown: RunOutput) -> None:
    """Run a placed model with its analog noise, over time."""
    from lhc.cli.reports import report_measured
    from lhc.commands.run import analog_outputs, evaluate, has_labels
    from lhc.report.json_documents import evaluations_document
    from lhc.report.measured_tables import evaluation_footer, evaluation_table
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    asked = replace(asked, model=opened)
    own_placement = _check(asked, shown, opened)
    labelled = has_labels(opened, asked.data, asked.label_key)
    only_outputs = shown.outputs is not None and asked.metric is None and not labelled
    if shown.dry_run:
        dry_run(asked, shown.chosen)
        return
    with watched(asked, shown.quiet) as watching:
        if shown.outputs is not None:
            chips = asked.draws if given("draws") else 1
            write_npz(shown.outputs, analog_outputs.of(replace(part(watching, OutputsOptions), draws=chips)))
        if not only_outputs:
            evaluations = evaluate.of(watching)
    if shown.outputs is not None:
        hint(f"written: {shown.outputs}")
    if not only_outputs:
        table, footer = evaluation_table(evaluations), evaluation_footer(evaluations)
        emit(evaluations_document(evaluations), table, footer, shown.chosen)
        if own_placement:
            report_measured(opened, watching.work_dir, shown.report, times=evaluations)


def _check(asked: RunOptions, shown: RunOutput, opened: "Opened") -> bool:
    """Find out before any work whether files can be written; whether the model's own placement is run."""
    from lhc.cli.reports import check_report, measures_own
    from lhc.onnx_io import has_annotations
    from lhc.report.placement_lines import doubts

    if shown.outputs is not None:
        check_file(shown.outputs, shown.force)
    own = measures_own(asked, opened.model)
    check_report(shown.report, shown.force, own)
    hints(doubts(opened.model))
    if not (asked.all_analog or has_annotations(opened.model)):
        hint(
            f"note: {opened.model.label} carries no placement, so everything runs digital; see 'lhc partition' and"
            " --all-analog"
        )
    return own


command = terminal_command(
    "run",
    run,
    RunOptions,
    RunOutput,
    examples=(
        (
            "lhc run model.lhc.onnx --data samples.npz --t-inference 0,86400,31536000",
            "at once, after a day, after a year",
        ),
    ),
)
