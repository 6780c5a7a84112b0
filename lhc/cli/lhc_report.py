"""``lhc report``: what was measured of a placed model."""

from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import hint, say
from lhc.errors import UsageError
from lhc.options.declare import argument, option, options
from lhc.options.printed import Replacing


@options
class ReportOptions(Replacing):
    """Of ``lhc report``; in Python ``lhc.report_of``."""

    PANEL: ClassVar[str] = "Output"

    source: str | None = argument(
        "An annotated model, a folder of results, or a report as .json.",
        kw_only=False,
        default=None,
        metavar="MODEL|DIR",
    )
    outputs: list[Path] | None = option(
        "Where to: .html, .md, .pdf or .json; .csv (layers), .svg (pictures); .netron.json for Netron,"
        " .node_data.json for Model Explorer. Repeatable; Markdown on stdout by default.",
        default=None,
        flag="--out",
        short="-o",
        metavar="OUT",
        reads=list[Path],
        result="lhc.report.formats.save_report(report, path)",
    )
    work_dir: Path | None = option(
        "Where finished evaluations are kept; in your cache by default.", default=None, metavar="DIR"
    )
    schema: bool = option("Print the JSON schema of reports.", default=False, result="Report.json_schema()")
    json: bool = option("JSON on stdout instead of Markdown.", default=False, result="report.to_json()")


def report(asked: ReportOptions) -> None:
    """Show a placed model: decision, reasons, certainty, cost. Measures nothing."""
    from lhc.cli.reports import check_report
    from lhc.commands.report import report_of
    from lhc.report.document import Report
    from lhc.report.formats import save_report
    from lhc.report.markdown import markdown
    from lhc.store import default_work_dir

    if asked.schema:
        say(Report.json_schema())
        return
    if asked.source is None:
        raise UsageError("name an annotated model, or a folder of results (--work-dir of the command that measured)")
    for path in asked.outputs or ():
        check_report(path, asked.force)
    found = report_of(asked.source, work_dir=asked.work_dir or default_work_dir())
    for warning in found.warnings:
        hint(f"warning: {warning}")
    for path in asked.outputs or ():
        save_report(found, path)
        hint(f"written: {path}")
    if not asked.outputs:
        say(found.to_json() if asked.json else markdown(found), end="")


command = terminal_command(
    "report",
    report,
    ReportOptions,
    examples=(
        ("lhc report model.lhc.onnx -o report.html", "a page to look at"),
        ("lhc report model.lhc.onnx", "the same as text"),
    ),
)
