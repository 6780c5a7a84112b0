"""``lhc report``: what was measured of a placed model."""

from lhc.cli.framework.output import hint, hints, say
from lhc.errors import UsageError
from lhc.options.viewing import ReportOptions
from lhc.support.files import default_work_dir


def report(asked: ReportOptions) -> None:
    """Show a placed model: decision, reasons, certainty, cost. Measures nothing.

    $ lhc report model.lhc.onnx -o report.html
        a page to look at
    $ lhc report model.lhc.onnx
        the same as text
    """
    from lhc.cli.framework.report_option import check_report
    from lhc.commands.report import report_of
    from lhc.report.document.report import Report
    from lhc.report.exports.formats import save_report
    from lhc.report.exports.markdown import markdown

    if asked.schema:
        say(Report.json_schema())
        return
    if asked.source is None:
        raise UsageError("name an annotated model, or a folder of results (--work-dir of the command that measured)")
    for path in asked.outputs:
        check_report(path, asked.force)
    found = report_of(asked.source, work_dir=asked.work_dir or default_work_dir())
    hints(f"warning: {warning}" for warning in found.warnings)
    for path in asked.outputs:
        save_report(found, path)
        hint(f"written: {path}")
    if not asked.outputs:
        say(found.to_json() if asked.json else markdown(found), end="")
