"""Reports as files: the end of a name says which kind."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from pydantic import ValidationError

from lhc.errors import ConfigError, UsageError
from lhc.report.document.page_content import layers_csv
from lhc.report.document.report import Report
from lhc.report.exports.junit import junit
from lhc.report.exports.markdown import markdown
from lhc.report.exports.model_explorer import mac_data, placement_data, sensitivity_data, tile_data
from lhc.report.exports.netron_attachment import netron_attachment
from lhc.report.exports.pdf import pdf
from lhc.report.html.page import html, svg
from lhc.support.documents.field_errors_and_unknown_keys import field_problem
from lhc.support.files import write_file

__all__ = ["KINDS", "NotebookReport", "check_kind", "parse_report", "read_report", "save_report"]

_SCHEMA = 1
_LIMIT = 64 * 2**20
"""Largest document that is read, in bytes."""


KINDS: Mapping[str, Callable[[Report], str | bytes]] = {
    ".netron.json": netron_attachment,
    ".sensitivity.node_data.json": sensitivity_data,
    ".macs.node_data.json": mac_data,
    ".tiles.node_data.json": tile_data,
    ".node_data.json": placement_data,
    ".json": Report.to_json,
    ".html": html,
    ".md": markdown,
    ".csv": layers_csv,
    ".svg": svg,
    ".pdf": pdf,
    ".xml": junit,
}
"""Ends of names, longer ones first."""


class NotebookReport(Report):
    """A report that notebooks show as its page."""

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="760" style="border: 1px solid #ccc"'
        return f'<iframe srcdoc="{escape(html(self))}" {frame}></iframe>'


def check_kind(path: Path) -> str:
    """The end of a name that says what is written there.

    Raises:
        UsageError: it says nothing.
    """
    end = next((end for end in KINDS if path.name.lower().endswith(end)), None)
    if end is None:
        raise UsageError(
            f"{path}: a report ends in .html, .md, .pdf or .json; its table of layers in .csv, its pictures in .svg,"
            " its budgets as test cases in .xml (JUnit); one for Netron in .netron.json, one for Model Explorer in"
            " .node_data.json"
        )
    return end


def save_report(report: Report, path: str | Path) -> None:
    """Write a report in the format that the end of the name says (`KINDS`); an existing file is replaced.

    Raises:
        UsageError: the name says no kind, or the place cannot be written.
    """
    path = Path(path)
    made = KINDS[check_kind(path)](report)
    write_file(path, lambda file: file.write(made.encode() if isinstance(made, str) else made))


def read_report(path: Path) -> Report:
    """A report that was written as JSON.

    Raises:
        ConfigError: it cannot be read, is larger than 64 MiB, or no report of this schema.
    """
    try:
        if path.stat().st_size > _LIMIT:
            raise ConfigError(f"{path}: larger than {_LIMIT >> 20} MiB, which no report is")
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_report(text, str(path))


def parse_report(text: bytes, place: str) -> Report:
    """A report from JSON.

    Raises:
        ConfigError: it is no report of this schema.
    """
    try:
        return NotebookReport.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise ConfigError(f"{place}: not a report of schema {_SCHEMA}: {where}{field_problem(first)}") from error
