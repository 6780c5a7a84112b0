"""Tables of what was measured, and the lines below them: run, pareto, robustness, attribute."""

from collections.abc import Iterable, Iterator, Sequence

from lhc.passes import STRATEGIES
from lhc.plan import Conformance, Outcome
from lhc.plan.recurrent_steps import by_title
from lhc.report.wording.feasible_region import (
    boundary_lines,
    region_basis,
    region_budget,
    region_cautions,
    region_rule,
)
from lhc.report.wording.layers import (
    EFFECTS,
    METRIC_NAMES,
    attribution_notes,
    calibrations,
    effect_share,
    shown_damage,
)
from lhc.report.wording.outcome import (
    agreement_text,
    budget_for,
    budget_of_chips,
    comparable,
    gain_text,
    points,
    samples_basis,
    shown_kind,
    within_budget,
)
from lhc.report.wording.robustness import (
    held_at,
    held_word,
    margin_cause,
    margin_line,
    unlike_decision,
)
from lhc.results import (
    Attribution,
    Evaluation,
    FeasibleRegion,
    Front,
    FrontPoint,
    Robustness,
    SensitivityTable,
)
from lhc.support.number_formatting import (
    counted,
    counted_samples,
    drop_interval,
    drop_range,
    drop_text,
    drop_unit,
    drop_value,
    field_text,
    level_text,
    metric_value,
    millionths,
    scale_text,
    share_text,
    time_text,
)
from lhc.support.tables import Table


def basis_text(found: SensitivityTable | Attribution) -> str:
    """Basis of the figures: the line under the table of ``lhc sensitivity``."""
    after = f"{time_text(found.t_s)} after the first read"
    samples = samples_basis(found)
    said = f"{counted(found.draws, 'draw')}, {samples}, {after}, seed {found.seed}"
    if not isinstance(found, SensitivityTable):
        return said
    named = METRIC_NAMES.get(found.metric, found.metric)
    alone = f"{found.metric}: {named}, the layer alone on tiles with one copy of its weights; larger is worse"
    return f"{alone}\n{found.basis}\n{said}"


def evaluation_table(results: Sequence[Evaluation], outcome: Outcome | None = None) -> Table:
    """Rows of ``lhc run``, one a time; ``outcome``: of the placement that was run, whose budget is asked after."""
    first, rows = results[0], []
    kind = shown_kind(first, outcome)
    share = first.percent or kind == "relative"
    generalized = outcome is not None and outcome.generalized
    held = [within_budget(e, outcome) for e in results]
    for e, within in zip((e.of_kind("absolute", kind) for e in results), held, strict=True):
        bounds = "-" if e.interval is None else f"[{', '.join(metric_value(b, e.percent) for b in e.interval)}]"
        mean, std = (metric_value(value, e.percent) for value in (e.mean, e.std))
        lost = e.deciding(generalized)
        budget = None if within is None or outcome is None else budget_for(e, outcome, kind)
        drops = [drop_value(e.drop, share, budget=budget), "-" if lost is None else drop_range(lost, share, budget)]
        word = [] if budget is None else [held_word(lost, budget)]
        rows.append([time_text(e.t_s), mean, std, bounds, *drops, *word])
    drop = f"{first.drop_word}{drop_unit(first.percent, kind, first.metric)}"
    interval = f"{level_text(first.confidence)} interval over chips"
    of_drop = f"interval of the {first.drop_word}{' over chips and samples' if generalized else ''}"
    headers = ["time", first.metric, "std", interval, drop, of_drop]
    if outcome is not None and held[0] is not None:
        allowed = budget_for(first, outcome, kind)
        budget_here = drop_text(allowed, first.percent, kind, outcome.max_drop)
        headers.append(f"holds a budget of {budget_here}")
    return Table(headers, rows, right=(0, 1, 2, 4), spare=(2, 3))


def evaluation_footer(
    results: Sequence[Evaluation], outcome: Outcome | None = None, checked: Conformance | None = None
) -> str:
    """The lines under the table of ``lhc run``; ``checked``: how the emulation agrees with its definition."""
    first = results[0]
    of = f" of the network that {first.drop_word}s are against" if first.against else ""
    digital = f"digital {first.metric}{of} {metric_value(first.baseline, first.percent)}"
    lines = [f"{digital}; {counted(first.draws, 'draw')}, {samples_basis(first)}, seed {first.seed}"]
    lines += _when_calibrated(results)
    half = 0.5 / first.samples
    if any(e.percent and e.std < half and _has_width(e) for e in results):
        lines.append(f"intervals take the std as at least {metric_value(half, True)}, half a sample: less is not seen")
    if outcome is not None and outcome.metric == first.metric:
        lines += _beside_verdict(first, outcome)
    if emulation := agreement_text(checked, first.engine, first.engine_reason):
        lines.append(emulation)
    return "\n".join(lines)


def _has_width(found: Evaluation) -> bool:
    """Whether the interval over chips has two different bounds as the table shows them, and not by rounding alone."""
    return found.interval is not None and len({metric_value(bound, found.percent) for bound in found.interval}) > 1


def _when_calibrated(results: Sequence[Evaluation]) -> list[str]:
    """Note on figures at several times of chips that were calibrated at each of them."""
    anew = len(results) > 1 and all(one.calibrated and one.calibrated_at_s == one.t_s for one in results)
    ages = "'lhc compare --ages' shows how a calibration ages"
    return [f"chips are calibrated anew at every time; {ages}"] if anew else []


def _beside_verdict(found: Evaluation, outcome: Outcome) -> Iterator[str]:
    """Comparison of these figures with the verdict of the placement's plan."""
    word = outcome.drop_word
    verdict = f"{points(outcome, outcome.drop)} on {counted_samples(outcome.samples, outcome.documents)}"
    if comparable(found, outcome):
        yield (
            f"the budget is compared with the upper bound of the {word}, at each time alone; the plan's verdict stays:"
            f" a {word} of {verdict}"
        )
    elif found.against is None:
        given = metric_value(outcome.baseline, outcome.percent)
        yield (
            f"{word}s are against the weights of this file, which were trained; the plan's verdict and budget are"
            f" against the network as it was given ({given}), with a {word} of {verdict}: not compared (--against and"
            " that network does)"
        )
    else:
        yield (
            f"{word}s are against another network than the plan's verdict, a {word} of {verdict}, and its budget: not"
            " compared"
        )
    kind = STRATEGIES.get(outcome.strategy)
    if outcome.retrained is None and kind is not None and not kind.searches:
        return
    what = "search or training" if outcome.retrained is not None else "search"
    chips = f"; chips of seed {found.seed} may have guided it too (--seed takes others)"
    chips = chips if found.seed == outcome.seed else ""
    if found.skipped is not None and found.skipped == outcome.data and outcome.retrained is None:
        yield (
            "the plan was made with the samples that --skip leaves out: unless the data repeats some, none of these"
            f" guided its {what}{chips.replace(' too', '')}"
        )
    elif found.data != outcome.data:
        yield f"samples differ from those that the plan was made with; some of them may have guided its {what}{chips}"
    elif outcome.samples < found.samples:
        others = outcome.held_out or outcome.retrained is not None
        guided = f"others of them guided its {what}" if others else f"they guided its {what} too"
        yield (
            f"that verdict is of {outcome.samples} of these samples; {guided}, so {word}s here may be too small{chips}"
        )
    elif not outcome.held_out:
        yield f"these samples guided its {what} too, so {word}s here may be too small{chips}"


def front_table(front: Front, chosen: Iterable[FrontPoint] | None = None) -> Table:
    """Points of a front: those of ``chosen``, else the verified ones, by growing damage."""
    unit = drop_unit(front.percent, "absolute", front.drop_metric)
    drops = [f"{kind} {front.drop_word}{unit}" for kind in ("estimated", "verified")]
    rows = [_front_row(point, front.percent) for point in (front.verified if chosen is None else chosen)]
    headers = ["layers", "MACs analog", "tiles", "µs", "µJ", *drops, "interval"]
    return Table(headers, rows, right=range(7), spare=(5, 2))


def _front_row(point: FrontPoint, percent: bool) -> list[str]:
    found = point.evaluation
    interval = None if found is None else found.drop_interval
    return [
        str(len(point.analog)),
        share_text(point.analog_mac_fraction),
        str(point.tiles),
        millionths(point.latency_s),
        millionths(point.energy_j),
        "-" if point.predicted_drop is None else drop_value(point.predicted_drop, percent),
        "-" if found is None else drop_value(found.drop, percent),
        "-" if interval is None else drop_range(interval, percent),
    ]


def front_footer(front: Front) -> str:
    """The lines under the table of ``lhc pareto``."""
    count = f"{len(front.verified)} of {len(front.points)} points of the front by estimate are verified"
    lines = [f"{count}; their intervals hold together{'' if front.held_out else '; not held out'}"]
    if any(point.energy_j is not None for point in front.points):
        lines.append("µs and µJ are estimates of the cost model")
    return "\n".join([*lines, *([] if front.calibration is None else [str(front.calibration)])])


def robustness_table(found: Robustness) -> Table:
    """Rows over time, then over noise."""
    rows = []
    for at in found.times:
        gain = "-" if at.gain is None else gain_text(at.gain, at.gain_range)
        rows.append([f"after {time_text(at.evaluation.t_s)}", *_drop_cells(at.evaluation, found), gain])
    rows += [[f"noise x {scale_text(at.scale)}", *_drop_cells(at.evaluation, found), "-"] for at in found.scales]
    chips = found.chips
    budget = drop_text(found.max_drop, chips.percent, found.drop_type, found.max_drop)
    drop = f"mean {chips.drop_word}{drop_unit(chips.percent, found.drop_type, chips.metric)}"
    over = "programmings of one chip" if found.one_chip else "chips"
    interval = f"{level_text(chips.confidence)} interval over {over}{' and samples' if found.generalized else ''}"
    headers = ["condition", chips.metric, drop, interval, f"holds a budget of {budget}", "compensation gain"]
    return Table(headers, rows, right=(1, 2), spare=(5, 1))


def _drop_cells(found: Evaluation, whole: Robustness) -> list[str]:
    """Value, mean drop, its interval, and whether that is within the budget."""
    percent = whole.chips.percent or whole.drop_type == "relative"
    interval = whole.interval(found)
    bounds = "-" if interval is None else drop_range(interval, percent)
    return [metric_value(found.mean, found.percent), drop_value(found.drop, percent), bounds, held_at(whole, found)]


def robustness_footer(found: Robustness) -> str:
    """The margin in a sentence, and the spread over chips."""
    chips = found.chips

    def show(drop: float) -> str:
        return drop_text(drop, chips.percent, found.drop_type)

    spread = drop_interval((min(chips.drops), max(chips.drops)), chips.percent, found.drop_type)
    after = f"{time_text(chips.t_s)} after the first read, {chips.drop_word}s from {spread}"
    digital = f"digital {chips.metric} {metric_value(chips.baseline, chips.percent)}"
    lines = (
        f"{digital}; {samples_basis(chips)}, seed {chips.seed}",
        f"{budget_of_chips(found)} {after}",
        margin_line(found, f"the budget of {show(found.max_drop)}"),
        margin_cause(found, show),
        unlike_decision(found),
        *_when_calibrated([at.evaluation for at in found.times]),
    )
    return "\n".join(line for line in lines if line)


def region_table(found: FeasibleRegion) -> Table:
    """One row a machine that was measured."""
    first = found.example
    percent = first.percent or found.drop_type == "relative"
    rows = []
    for point in found.points:
        one, cells = point.evaluation, ["NaN", "-", "-"]
        if one is not None:
            interval = one.deciding(found.generalized)
            bounds = "-" if interval is None else drop_range(interval, percent)
            cells = [metric_value(one.mean, one.percent), drop_value(one.drop, percent), bounds]
        share = [share_text(point.analog_mac_fraction)] if found.searched_anew else []
        values = (field_text(field.path, at) for field, at in zip(found.fields, point.values, strict=True))
        rows.append([*values, *cells, *share, point.verdict])
    over = f"{level_text(first.confidence)} interval over chips{' and samples' if found.generalized else ''}"
    drop = f"mean {first.drop_word}{drop_unit(first.percent, found.drop_type, first.metric)}"
    analog = ["MACs analog"] if found.searched_anew else []
    names = [field.path for field in found.fields]
    headers = [*names, first.metric, drop, over, *analog, f"holds {region_budget(found)}"]
    return Table(headers, rows, right=[i for i in range(len(headers) - 1) if headers[i] != over], spare=(len(names),))


def region_footer(found: FeasibleRegion) -> str:
    """The boundary in sentences, and what it rests on."""
    return "\n".join([*boundary_lines(found), region_basis(found), region_rule(found), *region_cautions(found)])


def attribution_table(found: Attribution) -> Table:
    """One row a layer: damage, and what share of it goes away with each effect."""
    effects = list(next(iter(found.layers.values())).effects) if found.layers else []
    rows = []
    for title, one in by_title(found.layers, found.titles).items():
        shares = (effect_share(one, effect) for effect in effects)
        own = [title, f"{one.damage.mean:.3g}", *shares, f"{one.rest.mean:.2g}"]
        rows.append([*own, *(shown_damage(getattr(one, name)) for name in calibrations(found))])
    headers = ["layer", found.metric, *(EFFECTS.get(effect, effect) for effect in effects), "without all"]
    headers += calibrations(found).values()
    return Table(headers, rows, right=range(1, len(headers)), spare=range(len(headers) - 1, len(effects) + 1, -1))


def attribution_footer(found: Attribution) -> str:
    """Meaning and basis of the columns."""
    return "\n".join([*attribution_notes(found), basis_text(found)])
