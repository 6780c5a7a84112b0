"""Reports as files: the end of a name says which kind.

- PDF: the page of the report as a browser prints it. There is no second layout that could say something else.
- Attachment for Netron 8.2.8 and later (``"signature": "netron:attachment"``): dropped onto the open model, it adds
  rows to the panel of each node.
- Node data for Model Explorer (``GraphNodeData`` of ``ai-edge-model-explorer``), one quantity a file: values by which
  it colours the nodes that hold products. Nodes are named as the ONNX adapter ``model-explorer-onnx`` names them, by
  the operator's name. One inside the body of another operator has another name there, or lies in another graph, and
  stays without colour.
- HTML, Markdown, CSV, SVG, JUnit and JSON are modules of their own.
"""

import json
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from pydantic import ValidationError

from lhc.errors import ConfigError, MissingDependencyError, UsageError
from lhc.onnx_io.annotate.annotations import keys_of_nodes
from lhc.plan import LayerPlan
from lhc.report.document.page_content import layers_csv
from lhc.report.document.report import Report
from lhc.report.exports.junit import junit
from lhc.report.exports.markdown import markdown
from lhc.report.html.page import html, svg
from lhc.support.documents import field_problem
from lhc.support.files import write_file
from lhc.support.text_escaping import json_text

__all__ = [
    "KINDS",
    "NotebookReport",
    "check_kind",
    "mac_data",
    "netron_attachment",
    "parse_report",
    "pdf",
    "placement_data",
    "read_report",
    "save_report",
    "sensitivity_data",
    "tile_data",
]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge")
SECONDS = 120


def pdf(report: Report) -> bytes:
    """The page on A4.

    Raises:
        MissingDependencyError: no browser that prints without a window is installed, or it fails.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise MissingDependencyError(
            f"a PDF is printed by a browser, and none of {', '.join(BROWSERS)} is installed; write .html and print that"
        )
    with tempfile.TemporaryDirectory(prefix="lhc-") as folder:
        page, printed = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html(report), encoding="utf-8")
        # The page is our own, asks for nothing, and its script is allowed by hash: the browser's own sandbox, which
        # some systems and containers do not have, would guard nothing.
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/p",
        ]
        command = [program, *options, f"--print-to-pdf={printed}", page.as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
            return printed.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingDependencyError(
                f"{program} did not print the report ({error}); write .html and print that"
            ) from error


def netron_attachment(report: Report) -> str:
    """JSON for Netron: lhc's keys as metadata of every node, the sensitivity also as a metric."""
    nodes = [
        {"kind": "node", "target": name, "name": key, "value": value}
        for name, keys in keys_of_nodes(report.plan.layers).items()
        for key, value in keys.items()
    ]
    model = {"kind": "model", "target": "", "name": "lhc.summary", "value": report.summary}
    metrics = [
        {
            "kind": "node",
            "target": layer.origin or layer.name,
            "name": f"{_part_of(layer)}sensitivity ({s.metric} {s.copies_text}, {s.basis})",
            "value": s.mean,
        }
        for layer in report.plan.layers
        if (s := layer.sensitivity) is not None
    ]
    document = {"signature": "netron:attachment", "metadata": [model, *nodes], "metrics": metrics}
    return json_text(json.dumps(document, indent=1, ensure_ascii=False)) + "\n"


def _part_of(layer: LayerPlan) -> str:
    """Part of its operator that a product is: ``input: ``; empty where it is all of it."""
    part = "" if layer.origin is None else layer.name.removeprefix(layer.origin).removeprefix("/")
    return f"{part}: " if part else ""


_COLOURS = {"analog": ("#f28e2b", "#1c1100"), "digital": ("#4e79a7", "#ffffff"), "mixed": ("#b07aa1", "#ffffff")}
"""Colours of a node and of its text; ``mixed``: of one that stands for several products, some of them analog."""
_GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#f28e2b"}]
"""From the least value of the file to the greatest."""


def placement_data(report: Report) -> str:
    """Where each node runs: analog, digital, or mixed; layers of nodes show how many of each they hold."""
    results = {}
    for name, keys in keys_of_nodes(report.plan.layers).items():
        placement = keys["lhc.placement"]
        ground, text = _COLOURS[placement]
        results[name] = {"value": placement, "bgColor": ground, "textColor": text}
    counts = {"showExpandedSummaryOnGroupNode": True, "showLabelCountColumnsInChildrenStatsTable": True}
    return _document("lhc placement", results, counts)


def sensitivity_data(report: Report) -> str:
    """Damage of each node whose sensitivity is known; that of several products in one node is added up."""
    values: dict[str, float] = defaultdict(float)
    metric = "not known"
    for layer in report.plan.layers:
        if layer.sensitivity is not None:
            metric = f"{layer.sensitivity.metric}, {layer.sensitivity.basis}"
            values[layer.origin or layer.name] += layer.sensitivity.mean
    return _numbers(f"lhc sensitivity ({metric})", values)


def mac_data(report: Report) -> str:
    """Multiplications by stored weights of each node, per sample."""
    return _numbers("lhc MACs", _counts(report, "lhc.macs"))


def tile_data(report: Report) -> str:
    """Tiles that each node takes, 0 where it is digital."""
    return _numbers("lhc tiles", _counts(report, "lhc.tiles"))


def _counts(report: Report, key: str) -> dict[str, int]:
    return {name: int(keys[key]) for name, keys in keys_of_nodes(report.plan.layers).items()}


def _numbers(name: str, values: Mapping[str, float]) -> str:
    return _document(name, {node: {"value": value} for node, value in values.items()}, {"gradient": _GRADIENT})


def _document(name: str, results: Mapping[str, object], shown: Mapping[str, object]) -> str:
    return json_text(json.dumps({"name": name, "results": results, **shown}, indent=1, ensure_ascii=False)) + "\n"


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
