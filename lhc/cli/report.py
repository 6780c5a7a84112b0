"""``lhc report``: what was measured of a placed model."""

import os

from lhc.cli.framework.output import hint, hints, say, write
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
    from lhc.report.exports.model_card import model_card

    if asked.schema:
        say(Report.json_schema())
        return
    if asked.source is None:
        raise UsageError("name an annotated model, or a folder of results (--work-dir of the command that measured)")
    for path in asked.outputs:
        check_report(path, asked.force)
    found = report_of(asked.source, work_dir=asked.work_dir or default_work_dir())
    hints(f"warning: {warning}" for warning in found.warnings)
    form = "json" if asked.json else asked.form
    for path in asked.outputs:
        if form == "card" and path.suffix.lower() == ".md":
            write(path, model_card(found))
            continue
        save_report(found, path)
        hint(f"written: {path}")
    if asked.mlflow:
        from lhc.report.exports.mlflow_run import log_mlflow

        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is loaded: lhc sends nothing unasked
        hint(f"logged: MLflow run {log_mlflow(found)}")
    if not asked.outputs and (form != "markdown" or not asked.mlflow):
        printed = {"markdown": markdown, "json": Report.to_json, "card": model_card}
        say(printed[form](found), end="")
