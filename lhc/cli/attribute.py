"""``lhc attribute``: what causes each layer's damage."""

from dataclasses import replace
from functools import partial

from lhc.cli.framework.output import emit
from lhc.cli.framework.progress import watched
from lhc.options.by_command import AttributeOptions
from lhc.options.output_options import MeasuredOutput


def attribute(asked: AttributeOptions, shown: MeasuredOutput) -> None:
    """Measure what causes each layer's damage. Each effect of the tiles is switched off in turn.

    $ lhc attribute model.lhc.onnx --data samples.npz
        which effect of the devices hurts which layer
    """
    from lhc.cli.framework.report_option import check_report, report_measured
    from lhc.commands.attribute import attribute as run
    from lhc.commands.report import report_of
    from lhc.hardware import Hardware
    from lhc.onnx_io import read_plan
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.pipeline.inputs.run_inputs import is_judged_output
    from lhc.report.exports.json_documents import fields_of
    from lhc.report.tables.measured_tables import attribution_footer

    opened = loaded_model(asked)
    plan = read_plan(opened.model)
    own = plan is not None and (asked.hardware is None or plan.hardware == Hardware.load(asked.hardware))
    own = own and is_judged_output(plan, asked.scored)
    check_report(shown.report, shown.force, own)
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        found = run.of(watching)
    emit(fields_of(found), found.as_table(), attribution_footer(found), shown.chosen)
    if own:
        report_measured(partial(report_of, opened, attribution=found), watching.work_dir, shown.report)
