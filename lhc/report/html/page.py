"""A report as one HTML file that works without a network: charts as SVG, one style sheet, a little script.

Names come from models, which come from anywhere: the templates show and escape everything, and the page's content
security policy allows exactly this style sheet and this script, by their hashes, and no request at all.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from lhc.plan import LayerPlan, Plan
from lhc.plan.sensitivity_wording import basis_words, sensitivities_of
from lhc.report.charts.axes import Chart, IntervalChart, chart_svg
from lhc.report.charts.layer_grid_by_block import Kind, block_grid, kind_of
from lhc.report.charts.report_charts import front_chart, is_measured, outcome_chart, over_time_chart
from lhc.report.document.page_content import NO_TIMES, layer_table
from lhc.report.document.report import Report
from lhc.report.html.sections import sections
from lhc.report.wording.layers import METRIC_NAMES, REASONS, reasons, with_one_copy
from lhc.report.wording.outcome import capitalized
from lhc.report.wording.placement import decision, statements, verdict
from lhc.report.wording.robustness import other_samples, samples_of_front
from lhc.support.number_formatting import counted, level_text
from lhc.support.text_escaping import plain

if TYPE_CHECKING:
    from jinja2 import Environment

LETTERS: Mapping[Kind, str] = {"analog": "A", "digital": "D", "never": "D", "open": "?"}
"""In cells, for those who see no colours."""


@dataclass(frozen=True)
class _Figure:
    """A chart beside the grid; ``samples``: that they are others than the decision's."""

    id: str
    name: str
    note: str
    description: str
    chart: Chart | IntervalChart
    samples: str = ""


_MARGIN, _HEAD, _CAPTION, _GAP = 16.0, 54.0, 22.0, 26.0
"""Pixels of a sheet: around all, above all, above and below a picture."""
_LETTER = 6.7
"""Width of a letter of a caption, at most on average."""


@dataclass(frozen=True)
class _PlacedFigure:
    """A picture at a place of a sheet, below its name and note; ``drawn``: of a chart, its SVG."""

    name: str
    note: str
    x: float
    y: float
    width: float
    height: float
    drawn: Markup | None = None

    @property
    def bottom(self) -> float:
        """Height at which the next one begins."""
        return self.y + self.height + _GAP


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
            legend=list(_legend(report.plan)),
            letters=LETTERS,
            metric=_metric(report),
            kinds=[kind_of(layer) for layer in report.plan.layers],
            texts=_layer_texts(report.plan.layers),
            table=table,
            side=side,
            side_missing=side_missing,
            sections=sections(report),
            chart=_chart_markup,
        )
    )


def svg(report: Report) -> str:
    """The layers by block and the charts of the first screen as one picture that explains itself.

    All words that explain a picture are in it: model, machine, verdict, what the colours and the numbers are, and the
    title, axes, units and budget line of every chart.
    """
    plan = report.plan
    side, _ = _side(report)
    grid = block_grid(plan) if plan.layers else None
    placed: list[_PlacedFigure] = []
    y, width = _HEAD, max(8.0 * len(line) for line in (report.model, decision(report)))
    if grid is not None:
        legend = "; ".join(f"{LETTERS[kind]} = {name}{text}" for kind, name, text in _legend(plan))
        note = f"{legend}; number and bar: sensitivity ({_metric(report)})" if _metric(report) else legend
        placed.append(_PlacedFigure("Layers by block", note, _MARGIN, y + _CAPTION, grid.width, grid.height))
        y = placed[-1].bottom
    for one in side:
        note = "; ".join(filter(None, (one.note, one.samples)))
        at = (_MARGIN, y + _CAPTION)
        drawn = Markup(chart_svg(one.chart, one.id, one.name, one.description, at))  # escaped there
        placed.append(_PlacedFigure(one.name, note, *at, one.chart.width, one.chart.height, drawn))
        y = placed[-1].bottom
    width = max(width, *(max(one.width, _LETTER * len(f"{one.name} {one.note}")) for one in placed), 0.0)
    return (
        _templates()
        .get_template("sheet.svg.j2")
        .render(
            report=report,
            verdict=verdict(plan),
            decision=decision(report),
            pictures=placed,
            grid=grid,
            grid_description=_grid_description(report),
            width=width + 2 * _MARGIN,
            height=y,
            css=Markup(_asset("report.css")),  # our own file
            letters=LETTERS,
            texts=_layer_texts(plan.layers),
        )
    )


def _chart_markup(chart: Chart | IntervalChart, id: str, name: str, description: str) -> Markup:
    return Markup(chart_svg(chart, id, name, description))  # escaped there


def _asset(name: str) -> str:
    return (files("lhc.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only a page needs it

    return Environment(
        loader=PackageLoader("lhc.report", "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    """A value with unseen characters spelled out, before a template escapes it; markup as it is."""
    return plain(value) if type(value) is str else value


def _layer_texts(layers: Sequence[LayerPlan]) -> list[str]:
    def text(layer: LayerPlan) -> str:
        placement = "undecided" if layer.reason == "eligible" else layer.placement
        damage = f", sensitivity {told}" if (told := layer.sensitivity_text) else ""
        why = layer.detail or REASONS[layer.reason]
        return f"{layer.title}: {placement}, {layer.reason} ({why}){damage}, {layer.macs:,} MACs"

    return list(map(text, layers))


def _legend(plan: Plan) -> Iterator[tuple[Kind, str, str]]:
    """Kind, number and reasons of the cells."""
    names: dict[Kind, str] = {"never": "digital, no choice", "open": "undecided"}
    for kind in LETTERS:
        layers = [layer for layer in plan.layers if kind_of(layer) == kind]
        if layers:
            yield kind, f"{len(layers)} {names.get(kind, kind)}", "" if kind == "open" else f": {reasons(layers)}"


def _metric(report: Report) -> str:
    """Metric of the sensitivities, and whether they are predicted or measured; empty where there are none."""
    found = sensitivities_of(report.plan)
    if not found:
        return ""
    metric = found[0].metric
    alike = len({one.copies for one in found}) == 1
    copies = f"{found[0].copies_text} of the weights, " if alike else ""
    return f"{METRIC_NAMES.get(metric, metric)}, {copies}{basis_words(found)}"


def _grid_description(report: Report) -> str:
    plan = report.plan
    return (
        f"One row a block, one cell a layer: {counted(len(plan.analog), 'layer')} analog (letter A, round corners),"
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
        note = f"mean and {level_text(outcome.confidence)} intervals; the budget is compared with the thick one"
        note = note if len(ranges.ranges) > 1 else note.partition(";")[0]
        name = f"{capitalized(outcome.drop_word)} beside the budget"
        found.append(_Figure("drop", name, note, f"{said}; {ranges.budget_text}", ranges))
    front = front_chart(report)
    if front is not None:
        one_copy = with_one_copy(report.plan)
        estimated = f"estimated, not measured{f'; {one_copy}' if one_copy else ''}"
        note = "filled: measured, hollow: estimated" if is_measured(report) else estimated
        note += "; ringed: this placement"
        said = "; ".join(point.title for point in front.points)
        found.append(_Figure("front", "Trade-off", note, said, front, samples_of_front(report.front, outcome)))
    else:
        lacking.append("The trade-off is not known: sensitivities were not measured.")
    chart = over_time_chart(report)
    if chart is not None:
        first = report.over_time[0].evaluation
        note = f"mean of {counted(first.draws, 'chip')}, {level_text(first.confidence)} intervals"
        said = "; ".join(point.title for point in chart.points)
        name = f"{capitalized(first.metric)} over time"
        found.append(_Figure("over-time", name, note, said, chart, other_samples(first, outcome)))
    else:
        lacking.append(NO_TIMES)
    return found, lacking
