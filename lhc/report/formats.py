"""Reports as files: the end of a name says which kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lhc.errors import UsageError
from lhc.report.content import layers_csv
from lhc.report.document import Report
from lhc.report.markdown import markdown
from lhc.report.page import html, svg
from lhc.report.pdf import pdf
from lhc.report.sidecars import model_explorer_data, netron_attachment
from lhc.support.files import write_file

__all__ = ["KINDS", "check_kind", "save_report"]

KINDS: Mapping[str, Callable[[Report], str | bytes]] = {
    ".netron.json": netron_attachment,
    ".node_data.json": model_explorer_data,
    ".json": Report.to_json,
    ".html": html,
    ".md": markdown,
    ".csv": layers_csv,
    ".svg": svg,
    ".pdf": pdf,
}
"""Ends of names, longer ones first."""


def check_kind(path: Path) -> str:
    """The end of a name that says what is written there.

    Raises:
        UsageError: it says nothing.
    """
    end = next((end for end in KINDS if path.name.lower().endswith(end)), None)
    if end is None:
        raise UsageError(
            f"{path}: a report ends in .html, .md, .pdf or .json, its table of layers in .csv, its pictures in .svg,"
            " one for Netron in .netron.json, one for Model Explorer in .node_data.json"
        )
    return end


def save_report(report: Report, path: Path) -> None:
    """Write a report; an existing file is replaced.

    Raises:
        UsageError: the name says no kind, or the place cannot be written.
    """
    made = KINDS[check_kind(path)](report)
    write_file(path, lambda file: file.write(made.encode() if isinstance(made, str) else made))
