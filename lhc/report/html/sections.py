"""The sections below the first screen. A section whose data is missing is left out, and the last one says so."""

from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter

from lhc.plan import Outcome, Plan, Retrained, Sensitivity
from lhc.plan.summary import without_text
from lhc.report.charts.report_charts import noise_chart, own_drop, own_point, region_chart, training_chart
from lhc.report.document.page_content import (
    Column,
    PageSection,
    Value,
    as_number,
    as_text,
    cost_table,
    data_facts,
    joules,
    machine_facts,
    missing,
    page_table,
    reason_section,
    seconds,
)
from lhc.report.document.report import Costs, Report
from lhc.report.exports.bibtex import bibtex
from lhc.report.wording.feasible_region import boundary_lines, region_budget, region_cautions, region_rule
from lhc.report.wording.infeasibility import helped, infeasibility_facts
from lhc.report.wording.layers import (
    EFFECTS,
    attribution_notes,
    calibrations,
    effect_share,
    shown_damage,
    with_one_copy,
)
from lhc.report.wording.machine import all_digital, system_lines, times_of_digital
from lhc.report.wording.outcome import (
    against_given,
    budget_of_chips,
    budget_word,
    capitalized,
    draws_word,
    gain_text,
    samples_basis,
    training_steps,
)
from lhc.report.wording.robustness import (
    budget_of_margin,
    held_at,
    margin_line,
    other_samples,
    samples_of_front,
    unlike_decision,
)
from lhc.results import (
    AtTime,
    Attribution,
    Evaluation,
    FeasibleRegion,
    Front,
    FrontPoint,
    Infeasibility,
    LayerAttribution,
    RegionPoint,
    Robustness,
)
from lhc.support.number_formatting import (
    amount,
    counted,
    counted_samples,
    drop_range,
    drop_text,
    drop_unit,
    drop_value,
    field_text,
    level_text,
    metric_value,
    number_text,
    scale_text,
    share_text,
    time_text,
)


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
        yield _front(report.front, report)
    if report.over_time:
        yield _times(report.over_time, plan.outcome, report.over_time_type)
    if report.robustness is not None:
        yield _robustness(report.robustness, plan.outcome)
    if report.region is not None:
        yield _region(report.region)
    if report.costs is not None:
        yield _costs(report, report.costs)
    if report.attribution is not None:
        yield _attribution(report.attribution, plan)
    if plan.outcome is not None and plan.outcome.retrained is not None and plan.outcome.retrained.curve:
        yield _training(plan.outcome, plan.outcome.retrained)
    if plan.outcome is not None:
        yield PageSection("data", "Data and statistics", facts=data_facts(plan))
    yield _origin(report)
    yield _cite(plan)
    lacking = missing(report)
    if lacking:
        yield PageSection("missing", "Not in this report", items=lacking)


def _drop(found: Evaluation | None, drop_type: str = "absolute") -> Value:
    if found is None:
        return as_number(None)
    return as_number(found.drop, lambda drop: drop_value(drop, found.percent or drop_type == "relative"))


def _bounds(found: Evaluation | None, drop_type: str = "absolute", generalized: bool = False) -> Value:
    """Interval of the mean drop over chips; over chips and samples where that decides."""
    interval = None if found is None else found.deciding(generalized)
    if found is None or interval is None:
        return as_text("")
    return as_text(drop_range(interval, found.percent or drop_type == "relative"))


def _basis(found: Evaluation) -> str:
    """Chips, samples and seed of an evaluation."""
    return f"{counted(found.draws, 'chip')}, {counted_samples(found.samples, found.documents)}, seed {found.seed}"


def _front(front: Front, report: Report) -> PageSection:
    own, outcome = own_point(front, report), report.plan.outcome
    columns: list[Column[FrontPoint]] = [
        ("Analog layers", True, lambda p: as_number(len(p.analog))),
        ("Analog MACs", True, lambda p: as_number(p.analog_mac_fraction, share_text)),
        ("Tiles", True, lambda p: as_number(p.tiles)),
    ]
    points = front.points if own is None else (*(p for p in front.points if not _reads_alike(p, own)), own)
    points = tuple(sorted(points, key=lambda point: point.analog_mac_fraction))
    if any(p.latency_s is not None for p in front.points):
        columns.append(("Latency", True, lambda p: as_number(p.latency_s, seconds)))
    if any(p.energy_j is not None for p in front.points):
        columns.append(("Energy", True, lambda p: as_number(p.energy_j, joules)))
    columns.append((f"Estimated damage ({front.metric})", True, lambda p: as_number(p.damage, number_text)))
    if front.verified:
        percent, word = front.percent, front.drop_word
        decided = None if outcome is None else own_drop(outcome)

        def drop(p: FrontPoint) -> Value:
            if p is own and decided is not None:
                return as_number(decided[0], lambda value: drop_value(value, percent))
            return _drop(p.evaluation)

        def bounds(p: FrontPoint) -> Value:
            if p is own and decided is not None:
                return as_text("" if decided[1] is None else drop_range(decided[1], percent))
            return _bounds(p.evaluation)

        columns += [
            (f"Mean {word}", True, drop),
            ("Interval", False, bounds),
            (f"Estimated {word}", True, lambda p: as_number(p.predicted_drop, lambda drop: drop_value(drop, percent))),
        ]
    if own is not None:
        note = f"this placement{', as it was verified' if front.verified else ''}"
        columns.append(("Note", False, lambda p: as_text(note if p is own else "")))
    text = _sentence(samples_of_front(front, outcome))
    if any(row.damage is not None and row.damage.copies != row.copies for row in report.plan.layers):
        text += ("Estimated damage counts layers with other copies than measured in proportion to 1 / copies.",)
    if front.calibration is not None:
        text += (f"Estimates: {front.calibration}.",)
    bound = report.plan.hardware.tiles.count
    beyond = 0 if bound is None else sum(p.tiles > bound for p in points)
    if beyond:
        text += (f"The machine has {counted(bound or 0, 'tile')}: {counted(beyond, 'point')} cannot be had on it.",)
    table = page_table(_front_caption(front, report.plan), points, *columns)
    return PageSection("trade-off", "Trade-off", text, tables=(table,))


def _reads_alike(point: FrontPoint, own: FrontPoint) -> bool:
    """Whether an estimate is that of the report's own placement, whose row says more."""
    shown = attrgetter("analog_mac_fraction", "tiles", "damage")
    return point.evaluation is None and len(point.analog) == len(own.analog) and shown(point) == shown(own)


def _sentence(samples: str) -> tuple[str, ...]:
    """Sentence that samples are others than those of the decision."""
    return (f"Measured on {samples}.",) if samples else ()


def _front_caption(front: Front, plan: Plan) -> str:
    if not front.verified:
        few = f", for {with_one_copy(plan)} (dearer on tiles)" if with_one_copy(plan) else ""
        return (
            "By estimate, not measured: layers go analog in the order of damage per multiplication, and the damage that"
            f" each does alone is added up{few}."
        )
    found = front.verified[0].evaluation
    basis = "" if found is None else f"; {_basis(found)}"
    unit = " in points" if found is not None and found.percent else ""
    held_out = "samples that took no part in the estimate" if front.held_out else "the samples of the estimate"
    return f"Placements and their mean {front.drop_word}{unit}, measured on {held_out}{basis}."


def _times(times: Sequence[AtTime], outcome: Outcome | None, drop_type: str) -> PageSection:
    first = times[0].evaluation

    def value(number: float) -> str:
        return metric_value(number, first.percent)

    unit = drop_unit(first.percent, drop_type, first.metric)
    columns: list[Column[AtTime]] = [
        ("Time after the first read", True, lambda p: as_number(p.evaluation.t_s, time_text)),
        (capitalized(first.metric), True, lambda p: as_number(p.evaluation.mean, value)),
        (
            f"{level_text(first.confidence)} interval over chips",
            False,
            lambda p: as_text(" to ".join(map(value, p.evaluation.interval or ()))),
        ),
        (f"Mean {first.drop_word}{unit}", True, lambda p: _drop(p.evaluation, drop_type)),
    ]
    text = _sentence(other_samples(first, outcome))
    if any(point.gain is not None for point in times):
        columns.append(("Gain of compensation", True, _gain))
        text += ("Drift compensation multiplies outputs by the gain, and their noise with them.",)
    table = page_table(f"{_basis(first)}; digital {value(first.baseline)}.", times, *columns)
    return PageSection("time", "Over time", text, tables=(table,))


def _gain(point: AtTime) -> Value:
    return as_number(point.gain, lambda gain: gain_text(gain, point.gain_range))


def _robustness(found: Robustness, outcome: Outcome | None) -> PageSection:
    chips, drop_type = found.chips, found.drop_type
    table = page_table(
        f"Programming, read and output noise scaled together; {_basis(chips)}.",
        found.scales,
        ("Noise, times the hardware's", True, lambda s: as_number(s.scale, scale_text)),
        (
            f"Mean {chips.drop_word}{drop_unit(chips.percent, drop_type, chips.metric)}",
            True,
            lambda s: _drop(s.evaluation, drop_type),
        ),
        (
            f"{level_text(chips.confidence)} interval",
            False,
            lambda s: _bounds(s.evaluation, drop_type, found.generalized),
        ),
        ("Within the budget", False, lambda s: as_text(held_at(found, s.evaluation))),
    )
    worst = f"the worst {chips.drop_word}s {drop_text(max(chips.drops), chips.percent, drop_type)}"
    text = (
        f"{capitalized(margin_line(found, budget_of_margin(found, outcome)))}.",
        f"{capitalized(budget_of_chips(found))}; {worst}.",
        *([f"{capitalized(unlike_decision(found))}."] if found.differs else []),
        *_sentence(other_samples(chips, outcome)),
    )
    return PageSection("noise", "Noise margin", text, noise_chart(found), text[0], (table,))


def _region(found: FeasibleRegion) -> PageSection:
    """The machines that hold the budget, with those that were measured."""
    first, drop_type = found.example, found.drop_type
    columns: list[Column[RegionPoint]] = [
        (field.path, True, partial(_varied_value, path=field.path, place=place))
        for place, field in enumerate(found.fields)
    ]
    columns += [
        (
            f"Mean {first.drop_word}{drop_unit(first.percent, drop_type, first.metric)}",
            True,
            lambda p: _drop(p.evaluation, drop_type),
        ),
        (
            f"{level_text(first.confidence)} interval",
            False,
            lambda p: _bounds(p.evaluation, drop_type, found.generalized),
        ),
    ]
    if found.searched_anew:
        columns.append(("Analog MACs", True, lambda p: as_number(p.analog_mac_fraction, share_text)))
    columns.append(("Holds the budget", False, lambda p: as_text(p.verdict)))
    table = page_table(f"Machines that were measured; {_basis(first)}.", found.points, *columns)
    boundary = "; ".join(boundary_lines(found))
    text = (
        f"{capitalized(region_budget(found))}: {boundary}.",
        *(f"{capitalized(line)}." for line in (region_rule(found), *region_cautions(found))),
    )
    return PageSection("region", "What the machine must be", text, region_chart(found), text[0], (table,))


def _varied_value(point: RegionPoint, path: str, place: int) -> Value:
    return as_number(point.values[place], partial(field_text, path))


def _costs(report: Report, costs: Costs) -> PageSection:
    faster, less = times_of_digital(costs)
    whole, digital, side = costs.total, costs.all_digital, all_digital(report.plan)
    text = (
        f"One sample takes {amount(whole.latency_s, 's')} ({faster}; {amount(digital.latency_s, 's')} {side}) and"
        f" {amount(whole.energy_j, 'J')} ({less}; {amount(digital.energy_j, 'J')} {side})"
        f"{without_text(report.plan)}."
    )
    more = () if costs.system is None else (f"{capitalized('; '.join(system_lines(costs.system, report.plan)))}.",)
    note = (
        "These are figures of a model, not measurements. What it assumes is listed below, and what the machine's"
        " description brings, with its source where that gives one."
    )
    table = cost_table(costs, report.plan)
    return PageSection("costs", "Latency and energy", (text, *more, note), tables=(table,), items=costs.assumptions)


def _attribution(found: Attribution, plan: Plan) -> PageSection:
    effects = dict.fromkeys(effect for layer in found.layers.values() for effect in layer.effects)

    def column(effect: str) -> Column[tuple[str, LayerAttribution]]:
        return EFFECTS.get(effect, effect), True, lambda row: _effect(row[1], effect)

    def calibration_column(name: str, title: str) -> Column[tuple[str, LayerAttribution]]:
        return title, True, lambda row: _damage(getattr(row[1], name))

    table = page_table(
        f"{counted(found.draws, 'chip')}, {samples_basis(found)}, {time_text(found.t_s)} after the first read.",
        found.layers.items(),
        ("Layer", False, lambda row: as_text(plan.titles.get(row[0], row[0]))),
        (f"Damage ({found.metric})", True, lambda row: as_number(row[1].damage.mean, "{:.3g}".format)),
        *map(column, effects),
        ("without all", True, lambda row: as_number(row[1].rest.mean, "{:.2g}".format)),
        *(calibration_column(name, title) for name, title in calibrations(found).items()),
    )
    text = tuple(f"{capitalized(note)}." for note in attribution_notes(found))
    return PageSection("attribution", "Where the damage comes from", text, tables=(table,))


def _damage(found: Sensitivity | None) -> Value:
    return as_number(None) if found is None else Value("number", shown_damage(found), found.mean)


def _effect(layer: LayerAttribution, effect: str) -> Value:
    if effect not in layer.effects:
        return as_number(None)
    share = layer.share(effect)
    return Value("number", effect_share(layer, effect), layer.effects[effect].mean if share is None else share)


def _training(outcome: Outcome, trained: Retrained) -> PageSection:
    word = outcome.drop_word
    table = page_table(
        "The loss is the mean since the row before.",
        trained.curve,
        ("Step", True, lambda p: as_number(p.step)),
        (f"Loss ({trained.loss})", True, lambda p: as_number(p.loss, number_text)),
        (
            f"{capitalized(word)} at validation{drop_unit(outcome.percent, 'absolute', outcome.metric)}",
            True,
            lambda p: as_number(p.drop, lambda drop: drop_value(drop, outcome.percent)),
        ),
    )
    text = (
        f"{training_steps(trained)}, {counted(len(trained.layers), 'layer')} analog in training."
        f" {capitalized(against_given(outcome))}, on samples that train nothing."
    )
    return PageSection("training", "Learning curve", (text,), training_chart(trained, outcome), text, (table,))


def _infeasibility(found: Infeasibility, plan: Plan) -> PageSection:
    outcome = plan.outcome
    percent, drop_type = found.least.percent, "absolute" if outcome is None else outcome.drop_type
    unit, word = drop_unit(percent, drop_type, found.least.metric), found.least.drop_word
    facts = () if outcome is None else tuple(infeasibility_facts(found, outcome, plan))
    chip = "chip" if outcome is None else draws_word(outcome)
    table = page_table(
        "What was tried, measured on chips and samples of the verification.",
        found.remedies,
        ("Tried", False, lambda r: as_text(r.change)),
        ("Analog layers", True, lambda r: as_number(len(r.analog))),
        (f"Mean {word}{unit}", True, lambda r: _drop(r.evaluation, drop_type)),
        ("Interval", False, lambda r: _bounds(r.evaluation, drop_type)),
        (f"{capitalized(chip)}s", True, lambda r: as_number(r.evaluation.draws)),
        ("Budget", False, lambda r: as_text(budget_word(r.within))),
        ("Against the placement", False, lambda r: as_text(helped(r))),
    )
    met = outcome is not None and outcome.within_budget and not plan.analog
    title = "Why nothing is analog" if met else "Why the budget was not shown to be met"
    return PageSection("infeasible", title, tables=(table,) if found.remedies else (), facts=facts)


def _origin(report: Report) -> PageSection:
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    facts = [*machine_facts(report), *([("measured with", versions)] if versions else [])]
    made = report.plan.command
    known = any(made and command.split()[:2] == made.split()[:2] for command in report.commands)
    commands = report.commands if known or not made else (made, *report.commands)
    return PageSection(
        "origin", "Machine, versions, commands", facts=tuple(facts), commands=commands, items=report.notes
    )


def _cite(plan: Plan) -> PageSection:
    text = "lhc, and the methods and models that this report rests on."
    return PageSection("cite", "Cite", (text,), commands=(bibtex(plan).rstrip(),))
