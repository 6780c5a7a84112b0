"""``lhc robustness``: a placement over time, chips and scaled noise, or over numbers of the machine."""

from dataclasses import replace
from functools import partial

from lhc.cli.framework.command_builder import given
from lhc.cli.framework.output import emit
from lhc.cli.framework.progress import watched
from lhc.errors import UsageError
from lhc.options.by_command import RegionOptions, RobustnessOptions, Varying
from lhc.options.declaration.option_fields import part
from lhc.options.output_options import MeasuredOutput


def robustness(asked: RobustnessOptions, varied: Varying, shown: MeasuredOutput) -> None:
    """Run a placed model over time, chips and scaled noise. Its margin: the noise up to which the budget is held.

    $ lhc robustness model.lhc.onnx --data samples.npz --report report.html
        over time, chips and scaled noise, in a report
    $ lhc robustness model.lhc.onnx --data samples.npz --vary adc.noise=0..0.2 --vary adc.bits=4..8
        which numbers of the machine hold the budget
    """
    from lhc.cli.framework.report_option import check_report, measures_own, report_measured
    from lhc.commands.feasible_region import feasible_region
    from lhc.commands.report import report_of
    from lhc.commands.robustness import robustness as run
    from lhc.onnx_io import has_annotations
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.exports.json_documents import fields_of
    from lhc.report.tables.measured_tables import region_footer, robustness_footer

    opened = loaded_model(asked)
    own = measures_own(asked, opened.model)
    check_report(shown.report, shown.force, own)
    if not (asked.all_analog or has_annotations(opened.model)):
        name = opened.model.label
        raise UsageError(f"{name}: carries no placement; 'lhc partition' makes one, --all-analog takes every layer")
    region = _region_options(asked, varied) if varied.vary else None
    with watched(replace(asked, model=opened), shown.quiet) as watching:
        if region is None:
            found = run.of(watching)
            emit(fields_of(found), found.as_table(), robustness_footer(found), shown.chosen)
            report = partial(report_of, opened, robustness=found)
        else:
            options = replace(region, model=opened, progress=watching.progress, work_dir=watching.work_dir)
            measured = feasible_region.of(options)
            emit(fields_of(measured), measured.as_table(), region_footer(measured), shown.chosen)
            report = partial(report_of, opened, region=measured)
    if own:
        report_measured(report, watching.work_dir, shown.report)


def _region_options(asked: RobustnessOptions, varied: Varying) -> RegionOptions:
    """The options of a feasible region: one time, and chips by ``--draws``.

    Raises:
        UsageError: several times, or ``--chips``.
    """
    if given("chips"):
        raise UsageError("--chips is for the spread over chips; with --vary every machine is measured on --draws chips")
    times = asked.times_s or []
    if len(times) > 1:
        raise UsageError("--t-inference: with --vary one time is looked at, or vary t_inference_s itself")
    options = part(asked, RegionOptions, vary=varied.vary, search_anew=varied.search_anew)
    return replace(options, t_inference=times[0]) if times else options
