"""What a report says, as data: tables, facts and sentences that HTML and Markdown both draw."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lhc.plan import LayerPlan, Outcome, Plan
from lhc.report.charts import Chart
from lhc.report.document import CostItem, Costs, Report
from lhc.report.figures import is_measured
from lhc.report.text import (
    REASONS,
    amount,
    count,
    interval_text,
    level_text,
    metric_value,
    points,
    share_text,
    time_text,
)

__all__ = [
    "Column",
    "PageSection",
    "PageTable",
    "Value",
    "as_number",
    "as_share",
    "as_text",
    "cost_table",
    "data_facts",
    "layer_table",
    "machine_facts",
    "missing",
    "reason_section",
]

Column = tuple[str, bool]
"""Title, and whether it holds numbers."""


@dataclass(frozen=True)
class Value:
    """A cell: what is read, and by what it is sorted where it is a number; ``share`` is drawn as a bar too."""

    kind: Literal["name", "placement", "number", "share", "why", "text"]
    text: str
    value: float | None = None


@dataclass(frozen=True)
class PageTable:
    """Rows under a caption."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class PageSection:
    """A part of the report under a heading.

    Attributes:
        id: for links; letters and dashes.
        chart: with ``description``, what it shows in a sentence.
        items: a list.
        facts: names and what is known.
        commands: as they are typed.
    """

    id: str
    name: str
    text: tuple[str, ...] = ()
    chart: Chart | None = None
    description: str = ""
    tables: tuple[PageTable, ...] = ()
    items: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()


def as_text(text: str) -> Value:
    """A cell of text."""
    return Value("text", text)


def as_number(value: float | None, text: str | None = None) -> Value:
    """A cell that is sorted by a number; empty without one."""
    if value is None:
        return Value("text", "")
    return Value("number", f"{value:g}" if text is None else text, value)


def as_share(part: float, whole: float) -> Value:
    """A share with its bar."""
    share = part / whole if whole > 0 else 0.0
    return Value("share", share_text(share), share)


def layer_table(report: Report) -> PageTable:
    """Every candidate, in the order of the file."""
    plan = report.plan
    costs = {} if report.costs is None else {layer.name: layer for layer in report.costs.layers}
    columns: list[Column] = [("#", True), ("Layer", False), ("Operator", False), ("Runs", False)]
    measured = any(layer.sensitivity is not None for layer in plan.layers)
    if measured:
        columns.append(("Sensitivity", True))
    beside: list[Column] = [("Of activations", True)] if plan.activation_macs else []
    columns += [("MACs", True), ("of all", True), *beside, ("Weights", True), ("Tiles", True)]
    if costs:
        columns += [("Latency", True), ("Energy", True)]
    columns.append(("Why", False))
    rows = []
    for index, layer in enumerate(plan.layers):
        row = [as_number(index + 1), Value("name", layer.title), as_text(layer.op_type)]
        row.append(Value("placement", "undecided" if layer.reason == "eligible" else layer.placement))
        if measured:
            row.append(_sensitivity(layer))
        row += _sizes(layer, plan)
        if costs:
            cost = costs.get(layer.name)
            latency, energy = (None, None) if cost is None else (cost.latency_s, cost.energy_j)
            row += [
                as_number(latency, "" if latency is None else amount(latency, "s")),
                as_number(energy, "" if energy is None else amount(energy, "J")),
            ]
        row.append(Value("why", f"{layer.reason}: {layer.detail}" if layer.detail else layer.reason))
        rows.append(tuple(row))
    return PageTable("layers", tuple(columns), tuple(rows))


def _sensitivity(layer: LayerPlan) -> Value:
    if layer.sensitivity is None:
        return as_number(None)
    return as_number(layer.sensitivity.mean, str(layer.sensitivity).removesuffix(f" {layer.sensitivity.metric}"))


def _sizes(layer: LayerPlan, plan: Plan) -> list[Value]:
    tiles = layer.tiles if layer.placement == "analog" else 0
    return [
        as_number(layer.macs, count(layer.macs) if layer.counted else f"{count(layer.macs)} + ?"),
        as_number(layer.macs, share_text(layer.macs / (plan.macs or 1))),
        *([as_number(layer.activation_macs, count(layer.activation_macs))] if plan.activation_macs else []),
        as_number(layer.parameters, count(layer.parameters)),
        as_number(tiles),
    ]


def reason_section(plan: Plan) -> PageSection:
    """Why layers are where they are, one row a reason."""
    found: dict[tuple[str, str], list[LayerPlan]] = {}
    for layer in plan.layers:
        found.setdefault((layer.placement, layer.reason), []).append(layer)
    rows = []
    for (placement, reason), layers in sorted(found.items(), key=lambda item: (item[0][0], -len(item[1]))):
        macs = sum(layer.macs for layer in layers)
        details = list(dict.fromkeys(layer.detail for layer in layers))
        more = f" (and {len(details) - 1} more such)" if len(details) > 1 else ""
        rows.append(
            (
                as_text("undecided" if reason == "eligible" else placement),
                as_text(f"{reason}: {REASONS[layers[0].reason]}"),
                as_number(len(layers)),
                as_share(macs, plan.macs),
                as_text(f"{details[0]}{more}"),
            )
        )
    columns = (("Runs", False), ("Reason", False), ("Layers", True), ("Share of MACs", True), ("For example", False))
    return PageSection("reasons", "Reasons", tables=(PageTable("Layers by reason.", columns, tuple(rows)),))


def missing(report: Report) -> tuple[str, ...]:
    """What the report lacks, and what adds it; one line each."""
    lines = []
    if report.plan.outcome is None:
        lines.append("The placement was not judged on data: lhc partition does that.")
    if not any(layer.sensitivity for layer in report.plan.layers):
        lines.append("No layer's sensitivity was measured.")
    if not is_measured(report):
        lines.append("The trade-off was not measured: lhc pareto measures it.")
    if not report.over_time:
        lines.append(
            "Accuracy over time was not measured: lhc run with --t-inference 0,3600,86400,2592000,31536000 adds it."
        )
    if report.robustness is None:
        lines.append("How much more noise the placement stands was not measured: lhc robustness measures it.")
    if report.attribution is None:
        lines.append(
            "Where the damage comes from (converters, programming, drift, …) was not measured: lhc attribute does."
        )
    if report.costs is None:
        lines.append("Latency and energy are not known: the hardware describes no costs, or sizes are not known.")
    if not report.commands:
        lines.append("The command that made it was not recorded: the report was made from the model's annotations.")
    return tuple(lines)


def cost_table(costs: Costs, plan: Plan) -> PageTable:
    """What latency and energy consist of, most time first."""
    analog = plan.analog
    found: dict[tuple[str, str], list[float]] = {}
    for layer in costs.layers:
        where = "analog" if layer.name in analog else "digital"
        for part in layer.parts:
            entry = found.setdefault((where, part.name), [0.0, 0.0])
            entry[0] += part.latency_s
            entry[1] += part.energy_j
    others: dict[str, CostItem] = {f"{one.name} ({one.count})": one for one in costs.operators}
    others = others or {costs.others.name: costs.others}
    found |= {("digital", name): [one.latency_s, one.energy_j] for name, one in others.items()}
    found["between", costs.crossings.name] = [costs.crossings.latency_s, costs.crossings.energy_j]
    whole = costs.total
    rows = [
        (
            as_text(name),
            as_text(where),
            as_number(latency, amount(latency, "s")),
            as_share(latency, whole.latency_s),
            as_number(energy, amount(energy, "J")),
            as_share(energy, whole.energy_j),
        )
        for (where, name), (latency, energy) in sorted(found.items(), key=lambda item: -item[1][0])
        if latency or energy
    ]
    columns = (
        ("Part", False),
        ("Where", False),
        ("Latency", True),
        ("of all latency", False),
        ("Energy", True),
        ("of all energy", False),
    )
    return PageTable("Latency and energy of one sample by part, by the cost model.", columns, tuple(rows))


def data_facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Data, splits, seeds and what the intervals mean."""
    outcome = plan.outcome
    if outcome is None:
        return ()
    split = (
        "a quarter ranked the layers, a quarter judged candidates of the search, half verified the result (fixed"
        " permutation, stratified by label)"
        if outcome.held_out
        else "not held out: all samples served every purpose"
    )
    return (
        ("metric", f"{outcome.metric}: digital {metric_value(outcome.baseline, outcome.percent)}"),
        *(() if outcome.metric_note is None else (("why this metric", outcome.metric_note),)),
        *(() if outcome.output is None else (("scored output", outcome.output),)),
        ("budget", f"mean drop of at most {points(outcome, outcome.max_drop)} ({outcome.drop_type})"),
        ("samples", f"{outcome.samples} verified; {split}"),
        ("data", f"SHA-256 {outcome.data}"),
        ("chips", f"{outcome.draws} programmings that the search had not seen"),
        ("seed", str(outcome.seed)),
        ("time", f"{time_text(outcome.t_s)} after the first read ({outcome.t_s:.15g} s)"),
        ("other chips, these samples", interval_text(outcome, outcome.chip_interval)),
        ("other chips, other samples", interval_text(outcome, outcome.sample_interval)),
        ("confidence", f"{level_text(outcome.confidence)}, two-sided; the {_deciding(outcome.generalized)} decides"),
        *_search_facts(outcome),
    )


def _search_facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """How the placement was found."""
    judged = "" if outcome.evaluations is None else f", {outcome.evaluations} placements judged"
    yield "strategy", f"{outcome.strategy}, for {outcome.objective}{judged}"
    if outcome.limits:
        kept = "kept" if outcome.limits_kept else "not kept"
        yield "limits", f"{', '.join(f'{name} {bound:g}' for name, bound in outcome.limits.items())}: {kept}"
    if outcome.groups:
        yield "moved together", "; ".join(", ".join(group) for group in outcome.groups)
    if outcome.estimate is not None:
        found = outcome.estimate
        basis = f"{share_text(found.spread, 0)} off on average over {found.placements} placements"
        yield "estimate", f"a drop of {points(outcome, found.predicted_drop)} from the sensitivities, {basis}"
    if outcome.retrained is not None:
        trained = outcome.retrained
        yield (
            "retrained",
            (
                f"{trained.steps} steps of {trained.batch_size} on {trained.samples} samples, loss {trained.loss}, seed"
                f" {trained.seed}; from SHA-256 {trained.source}"
            ),
        )


def _deciding(generalized: bool) -> str:
    return "interval for other samples" if generalized else "interval for these samples"


def machine_facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    """The hardware in a few lines."""
    machine = plan.hardware
    tiles = f"{machine.tiles.rows} rows by {machine.tiles.cols} columns"
    number = "any number" if machine.tiles.count is None else str(machine.tiles.count)
    dac, adc = (
        "not quantised" if converter.bits is None else f"{converter.bits} bit"
        for converter in (machine.dac, machine.adc)
    )
    facts = [
        ("hardware", f"{machine.name}: {machine.description}".removesuffix(": ")),
        ("source", machine.source),
        ("tiles", f"{number}, {tiles}"),
        ("converters", f"DAC {dac}, ADC {adc}"),
        ("drift compensation", machine.compensation.drift),
        *(("left out", f"{effect.name} ({effect.size}): {effect.text}") for effect in machine.left_out),
        ("model", f"SHA-256 {plan.source} of graph and weights"),
        ("lhc", plan.lhc_version),
    ]
    return tuple((name, text) for name, text in facts if text)
