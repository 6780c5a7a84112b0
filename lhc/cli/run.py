"""``lhc run``: what a placement is worth, and what the mapped network answers."""

from dataclasses import replace
from functools import partial

from lhc.cli.framework.command_builder import given
from lhc.cli.framework.output import check_file, emit, hint, hints
from lhc.cli.framework.progress import dry_run, watched
from lhc.options.by_command import OutputsOptions, RunOptions
from lhc.options.declaration.option_fields import part
from lhc.options.output_options import RunOutput
from lhc.support.files import write_npz
from lhc.support.number_formatting import counted


def run(asked: RunOptions, shown: RunOutput) -> None:
    """Run a placed model with its analog noise, over time.

    $ lhc run model.lhc.onnx --data samples.npz --t-inference 0,1d,1y
        at once, after a day, after a year
    """
    from lhc.cli.framework.report_option import check_report, measures_own, report_measured
    from lhc.commands.report import report_of
    from lhc.commands.run import analog_outputs, evaluate
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.pipeline.inputs.run_inputs import knows_metric, own_metric
    from lhc.report.exports.json_documents import evaluations_document
    from lhc.report.tables.measured_tables import evaluation_footer
    from lhc.report.wording.model_file import doubts

    opened = loaded_model(asked)
    asked = replace(asked, model=opened)
    own = measures_own(asked, opened.model)
    check_file(shown.outputs, shown.force)
    check_report(shown.report, shown.force, own)
    hints(doubts(opened.model))
    only_outputs = shown.outputs is not None and not knows_metric(asked, opened)
    if shown.dry_run:
        dry_run(asked, shown.chosen)
        return
    with watched(asked, shown.quiet) as watching:
        if shown.outputs is not None:
            chips = asked.draws if given("draws") else 1
            found = analog_outputs.of(replace(part(watching, OutputsOptions), draws=chips))
            write_npz(shown.outputs, found)
        if not only_outputs:
            evaluations = evaluate.of(watching)
    if shown.outputs is not None:
        samples = next(iter(found.values())).shape[0 if chips == 1 else 1]
        on = "chip 0" if chips == 1 else f"chips 0 to {chips - 1}"
        hint(f"written: {shown.outputs}: all {counted(samples, 'sample')}, on {on}")
        if only_outputs and (metric := own_metric(asked, opened)) is not None:
            hint(f"note: no table: the placement was judged by a function, which --metric {metric} names")
    if not only_outputs:
        footer = evaluation_footer(evaluations, evaluations.outcome, evaluations.conformance)
        emit(evaluations_document(evaluations), evaluations.as_table(), footer, shown.chosen)
        if own:
            report_measured(partial(report_of, opened, times=evaluations), watching.work_dir, shown.report)
