"""``lhc robustness``: a placement over time, chips and scaled noise."""

from dataclasses import replace
from functools import partial

from lhc.cli.framework.output import emit
from lhc.cli.framework.progress import watched
from lhc.errors import UsageError
from lhc.options.by_command import RobustnessOptions
from lhc.options.output_options import MeasuredOutput


def robustness(asked: RobustnessOptions, shown: MeasuredOutput) -> None:
    """Run a placed model over time, chips and scaled noise. One margin says when it fails.

    $ lhc robustness model.lhc.onnx --data samples.npz --report report.html
        over time, chips and scaled noise, in a report
    """
    from lhc.cli.framework.report_option import check_report, measures_own, report_measured
    from lhc.commands.report import report_of
    from lhc.commands.robustness import robustness as run
    from lhc.onnx_io import has_annotations
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.exports.json_documents import fields_of
    from lhc.report.tables.measured_tables import robustness_footer

    opened = loaded_model(asked)
    own = measures_own(asked, opened.model)
    check_report(shown.report, shown.force, own)
    if not (asked.all_analog or has_annotations(opened.model)):
        name = opened.model.label
        raise UsageError(f"{name}: carries no placement; 'lhc partition' makes one, --all-analog takes every layer")
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        found = run.of(watching)
    emit(fields_of(found), found.as_table(), robustness_footer(found), shown.chosen)
    if own:
        report_measured(partial(report_of, opened, robustness=found), watching.work_dir, shown.report)
