"""The sections below the first screen. A section whose data is missing is left out, and the last one says so."""

from collections.abc import Callable, Iterator, Sequence

from lhc.plan import Outcome, Plan, Retrained
from lhc.report.content import (
    Column,
    PageSection,
    PageTable,
    Value,
    as_number,
    as_text,
    cost_table,
    data_facts,
    machine_facts,
    missing,
    reason_section,
)
from lhc.report.document import Costs, Report
from lhc.report.figures import noise_chart, training_chart
from lhc.report.statements import other_samples, samples_of_front, times_of_digital
from lhc.report.text import (
    EFFECTS,
    amount,
    budget_of_margin,
    budget_text,
    drop_text,
    drop_unit,
    drop_value,
    effect_share,
    gain_text,
    level_text,
    metric_value,
    number_text,
    scale_text,
    share_text,
    time_text,
    unlike_decision,
)
from lhc.results import AtTime, Attribution, Evaluation, Front, FrontPoint, Infeasibility, LayerAttribution, Robustness

__all__ = ["sections"]


def sections(report: Report) -> tuple[PageSection, ...]:
    """All sections that the report has the data for, in their order."""
    return tuple(_sections(report))


def _sections(report: Report) -> Iterator[PageSection]:
    plan = report.plan
    if plan.layers:
        yield reason_section(plan)
    if report.infeasibility is not None:
        yield _infeasibility(report.infeasibility, plan)
    if report.front is not None:
        yield _front(report.front, plan)
    if report.over_time:
        yield _times(report.over_time, plan.outcome, report.over_time_type)
    if report.robustness is not None:
        yield _robustness(report.robustness, plan.outcome)
    if report.costs is not None:
        yield _costs(report, report.costs)
    if report.attribution is not None:
        yield _attribution(report.attribution, plan)
    if plan.outcome is not None and plan.outcome.retrained is not None and plan.outcome.retrained.curve:
        yield _training(plan.outcome, plan.outcome.retrained)
    if plan.outcome is not None:
        yield PageSection("data", "Data and statistics", facts=data_facts(plan))
    yield _origin(report)
    lacking = missing(report)
    if lacking:
        yield PageSection("missing", "Not in this report", items=lacking)


def _drop(found: Evaluation | None, drop_type: str = "absolute") -> Value:
    if found is None:
        return as_number(None)
    return as_number(found.drop, drop_value(found.drop, found.percent or drop_type == "relative"))


def _bounds(found: Evaluation | None, drop_type: str = "absolute", generalized: bool = False) -> Value:
    """Interval of the mean drop over chips; over chips and samples where that decides."""
    interval = None if found is None else found.sample_interval if generalized else found.drop_interval
    if found is None or interval is None:
        return as_text("")
    percent = found.percent or drop_type == "relative"
    return as_text(" to ".join(drop_value(bound, percent) for bound in interval))


def _basis(found: Evaluation) -> str:
    """Chips, samples and seed of an evaluation."""
    return f"{found.draws} chips, {found.samples} samples, seed {found.seed}"


def _front(front: Front, plan: Plan) -> PageSection:
    analog = plan.analog
    columns: list[tuple[Column, Callable[[FrontPoint], Value]]] = [
        (("Analog layers", True), lambda p: as_number(len(p.analog))),
        (("Analog MACs", True), lambda p: as_number(p.analog_mac_fraction, share_text(p.analog_mac_fraction))),
        (("Tiles", True), lambda p: as_number(p.tiles)),
    ]
    if any(p.latency_s is not None for p in front.points):
        columns.append((("Latency", True), lambda p: _amount(p.latency_s, "s")))
    if any(p.energy_j is not None for p in front.points):
        columns.append((("Energy", True), lambda p: _amount(p.energy_j, "J")))
    columns.append(
        ((f"Sum of sensitivities ({front.metric})", True), lambda p: as_number(p.damage, number_text(p.damage)))
    )
    if front.verified:
        columns += [
            (("Mean drop", True), lambda p: _drop(p.evaluation)),
            (("Interval", False), lambda p: _bounds(p.evaluation)),
            (("Estimated drop", True), lambda p: _estimate(p, front)),
        ]
    columns.append((("Note", False), lambda p: as_text("this placement" if analog == set(p.analog) else "")))
    rows = tuple(tuple(cell(point) for _, cell in columns) for point in front.points)
    table = PageTable(_front_caption(front), tuple(column for column, _ in columns), rows)
    text = _sentence(samples_of_front(front, plan.outcome))
    if front.calibration is not None:
        text += (f"Estimates: {front.calibration}.",)
    return PageSection("trade-off", "Trade-off", text, tables=(table,))


def _sentence(samples: str) -> tuple[str, ...]:
    """What says that samples are others than those of the decision."""
    return (f"Measured on {samples}.",) if samples else ()


def _front_caption(front: Front) -> str:
    if not front.verified:
        return (
            "By estimate, not measured: layers go analog in the order of damage per multiplication, and the damage that"
            " each does alone is added up."
        )
    found = front.verified[0].evaluation
    basis = "" if found is None else f"; {_basis(found)}"
    unit = " in points" if found is not None and found.percent else ""
    held_out = "samples that took no part in the estimate" if front.held_out else "the samples of the estimate"
    return f"Placements and their mean drop{unit}, measured on {held_out}{basis}."


def _amount(value: float | None, unit: str) -> Value:
    return as_number(value, None if value is None else amount(value, unit))


def _estimate(point: FrontPoint, front: Front) -> Value:
    found = front.verified[0].evaluation
    if point.predicted_drop is None or found is None:
        return as_number(None)
    return as_number(point.predicted_drop, drop_value(point.predicted_drop, found.percent))


def _times(times: Sequence[AtTime], outcome: Outcome | None, drop_type: str) -> PageSection:
    first = times[0].evaluation
    columns: list[tuple[Column, Callable[[AtTime], Value]]] = [
        (("Time after programming", True), lambda p: as_number(p.evaluation.t_s, time_text(p.evaluation.t_s))),
        (
            (first.metric.capitalize(), True),
            lambda p: as_number(p.evaluation.mean, metric_value(p.evaluation.mean, first.percent)),
        ),
        ((f"{level_text(first.confidence)} interval over chips", False), lambda p: _values(p.evaluation)),
        (
            (f"Mean drop{drop_unit(first.percent, drop_type, first.metric)}", True),
            lambda p: _drop(p.evaluation, drop_type),
        ),
    ]
    text = _sentence(other_samples(first, outcome))
    if any(point.gain is not None for point in times):
        columns.append((("Gain of compensation", True), _gain))
        text += ("Drift compensation multiplies outputs by the gain, and their noise with them.",)
    rows = tuple(tuple(cell(point) for _, cell in columns) for point in times)
    caption = f"{_basis(first)}; digital {metric_value(first.baseline, first.percent)}."
    return PageSection("time", "Over time", text, tables=(PageTable(caption, tuple(c for c, _ in columns), rows),))


def _values(found: Evaluation) -> Value:
    return as_text(
        "" if found.interval is None else " to ".join(metric_value(bound, found.percent) for bound in found.interval)
    )


def _gain(point: AtTime) -> Value:
    if point.gain is None:
        return as_number(None)
    return as_number(point.gain, gain_text(point.gain, point.gain_range))


def _robustness(found: Robustness, outcome: Outcome | None) -> PageSection:
    rows = tuple(
        (
            as_number(scale.scale, scale_text(scale.scale)),
            _drop(scale.evaluation, found.drop_type),
            _bounds(scale.evaluation, found.drop_type, found.generalized),
            as_text("within the budget" if scale.within else "not shown to be within the budget"),
        )
        for scale in found.scales
    )
    chips = found.chips
    interval = f"{level_text(chips.confidence)} interval"
    columns = (
        ("Noise, times the hardware's", True),
        (f"Mean drop{drop_unit(chips.percent, found.drop_type, chips.metric)}", True),
        (interval, False),
        ("Budget", False),
    )
    budget = budget_of_margin(found, outcome)
    margin = f"Margin: shown to hold {budget} up to {scale_text(found.margin)} x the noise of the hardware description"
    fails = "" if found.fails_at is None else f", and not at {scale_text(found.fails_at)} x"
    worst = drop_text(max(chips.drops), chips.percent, found.drop_type)
    within = share_text(found.chips_within, 0)
    text = (
        f"{margin if found.margin else f'No margin: {budget} is not shown to be held'}{fails}.",
        f"Of {chips.draws} chips {within} hold the budget one by one; the worst drops {worst}.",
        *([f"{unlike_decision(found).capitalize()}."] if found.differs else []),
        *_sentence(other_samples(chips, outcome)),
    )
    table = PageTable(f"Programming, read and output noise scaled together; {_basis(chips)}.", columns, rows)
    return PageSection("noise", "Noise margin", text, noise_chart(found), text[0], (table,))


def _costs(report: Report, costs: Costs) -> PageSection:
    faster, less = times_of_digital(costs)
    whole, digital = costs.total, costs.all_digital
    text = (
        f"One sample takes {amount(whole.latency_s, 's')} ({faster}; {amount(digital.latency_s, 's')} all digital) and"
        f" {amount(whole.energy_j, 'J')} ({less}; {amount(digital.energy_j, 'J')} all digital)."
    )
    note = "These are figures of a model, not measurements. What it assumes is listed below."
    table = cost_table(costs, report.plan)
    return PageSection("costs", "Latency and energy", (text, note), tables=(table,), items=costs.assumptions)


def _attribution(found: Attribution, plan: Plan) -> PageSection:
    titles = plan.titles
    effects = list(dict.fromkeys(effect for layer in found.layers.values() for effect in layer.effects))
    names = [(EFFECTS.get(effect, effect), True) for effect in effects]
    columns = (("Layer", False), (f"Damage ({found.metric})", True), *names, ("without all", True))
    rows = tuple(
        (
            as_text(titles.get(name, name)),
            as_number(layer.damage.mean, f"{layer.damage.mean:.3g}"),
            *(_effect(layer, effect) for effect in effects),
            as_number(layer.rest.mean, f"{layer.rest.mean:.2g}"),
        )
        for name, layer in found.layers.items()
    )
    text = (
        "Each layer is analog alone, then with one effect of the tiles switched off: how much of the damage goes away."
        " Effects interact, so shares need not add up; in brackets where the interval holds 0. What is left without"
        " all of them is what mapping onto tiles alone does."
    )
    caption = f"{found.draws} chips, {found.samples} samples, {time_text(found.t_s)} after programming."
    return PageSection(
        "attribution", "Where the damage comes from", (text,), tables=(PageTable(caption, columns, rows),)
    )


def _effect(layer: LayerAttribution, effect: str) -> Value:
    if effect not in layer.effects:
        return as_number(None)
    share = layer.share(effect)
    return as_number(layer.effects[effect].mean if share is None else share, effect_share(layer, effect))


def _training(outcome: Outcome, trained: Retrained) -> PageSection:
    rows = tuple(
        (
            as_number(point.step),
            as_number(point.loss, None if point.loss is None else number_text(point.loss)),
            as_number(point.drop, drop_value(point.drop, outcome.percent)),
        )
        for point in trained.curve
    )
    unit = drop_unit(outcome.percent, "absolute", outcome.metric)
    columns = (("Step", True), (f"Loss ({trained.loss})", True), (f"Drop at validation{unit}", True))
    text = (
        f"{trained.steps} steps of {trained.batch_size} samples, {len(trained.layers)} layers analog in training. Drops"
        " are against the network as it was given, on samples that train nothing."
    )
    caption = "The loss is the mean since the row before."
    chart = training_chart(trained, outcome)
    return PageSection("training", "Learning curve", (text,), chart, text, (PageTable(caption, columns, rows),))


def _infeasibility(found: Infeasibility, plan: Plan) -> PageSection:
    outcome, titles = plan.outcome, plan.titles
    percent, drop_type = found.least.percent, "absolute" if outcome is None else outcome.drop_type
    share = percent or drop_type == "relative"
    unit = drop_unit(percent, drop_type, found.least.metric)
    layers = f"{len(found.analog)} analog layer{'' if len(found.analog) == 1 else 's'}"
    facts = [
        ("least drop reachable", drop_text(found.least.drop, percent, drop_type)),
        ("nearest budget", f"--max-drop {budget_text(found.nearest_budget, share)} is what the {layers} hold"),
    ]
    if found.in_the_way:
        facts.append(("in the way", ", ".join(titles.get(name, name) for name in found.in_the_way)))
    if found.without is not None:
        facts.append(("with these digital", f"mean drop {drop_text(found.without.drop, percent, drop_type)}"))
    rows = tuple(
        (
            as_text(remedy.change),
            as_number(len(remedy.analog)),
            _drop(remedy.evaluation, drop_type),
            _bounds(remedy.evaluation, drop_type),
            as_text("within the budget" if remedy.within else "not shown to be within the budget"),
        )
        for remedy in found.remedies
    )
    columns = (
        ("Change", False),
        ("Analog layers", True),
        (f"Mean drop{unit}", True),
        ("Interval", False),
        ("Budget", False),
    )
    tables = (PageTable("What would help, measured.", columns, rows),) if rows else ()
    met = outcome is not None and outcome.within_budget and not plan.analog
    title = "Why nothing is analog" if met else "Why the budget cannot be met"
    return PageSection("infeasible", title, tables=tables, facts=tuple(facts))


def _origin(report: Report) -> PageSection:
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    facts = [*machine_facts(report.plan), *([("measured with", versions)] if versions else [])]
    return PageSection(
        "origin", "Machine, versions, commands", facts=tuple(facts), commands=report.commands, items=report.notes
    )
