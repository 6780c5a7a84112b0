"""JSON documents, tables and lines of pareto, robustness and attribute."""

import glob
import shlex
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from lhc.cli.output import emit
from lhc.errors import UsageError
from lhc.measure.judge import Budget, Drop, parse_drop
from lhc.options.command_line import flags_of
from lhc.options.commands import ParetoOptions
from lhc.options.subjects import Chips, Data, MachineOptions, ReadTime
from lhc.report.kept_fronts import Answer, StoredFront, answer, read_fronts, store_front
from lhc.report.text import (
    EFFECTS,
    chips_text,
    drop_interval,
    drop_range,
    drop_text,
    drop_unit,
    drop_value,
    effect_share,
    gain_text,
    level_text,
    margin_cause,
    metric_value,
    number_text,
    scale_text,
    share_text,
    time_text,
    unlike_decision,
)
from lhc.results import Attribution, Evaluation, Front, FrontPoint, Robustness
from lhc.store import fingerprint
from lhc.support.tables import Table

__all__ = [
    "answer_budget",
    "attribution_document",
    "attribution_footer",
    "attribution_table",
    "front_document",
    "front_footer",
    "front_json",
    "front_table",
    "keep",
    "robustness_document",
    "robustness_footer",
    "robustness_table",
]

Document = dict[str, object]


def _dumped(kind: type[object], value: object) -> Document:
    document: Document = TypeAdapter(kind).dump_python(value, mode="json")
    return document


def front_document(front: Front) -> Document:
    """Of ``lhc pareto``."""
    return _dumped(Front, front)


def front_json(front: Front) -> bytes:
    """What ``--out`` writes."""
    return TypeAdapter(Front).dump_json(front, indent=1)


def front_table(front: Front) -> Table:
    """The verified points, by growing damage."""
    return _points_table(front, front.verified)


def _points_table(front: Front, chosen: Iterable[FrontPoint]) -> Table:
    evaluations = [point.evaluation for point in front.points if point.evaluation is not None]
    percent = any(found.percent for found in evaluations)
    unit = drop_unit(percent, "absolute", _metric(front))
    headers = [
        "layers",
        "MACs analog",
        "tiles",
        "ms",
        "µJ",
        f"estimated drop{unit}",
        f"verified drop{unit}",
        "interval",
    ]
    return Table(headers, [_front_row(point, percent) for point in chosen], right=range(7))


def _metric(front: Front) -> str:
    """What drops are of; sensitivities may be of another metric."""
    return next((point.evaluation.metric for point in front.verified if point.evaluation is not None), front.metric)


def _front_row(point: FrontPoint, percent: bool) -> list[str]:
    found = point.evaluation
    interval = None if found is None else found.drop_interval
    return [
        str(len(point.analog)),
        share_text(point.analog_mac_fraction),
        str(point.tiles),
        "-" if point.latency_s is None else number_text(1e3 * point.latency_s),
        "-" if point.energy_j is None else number_text(1e6 * point.energy_j),
        "-" if point.predicted_drop is None else drop_value(point.predicted_drop, percent),
        "-" if found is None else drop_value(found.drop, percent),
        "-" if interval is None else drop_range(interval, percent),
    ]


def front_footer(front: Front) -> str:
    """The lines under the table of ``lhc pareto``."""
    count = f"{len(front.verified)} of {len(front.points)} points of the front by estimate are verified"
    lines = [f"{count}; their intervals hold together{'' if front.held_out else '; not held out'}"]
    if front.calibration is not None:
        lines.append(str(front.calibration))
    return "\n".join(lines)


def keep(front: Front, source: str, asked: ParetoOptions, folder: Path) -> None:
    """Keep a front beside the results, with the options that name samples, hardware and seeds."""
    command = tuple(flags_of(asked, Data, MachineOptions, ReadTime, Chips))
    facts = {"command": list(command), "objective": front.objective, "limits": dict(front.limits)}
    store_front(folder, fingerprint(facts), StoredFront(source, str(asked.hardware), command, front))


def answer_budget(model: str, folder: Path, max_drop: Drop, objective: str | None, form: str) -> None:
    """Print the best placement that was verified within a budget, and how a better estimated one is verified.

    Raises:
        UsageError: nothing was measured for the model, nothing holds the budget, or it can be read in two ways.
    """
    value, percentage = parse_drop(max_drop)
    found = answer(read_fronts(folder, _source(model)), value, objective)
    front = found.stored.front
    percent = any(point.evaluation is not None and point.evaluation.percent for point in front.points)
    Budget(value, percentage=percentage).check_unit(_metric(front), percent)
    command = None if found.estimated is None else _command(model, found, found.estimated, max_drop)
    document: Document = {"max_drop": value, "hardware": found.stored.hardware, "command": command}
    for name, point in (("verified", found.verified), ("estimated", found.estimated)):
        document[name] = None if point is None else _dumped(FrontPoint, point)
    chosen = [point for point in (found.verified, found.estimated) if point is not None]
    lines = []
    if found.verified is not None:
        lines.append(f"verified within {max_drop}: {', '.join(found.verified.analog) or 'all digital'}")
    if command is not None:
        lines.append(f"estimated to be better; this verifies it:\n{command}")
    if not chosen:
        raise UsageError(f"no point of the front is shown or estimated to hold --max-drop {max_drop}")
    emit(document, _points_table(front, chosen), "\n".join(lines), form)


def _source(model: str) -> str:
    from lhc.onnx_io import load_model

    if Path(model).is_file():
        return load_model(model).source
    from lhc.models import zoo_entry

    return load_model(zoo_entry(model).model(None), label=model).source


def _command(model: str, found: Answer, point: FrontPoint, max_drop: Drop) -> str:
    """The command that verifies a placement: exactly these layers, judged against the budget."""
    layers = [part for name in point.analog for part in ("--include", glob.escape(name))]
    fixed = ["--strategy", "all-analog", "--max-drop", str(max_drop)]
    return shlex.join(["lhc", "partition", model, *found.stored.command, *fixed, *layers])


def robustness_document(found: Robustness) -> Document:
    """Of ``lhc robustness``."""
    return _dumped(Robustness, found)


def robustness_table(found: Robustness) -> Table:
    """Rows over time, then over noise."""
    rows = []
    for at in found.times:
        gain = "-" if at.gain is None else gain_text(at.gain, at.gain_range)
        rows.append([f"after {time_text(at.evaluation.t_s)}", *_drop_cells(at.evaluation, found), gain])
    for scale in found.scales:
        within = "within the budget" if scale.within else "not shown to be within"
        rows.append([f"noise x {scale_text(scale.scale)}, {within}", *_drop_cells(scale.evaluation, found), "-"])
    drops = drop_unit(found.chips.percent, found.drop_type, found.chips.metric)
    interval = f"{level_text(found.chips.confidence)} interval over chips{' and samples' if found.generalized else ''}"
    headers = ["condition", found.chips.metric, f"mean drop{drops}", interval, "compensation gain"]
    return Table(headers, rows, right=(1, 2))


def _drop_cells(found: Evaluation, whole: Robustness) -> list[str]:
    """Value, mean drop and its interval."""
    percent = _drop_in_percent(whole)
    interval = whole.interval(found)
    bounds = "-" if interval is None else drop_range(interval, percent)
    return [metric_value(found.mean, found.percent), drop_value(found.drop, percent), bounds]


def _drop_in_percent(found: Robustness) -> bool:
    return found.chips.percent or found.drop_type == "relative"


def robustness_footer(found: Robustness) -> str:
    """The margin in a sentence, and the spread over chips."""
    chips = found.chips

    def show(drop: float) -> str:
        return drop_text(drop, chips.percent, found.drop_type)

    bounds = min(chips.drops), max(chips.drops)
    spread = f"drops from {drop_interval(bounds, chips.percent, found.drop_type)}"
    budget = f"the budget of {show(found.max_drop)}"
    fails = "" if found.fails_at is None else f"; not shown at {scale_text(found.fails_at)}"
    held = f"{budget} is held up to {scale_text(found.margin)} times the noise"
    margin = held if found.margin else f"none, {budget} is not shown to be held"
    cause = margin_cause(found, show)
    digital = f"digital {chips.metric} {metric_value(chips.baseline, chips.percent)}"
    lines = (
        f"{digital}; {chips.samples} samples, seed {chips.seed}\n"
        f"the budget is of the mean over chips; {chips_text(found.chips_within, chips.draws)}"
        f" {time_text(chips.t_s)} after programming, {spread}\n"
        f"margin: {margin}{fails}"
    )
    return "\n".join([lines, *(line for line in (cause, unlike_decision(found)) if line)])


def attribution_document(found: Attribution) -> Document:
    """Of ``lhc attribute``."""
    return _dumped(Attribution, found)


def attribution_table(found: Attribution) -> Table:
    """One row a layer: damage, and what share of it goes away with each effect."""
    effects = list(next(iter(found.layers.values())).effects) if found.layers else []
    rows = [
        [
            found.titles.get(name, name),
            f"{one.damage.mean:.3g}",
            *(effect_share(one, effect) for effect in effects),
            f"{one.rest.mean:.2g}",
        ]
        for name, one in found.layers.items()
    ]
    headers = ["layer", found.metric, *(EFFECTS.get(effect, effect) for effect in effects), "without all"]
    return Table(headers, rows, right=range(1, len(headers)))


def attribution_footer(found: Attribution) -> str:
    """What the columns mean, and what they rest on."""
    return (
        f"{found.metric}: damage of the layer alone on tiles; then how much of it goes away without one effect,\n"
        f"in brackets where the {level_text(found.confidence)} interval holds 0; without all: what mapping alone does\n"
        f"{found.draws} draws, {found.samples} samples, {time_text(found.t_s)} after programming, seed {found.seed}"
    )
