"""A report as one HTML file that works without a network: own SVG, one style sheet, a little script.

Names come from models, which come from anywhere: the templates escape everything, and the page's content security
policy allows exactly this style sheet and this script, by their hashes, and no request at all.
"""

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lhc.plan import LayerPlan
from lhc.report.block_grid import BlockGrid, Cell, block_grid
from lhc.report.charts import Chart, RangeChart
from lhc.report.content import MEASURING_TIMES, Value, layer_table
from lhc.report.document import Report
from lhc.report.figures import front_chart, is_measured, outcome_chart, time_chart
from lhc.report.page_sections import sections
from lhc.report.statements import decision, other_samples, samples_of_front, statements, verdict
from lhc.report.text import REASONS, level_text, reasons

__all__ = ["html"]


@dataclass(frozen=True)
class _Layer:
    """A layer as the page shows it: its row, and its text in the grid."""

    letter: str
    kind: str
    text: str
    cells: tuple[Value, ...]


@dataclass(frozen=True)
class _Item:
    """An entry of the grid's legend."""

    kind: str
    letter: str
    name: str
    text: str


@dataclass(frozen=True)
class _Figure:
    """A chart beside the grid; ``samples``: that they are others than the decision's."""

    id: str
    name: str
    note: str
    description: str
    chart: Chart | RangeChart
    samples: str = ""


def html(report: Report) -> str:
    """The page."""
    css, script = _asset("report.css"), _asset("report.js")
    grid = block_grid(report.plan) if report.plan.layers else None
    table = layer_table(report)
    side, side_missing = _side(report)
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            report=report,
            policy=(
                f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(script)}'; img-src data:;"
                " base-uri 'none'; form-action 'none'"
            ),
            css=Markup(css),  # our own file
            script=Markup(script),
            verdict=verdict(report.plan),
            decision=decision(report),
            statements=statements(report),
            grid=grid,
            grid_description=_grid_description(report),
            legend=[] if grid is None else _legend(report, grid),
            metric=_metric(report),
            layers=[] if grid is None else _layers(report, grid, table.rows),
            columns=table.columns,
            others=report.operators - len(report.plan.layers),
            side=side,
            side_missing=side_missing,
            sections=sections(report),
        )
    )


def _asset(name: str) -> str:
    return (files("lhc.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("lhc.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _layers(report: Report, grid: BlockGrid, rows: tuple[tuple[Value, ...], ...]) -> list[_Layer]:
    found = []
    for cell, row in zip(sorted(grid.cells, key=lambda cell: cell.index), rows, strict=True):
        layer = report.plan.layers[cell.index]
        found.append(_Layer(_letter(cell), cell.kind, _layer_text(layer), row))
    return found


def _letter(cell: Cell) -> str:
    return {"analog": "A", "digital": "D", "never": "D", "open": "?"}[cell.kind]


def _layer_text(layer: LayerPlan) -> str:
    placement = "undecided" if layer.reason == "eligible" else layer.placement
    damage = "" if layer.sensitivity is None else f", sensitivity {layer.sensitivity}"
    why = layer.detail or REASONS[layer.reason]
    return f"{layer.title}: {placement}, {layer.reason} ({why}){damage}, {layer.macs:,} MACs"


def _legend(report: Report, grid: BlockGrid) -> list[_Item]:
    kinds = {cell.index: cell.kind for cell in grid.cells}
    found = []
    for kind, letter, name in (
        ("analog", "A", "analog"),
        ("digital", "D", "digital"),
        ("never", "D", "digital, no choice"),
        ("open", "?", "undecided"),
    ):
        layers = [layer for index, layer in enumerate(report.plan.layers) if kinds[index] == kind]
        if layers:
            found.append(_Item(kind, letter, f"{len(layers)} {name}", f": {reasons(layers)}" if kind != "open" else ""))
    return found


def _metric(report: Report) -> str:
    """In what sensitivities are measured; empty where none was."""
    metric = next((layer.sensitivity.metric for layer in report.plan.layers if layer.sensitivity is not None), "")
    return {"kl": "KL divergence of the outputs", "nmse": "squared error of the outputs over their energy"}.get(
        metric, metric
    )


def _grid_description(report: Report) -> str:
    plan = report.plan
    return (
        f"One row a block, one cell a layer: {len(plan.analog)} layers are analog (letter A, round corners),"
        f" {len(plan.layers) - len(plan.analog)} digital (letter D, square corners; striped where no tile can take"
        " them). The table of layers says the same in words."
    )


def _side(report: Report) -> tuple[list[_Figure], list[str]]:
    """The charts beside the grid, and a line for each one that is missing."""
    found: list[_Figure] = []
    lacking: list[str] = []
    outcome = report.plan.outcome
    ranges = None if outcome is None or not report.plan.layers else outcome_chart(outcome)
    if ranges is not None and outcome is not None:
        said = "; ".join(f"{r.label}: {r.value}" for r in ranges.ranges)
        note = f"mean and {level_text(outcome.confidence)} intervals"
        found.append(_Figure("drop", "Drop beside the budget", note, f"{said}; {ranges.budget_text}", ranges))
    front = front_chart(report)
    if front is not None:
        note = "filled: measured, hollow: estimated" if is_measured(report) else "estimated, not measured"
        note += "; ringed: this placement"
        said = "; ".join(mark.title for mark in front.marks)
        found.append(_Figure("front", "Trade-off", note, said, front, samples_of_front(report.front, outcome)))
    else:
        lacking.append("The trade-off is not known: sensitivities were not measured.")
    if report.over_time:
        chart = time_chart(report.over_time, outcome)
        first = report.over_time[0].evaluation
        note = f"mean of {first.draws} chips, {level_text(first.confidence)} intervals"
        said = "; ".join(mark.title for mark in chart.marks)
        name = f"{first.metric.capitalize()} over time"
        found.append(_Figure("over-time", name, note, said, chart, other_samples(first, outcome)))
    else:
        lacking.append(f"Over time: not measured. {MEASURING_TIMES} and --report adds it.")
    return found, lacking
