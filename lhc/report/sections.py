"""The sections below the first screen. A section whose data is missing is left out, and the last one says so."""

from collections.abc import Iterator

from lhc.report.charts import noise_chart
from lhc.report.content import (
    Section,
    Table,
    Value,
    as_number,
    as_text,
    cost_rows,
    data_facts,
    machine_facts,
    missing,
    of_points,
    reason_section,
)
from lhc.report.document import Attribution, Costs, Front, OverTime, Report, Robustness
from lhc.report.wording import amount, duration, metric_value, times_of_digital

__all__ = ["sections"]


def sections(report: Report) -> tuple[Section, ...]:
    """All sections that the report has the data for, in their order."""
    return tuple(_sections(report))


def _sections(report: Report) -> Iterator[Section]:
    plan = report.plan
    if plan.layers:
        yield reason_section(plan)
    if report.front is not None:
        yield _front(report.front)
    if report.times is not None:
        yield _times(report.times)
    if report.robustness is not None:
        yield _robustness(report, report.robustness)
    if report.costs is not None:
        yield _costs(report, report.costs)
    if report.attribution is not None:
        yield _attribution(report.attribution)
    if plan.outcome is not None:
        yield Section("data", "Data and statistics", facts=data_facts(plan))
    yield _origin(report)
    lacking = missing(report)
    if lacking:
        yield Section("missing", "Not in this report", items=lacking)


def _front(front: Front) -> Section:
    judged = any(point.drop is not None for point in front.points)
    shown = [point for point in front.points if not judged or point.drop is not None]
    columns = [("Analog layers", True), ("Analog MACs", True)]
    if judged:
        columns += [("Drop", True), ("Interval", False), ("Basis", False)]
    if any(point.estimate is not None for point in shown):
        columns.append((f"Sum of sensitivities ({front.metric})", True))
    costs = [key for key in ("latency_s", "energy_j") if any(getattr(point, key) is not None for point in shown)]
    columns += [({"latency_s": "Latency", "energy_j": "Energy"}[key], True) for key in costs]
    columns.append(("", False))
    rows = []
    for point in shown:
        row = [as_number(point.analog), as_number(point.analog_macs, f"{100 * point.analog_macs:.1f} %")]
        if judged:
            drop, bounds = point.drop, point.interval
            row.append(as_number(drop, "" if drop is None else of_points([drop], front.percent)[0]))
            row.append(as_text("" if bounds is None else " to ".join(of_points(bounds, front.percent))))
            row.append(as_text("verified" if point.verified else "judged in the search"))
        if any(p.estimate is not None for p in shown):
            row.append(as_number(point.estimate, None if point.estimate is None else f"{point.estimate:.4g}"))
        for key in costs:
            value = getattr(point, key)
            row.append(as_number(value, None if value is None else amount(value, key[-1].upper().replace("S", "s"))))
        row.append(as_text("this placement" if point.chosen else ""))
        rows.append(tuple(row))
    if judged:
        caption = f"Placements and their mean drop of {front.metric}{' in points' if front.percent else ''}."
    else:
        caption = (
            "By estimate, not measured: layers go analog in the order of damage per multiplication, and the damage that"
            " each does alone is added up."
        )
    return Section("trade-off", "Trade-off", tables=(Table(caption, tuple(columns), tuple(rows)),))


def _times(times: OverTime) -> Section:
    how = times.how
    rows = []
    for point in times.points:
        bounds = "" if point.interval is None else " to ".join(metric_value(b, how.percent) for b in point.interval)
        row = [
            as_number(point.t_s, duration(point.t_s)),
            as_number(point.value, metric_value(point.value, how.percent)),
            as_text(bounds),
            as_number(point.drop, of_points([point.drop], how.percent)[0]),
        ]
        if any(p.gain is not None for p in times.points):
            row.append(as_number(point.gain, None if point.gain is None else f"{point.gain:.2f}"))
        rows.append(tuple(row))
    columns = [
        ("Time after programming", True),
        (how.metric.capitalize(), True),
        (f"{100 * how.confidence:.0f} % interval over chips", False),
        (f"Drop{' (points)' if how.percent else ''}", True),
    ]
    text: tuple[str, ...] = ()
    if any(point.gain is not None for point in times.points):
        columns.append(("Greatest gain", True))
        text = ("Drift compensation multiplies outputs by the gain shown, and their noise with them.",)
    caption = (
        f"{how.draws} chips, {how.samples} samples, seed {how.seed}; digital {metric_value(how.baseline, how.percent)}."
    )
    return Section("time", "Over time", text, tables=(Table(caption, tuple(columns), tuple(rows)),))


def _robustness(report: Report, found: Robustness) -> Section:
    outcome = report.plan.outcome
    percent = outcome is not None and (outcome.percent or outcome.drop_type == "relative")
    rows = [
        (
            as_number(level.scale, f"{level.scale:g}"),
            as_number(level.drop, of_points([level.drop], percent)[0]),
            as_text("" if level.interval is None else " to ".join(of_points(level.interval, percent))),
            as_text("within the budget" if level.within_budget else "not within the budget"),
        )
        for level in found.levels
    ]
    columns = (("Noise, times the hardware's", True), ("Drop", True), ("Interval", False), ("Budget", False))
    margin = (
        "The budget is not held at any measured scale."
        if found.margin is None
        else f"Margin: the budget is held up to {found.margin:g} times the noise of the hardware description."
    )
    chart = None if outcome is None else noise_chart(found, outcome)
    table = Table("All noise scaled together.", columns, tuple(rows))
    return Section("noise", "Noise margin", (margin,), chart, margin, (table,))


def _costs(report: Report, costs: Costs) -> Section:
    faster, less = times_of_digital(costs)
    whole, digital = costs.total, costs.all_digital
    text = (
        f"One sample takes {amount(whole.latency_s, 's')}, {faster} ({amount(digital.latency_s, 's')} all digital), and"
        f" {amount(whole.energy_j, 'J')}, {less} ({amount(digital.energy_j, 'J')} all digital)."
    )
    note = "These are figures of a model, not measurements. It assumes:"
    return Section(
        "costs", "Latency and energy", (text, note), tables=(cost_rows(costs, report.plan),), items=costs.assumptions
    )


def _attribution(found: Attribution) -> Section:
    effects = list(dict.fromkeys(effect for layer in found.layers for effect in layer.parts))
    columns = [("Layer", False), ("All effects", True), *((effect, True) for effect in effects)]
    rows: list[tuple[Value, ...]] = [
        (
            as_text(layer.name),
            as_number(layer.total, f"{layer.total:.3g}"),
            *(
                as_number(layer.parts.get(effect), f"{layer.parts[effect]:.3g}" if effect in layer.parts else None)
                for effect in effects
            ),
        )
        for layer in found.layers
    ]
    caption = (
        f"Damage ({found.metric}) of each layer, and how much of it goes away when one effect alone is switched off;"
        " parts need not add up."
    )
    return Section("attribution", "Where the damage comes from", tables=(Table(caption, tuple(columns), tuple(rows)),))


def _origin(report: Report) -> Section:
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    facts = [*machine_facts(report.plan), *([("measured with", versions)] if versions else [])]
    return Section(
        "origin", "Machine, versions, commands", facts=tuple(facts), commands=report.commands, items=report.notes
    )
