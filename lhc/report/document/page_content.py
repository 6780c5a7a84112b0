"""Content of a report as data: tables, facts and sentences that HTML and Markdown both draw."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from lhc.hardware import UNLIMITED, Compensation
from lhc.plan import LayerPlan, Outcome, Plan
from lhc.plan.recurrent_steps import folded_rows
from lhc.plan.sensitivity_wording import WITH_COPIES, ranking_basis, sensitivities_of, sensitivity_columns
from lhc.report.charts.axes import Chart, RegionChart
from lhc.report.charts.report_charts import is_measured
from lhc.report.document.report import CostItem, Costs, Report
from lhc.report.wording.layers import REASONS
from lhc.report.wording.machine import cells_text, converters_text, faults_text
from lhc.report.wording.outcome import (
    capitalized,
    estimate_text,
    interval_text,
    intervals,
    nothing_lost,
    other_chips,
    points,
    tested_text,
    training_steps,
)
from lhc.support.number_formatting import (
    amount,
    count,
    counted,
    counted_samples,
    level_text,
    metric_value,
    share_text,
    time_text,
)
from lhc.support.tables import Table

NO_TIMES = "Accuracy over time was not measured: lhc run with --t-inference 0,1h,1d,30d,1y and --report tells it."

Row = TypeVar("Row")
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Value:
    """A cell: what is read, and by what it is sorted where it is a number; ``share`` is drawn as a bar too."""

    kind: Literal["name", "placement", "number", "share", "why", "text"]
    text: str
    value: float | None = None


@dataclass(frozen=True)
class PageTable:
    """Rows under a caption; a column is its title, and whether it holds numbers."""

    caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Value, ...], ...]


Column = tuple[str, bool, Callable[[Row], Value]]
"""Title, whether it holds numbers, and the cell of a row."""


def page_table(caption: str, rows: Iterable[Row], *columns: Column[Row]) -> PageTable:
    """A table with a row for each of these."""
    cells = tuple(tuple(cell(row) for _, _, cell in columns) for row in rows)
    return PageTable(caption, tuple((title, numeric) for title, numeric, _ in columns), cells)


@dataclass(frozen=True)
class PageSection:
    """A part of the report under a heading.

    Attributes:
        id: for links; letters and dashes.
        chart: with ``description``, what it shows in a sentence.
        facts: names and what is known.
        commands: as they are typed.
    """

    id: str
    name: str
    text: tuple[str, ...] = ()
    chart: Chart | RegionChart | None = None
    description: str = ""
    tables: tuple[PageTable, ...] = ()
    items: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()


def as_text(text: str) -> Value:
    """A cell of text."""
    return Value("text", text)


def as_number(value: Number | None, show: Callable[[Number], str] = "{:g}".format) -> Value:
    """A cell that is sorted by a number; empty without one."""
    return Value("text", "") if value is None else Value("number", show(value), value)


seconds = partial(amount, unit="s")
joules = partial(amount, unit="J")


def _as_share(part: float, whole: float) -> Value:
    """A share with its bar."""
    share = part / whole if whole > 0 else 0.0
    return Value("share", share_text(share), share)


def layer_table(report: Report) -> PageTable:
    """Every candidate, in the order of the file."""
    plan = report.plan
    numbers, all_macs = {layer.name: number for number, layer in enumerate(plan.layers, 1)}, plan.macs or 1
    columns: list[Column[LayerPlan]] = [
        ("#", True, lambda layer: as_number(numbers[layer.name])),
        ("Layer", False, lambda layer: Value("name", layer.title)),
        ("Operator", False, lambda layer: as_text(layer.kind)),
        ("Runs", False, lambda layer: Value("placement", _runs(layer))),
    ]
    columns += [
        (capitalized(title), True, partial(_sensitivity, texts=texts, copied=title == WITH_COPIES))
        for title, texts in sensitivity_columns(plan.layers).items()
    ]
    columns += [
        ("MACs", True, lambda layer: as_number(layer.macs, count if layer.counted else _and_more)),
        ("of all", True, lambda layer: as_number(layer.macs, lambda macs: share_text(macs / all_macs))),
    ]
    if plan.activation_macs:
        columns.append(("Of activations", True, lambda layer: as_number(layer.activation_macs, count)))
    columns += [
        ("Weights", True, lambda layer: as_number(layer.parameters, count)),
        ("Tiles", True, lambda layer: as_number(layer.tiles if layer.placement == "analog" else 0)),
    ]
    if plan.has_copies:
        columns.append(("Copies", True, lambda layer: as_number(_copies(layer))))
    if report.costs is not None and report.costs.layers:
        latencies = {cost.name: cost.latency_s for cost in report.costs.layers}
        energies = {cost.name: cost.energy_j for cost in report.costs.layers}
        columns += [
            ("Latency", True, lambda layer: as_number(latencies.get(layer.name), seconds)),
            ("Energy", True, lambda layer: as_number(energies.get(layer.name), joules)),
        ]
    columns.append(("Why", False, lambda layer: Value("why", f"{layer.reason}: {layer.detail}".removesuffix(": "))))
    return page_table("layers", plan.layers, *columns)


def layers_csv(report: Report) -> str:
    """The table of layers for programs: plain numbers, times in s, energies in J, shares in hundredths."""
    table = layer_table(report)
    units = {"Latency": "Latency (s)", "Energy": "Energy (J)"}
    headers = [units.get(name, name) for name, _ in table.columns]
    shares = [at for at, name in enumerate(headers) if name == "of all"]
    rows = [[_plain_value(cell, at in shares) for at, cell in enumerate(row)] for row in table.rows]
    return Table(headers, rows, right=shares).render("csv") + "\n"


def _plain_value(cell: Value, share: bool) -> str:
    """A number as programs read it; shares are sorted by their MACs, and read as they are shown."""
    return cell.text if cell.value is None or share else repr(cell.value)


def _runs(layer: LayerPlan) -> str:
    return "undecided" if layer.reason == "eligible" else layer.placement


def _copies(layer: LayerPlan) -> int | None:
    return layer.copies if layer.placement == "analog" else None


def _and_more(macs: int) -> str:
    """A count that leaves some out."""
    return f"{count(macs)} + ?"


def _sensitivity(layer: LayerPlan, texts: Mapping[str, str], copied: bool) -> Value:
    """A cell; ``copied``: of the sensitivity with copies."""
    found = layer.with_copies if copied else layer.sensitivity
    if found is None or layer.name not in texts:
        return as_number(None)
    return Value("number", texts[layer.name], found.mean)


def reason_section(plan: Plan) -> PageSection:
    """Reasons of the layers' placements, one row a reason."""
    found: dict[tuple[str, str], list[LayerPlan]] = {}
    for layer in folded_rows(plan.layers):
        found.setdefault((layer.placement, layer.reason), []).append(layer)

    def example(layers: list[LayerPlan]) -> str:
        first, *more = dict.fromkeys(layer.detail for layer in layers)
        return f"{first} (and {len(more)} more such)" if more else first

    table = page_table(
        "Layers by reason.",
        [found[key] for key in sorted(found, key=lambda key: (key[0], -len(found[key])))],
        ("Runs", False, lambda layers: as_text(_runs(layers[0]))),
        ("Reason", False, lambda layers: as_text(f"{layers[0].reason}: {REASONS[layers[0].reason]}")),
        ("Layers", True, lambda layers: as_number(len(layers))),
        ("Share of MACs", True, lambda layers: _as_share(sum(layer.macs for layer in layers), plan.macs)),
        ("For example", False, lambda layers: as_text(example(layers))),
    )
    return PageSection("reasons", "Reasons", tables=(table,))


def missing(report: Report) -> tuple[str, ...]:
    """Missing measurements, and the commands that add them; a line each."""
    lines = (
        (report.plan.outcome, "The placement was not judged on data: lhc partition does that."),
        (any(layer.sensitivity for layer in report.plan.layers), "No layer's sensitivity was measured."),
        (is_measured(report), "The trade-off was not measured: lhc pareto measures it."),
        (report.over_time, NO_TIMES),
        (report.robustness, "How much more noise the placement stands was not measured: lhc robustness measures it."),
        (
            report.attribution,
            "Where the damage comes from (converters, programming, drift, …) was not measured: lhc attribute does.",
        ),
        (report.costs, "Latency and energy are not known: the hardware describes no costs, or sizes are not known."),
        (
            report.commands,
            "The command that made it was not recorded: the report was made from the model's annotations.",
        ),
    )
    return tuple(line for known, line in lines if not known)


def cost_table(costs: Costs, plan: Plan) -> PageTable:
    """Latency and energy by part, most time first."""
    analog = plan.analog
    found: dict[tuple[str, str], list[float]] = {}
    for layer in costs.layers:
        where = "analog" if layer.name in analog else "digital"
        for part in layer.parts:
            entry = found.setdefault((part.name, where), [0.0, 0.0])
            entry[0] += part.latency_s
            entry[1] += part.energy_j
    others: dict[str, CostItem] = {f"{one.name} ({one.count})": one for one in costs.operators}
    others = others or {costs.others.name: costs.others}
    found |= {(name, "digital"): [one.latency_s, one.energy_j] for name, one in others.items()}
    found[costs.crossings.name, "between"] = [costs.crossings.latency_s, costs.crossings.energy_j]
    rows = [(*key, latency, energy) for key, (latency, energy) in found.items() if latency or energy]
    return page_table(
        "Latency and energy of one sample by part, by the cost model.",
        sorted(rows, key=lambda row: -row[2]),
        ("Part", False, lambda row: as_text(row[0])),
        ("Where", False, lambda row: as_text(row[1])),
        ("Latency", True, lambda row: as_number(row[2], seconds)),
        ("of all latency", False, lambda row: _as_share(row[2], costs.total.latency_s)),
        ("Energy", True, lambda row: as_number(row[3], joules)),
        ("of all energy", False, lambda row: _as_share(row[3], costs.total.energy_j)),
    )


def data_facts(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Data, splits, seeds and what the intervals mean."""
    outcome = plan.outcome
    if outcome is None:
        return ()
    dealt = "stratified by label" if outcome.documents is None else "of whole documents"
    split = outcome.samples_note or (
        "of all, a quarter, at most 1,000, ranked the layers and guided the search, and the others verified (fixed"
        f" permutation, {dealt})"
        if outcome.held_out
        else f"not held out: these served every purpose{_others_calibrated(plan)}"
    )
    verified = outcome.samples if outcome.documents is None else counted_samples(outcome.samples, outcome.documents)
    return (
        ("metric", f"{outcome.metric}: digital {metric_value(outcome.baseline, outcome.percent)}"),
        *(() if outcome.metric_note is None else (("why this metric", outcome.metric_note),)),
        *(() if outcome.output is None else (("scored output", outcome.output),)),
        ("budget", f"mean {outcome.drop_word} of at most {points(outcome, outcome.max_drop)} ({outcome.drop_type})"),
        ("samples", f"{verified} verified; {split}"),
        ("data", f"SHA-256 {outcome.data}"),
        *(() if nothing_lost(plan) else _chip_facts(outcome)),
        *_search_facts(outcome, plan),
    )


def _chip_facts(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """Facts of the measurement on chips: draws, seed, time, intervals."""
    found = intervals(outcome)
    deciding = next(f"; the budget is compared with the interval for {what}" for what, _, decides in found if decides)
    return (
        ("chips", f"{counted(outcome.draws, 'programming')} that the search had not seen"),
        ("seed", str(outcome.seed)),
        ("time", f"{time_text(outcome.t_s)} after the first read ({outcome.t_s:.15g} s)"),
        *((f"{other_chips(outcome)}, {what}", interval_text(outcome, interval)) for what, interval, _ in found),
        ("confidence", f"{level_text(outcome.confidence)}, two-sided{deciding if len(found) > 1 else ''}"),
    )


def _search_facts(outcome: Outcome, plan: Plan) -> Iterator[tuple[str, str]]:
    """Facts of the search: strategy, tests, sensitivities, limits, estimate, training."""
    judged = "" if outcome.evaluations is None else f", {counted(outcome.evaluations, 'placement')} judged"
    yield "strategy", f"{outcome.strategy}, for {outcome.objective}{judged}"
    if tested := tested_text(outcome):
        yield "tested", tested
    if basis := ranking_basis(sensitivities_of(plan), plan.agreement):
        yield "sensitivities", basis
    if outcome.limits:
        kept = "kept" if outcome.limits_kept else "not kept"
        yield "limits", f"{', '.join(f'{name} {bound:g}' for name, bound in outcome.limits.items())}: {kept}"
    if outcome.groups:
        yield "moved together", "; ".join(", ".join(group) for group in outcome.groups)
    if estimated := estimate_text(outcome):
        yield "estimate", estimated
    if outcome.retrained is not None:
        trained = outcome.retrained
        steps = f"{training_steps(trained)}, of {count(trained.samples)}, loss {trained.loss}, seed {trained.seed}"
        yield "retrained", f"{steps}; from SHA-256 {trained.source}"


def machine_facts(report: Report) -> tuple[tuple[str, str], ...]:
    """The hardware in a few lines, what heals its errors, and what that asks of it."""
    plan = report.plan
    machine = plan.hardware
    tiles = " by ".join(
        f"any number of {what}" if size == UNLIMITED else f"{size} {what}"
        for what, size in (("rows", machine.tiles.rows), ("columns", machine.tiles.cols))
    )
    drift = machine.compensation.drift
    number = "any number" if machine.tiles.count is None else str(machine.tiles.count)
    facts = [
        ("hardware", f"{machine.name}: {machine.description}".removesuffix(": ")),
        ("source", machine.source),
        ("tiles", f"{number}, {tiles}"),
        ("cells", cells_text(machine)),
        ("converters", converters_text(machine)),
        ("without", ", ".join(machine.absent_noise)),
        ("faults of chips", faults_text(machine)),
        ("drift compensation", drift if isinstance(drift, str) else drift.type),
        *_healing_facts(report),
        *(("left out", f"{effect.name} ({effect.size}): {effect.text}") for effect in machine.effects_left_out),
        ("model", f"SHA-256 {plan.source} of graph and weights"),
        ("lhc", plan.lhc_version),
    ]
    return tuple((name, text) for name, text in facts if text)


def _healing_facts(report: Report) -> Iterator[tuple[str, str]]:
    """Copies of weights, what is corrected by which samples and when, and what both ask of the machine."""
    plan, compensation = report.plan, report.plan.hardware.compensation
    asks = []
    copies = [layer.copies for layer in plan.layers if layer.placement == "analog" and layer.copies > 1]
    if copies:
        layers = f"{len(copies)} of {counted(len(plan.analog), 'analog layer')}"
        yield "copies", f"tiles hold the weights of {layers} more than once, up to {max(copies)} times"
        rows = report.driven_rows
        if rows is not None:
            asks.append(f"{count(rows.copies)} rows of tiles driven per sample, {count(rows.one)} without copies")
    samples = _calibration_samples(plan)
    if samples:
        what = {"affine": "gain and offset", "offset": "offset", "none": "gain or offset, by layer,"}
        basis = f"{counted(samples, 'sample')} without labels over {counted(compensation.reads, 'read')}"
        yield (
            "calibration",
            f"{what[compensation.outputs]} of every column of every chip, on {basis}, {_when(compensation)}",
        )
        asks.append(f"a forward pass of {counted(samples, 'sample')} for every calibration of a chip")
    if asks:
        yield "asks of the machine", "; ".join(asks)


def _others_calibrated(plan: Plan) -> str:
    """Number of samples that only calibrated chips, where that was recorded."""
    if not plan.hardware.corrects_outputs:
        return ""
    healing = None if plan.outcome is None else plan.outcome.healing
    if healing is None:
        return "; any that calibrated chips were others"
    others = healing.calibration_samples
    return f", and {counted(others, 'other')} only calibrated chips" if others else ""


def _calibration_samples(plan: Plan) -> int:
    """Samples that chips were calibrated on; those that the hardware asks for where that was not recorded."""
    if not plan.hardware.corrects_outputs or not plan.analog:
        return 0
    healing = None if plan.outcome is None else plan.outcome.healing
    return plan.hardware.compensation.samples if healing is None else healing.calibration_samples


def _when(compensation: Compensation) -> str:
    """Times at which outputs are calibrated."""
    time = "" if compensation.time_s is None else time_text(compensation.time_s)
    return {
        "readout": "with every read-out of drift compensation, so at the time of inference",
        "programming": "once, at the first read",
        "age": f"once, {time} after the first read",
        "period": f"at the first read and every {time} after it",
    }[compensation.when]
