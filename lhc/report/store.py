"""Store of reports and fronts in the folder of results, so that they are made and answered without measuring again.

Reports: one document a plan, named by the SHA-256 of the plan. What a later command measures of the same plan is put
in, and what is there stays. Fronts are kept to answer new budgets from.
"""

import glob
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from lhc.errors import ConfigError, UsageError
from lhc.hardware import Hardware
from lhc.measure.budget_test import Drop
from lhc.options.by_command import ParetoOptions
from lhc.options.declaration.command_text import flags_of
from lhc.options.shared import (
    Chips,
    CopiesOptions,
    Data,
    Emulating,
    GoalOptions,
    MachineOptions,
    ModelForm,
    Ranking,
    ReadTime,
    Selection,
)
from lhc.pipeline.inputs.hardware_choice import machine_of
from lhc.plan import Outcome, Plan
from lhc.report.document.report import Report
from lhc.report.exports.formats import parse_report
from lhc.report.wording.outcome import network_against, of_budget, samples_basis
from lhc.results import AtTime, Evaluation, Front, FrontPoint
from lhc.store import ResultCache, fingerprint
from lhc.support.number_formatting import counted, drop_text, metric_value, time_text

_REPORT = "report"


def _name(plan: Plan) -> str:
    return sha256(plan.model_dump_json().encode()).hexdigest()


def store_report(work_dir: Path, report: Report) -> Report:
    """Put a report with those of earlier commands on the same plan, and give back what they say together.

    Raises:
        ConfigError: an earlier one was written by another version of lhc.
        LhcError: the disk is full.
    """
    whole = report

    def put_in(earlier: bytes | None) -> bytes:
        nonlocal whole
        whole = merged(None if earlier is None else parse_report(earlier, str(work_dir)), report)
        return whole.to_json().encode()

    with ResultCache(work_dir) as cache:
        cache.update(_REPORT, _name(report.plan), put_in)
    return whole


def stored_report(work_dir: Path, plan: Plan) -> Report | None:
    """Stored report of exactly this plan; None where there is none.

    Raises:
        ConfigError: another version of lhc wrote it.
    """
    with ResultCache(work_dir) as cache:
        found = cache.documents(_REPORT, _name(plan))
    return parse_report(found[0], str(work_dir)) if found else None


def with_stored(work_dir: Path, report: Report) -> Report:
    """A report with what was measured of the same plan before; a warning where that cannot be read."""
    try:
        return merged(stored_report(work_dir, report.plan), report)
    except ConfigError as error:
        lost = f"what was measured of it before cannot be read: {error}"
        return report.model_copy(update={"warnings": (*report.warnings, lost)})


def newest_report(work_dir: Path) -> tuple[Report, int]:
    """The report that was put in last, and how many there are.

    Raises:
        UsageError: there is none.
        ConfigError: another version of lhc wrote it.
    """
    with ResultCache(work_dir) as cache:
        found = cache.documents(_REPORT)
    if not found:
        raise UsageError(f"{work_dir}: holds no report; 'lhc partition --work-dir {work_dir}' puts one there")
    return parse_report(found[0], str(work_dir)), len(found)


def merged(old: Report | None, new: Report) -> Report:
    """Two reports of one plan as one: what the new one measured counts, what only the old one has stays.

    Raises:
        ConfigError: they are of different plans.
    """
    if old is None:
        return new
    if old.plan != new.plan:
        raise ConfigError("two reports of different plans cannot become one")
    times, apart = _one_table(old.times, new.times, new.plan.outcome)
    return new.model_copy(
        update={
            "costs": new.costs or old.costs,
            "front": old.front if old.front is not None and old.front.verified and not _measured(new) else new.front,
            "times": times,
            "robustness": new.robustness or old.robustness,
            "region": new.region or old.region,
            "attribution": new.attribution or old.attribution,
            "infeasibility": new.infeasibility or old.infeasibility,
            "notes": tuple(dict.fromkeys((*old.notes, *new.notes, *apart))),
            "versions": new.versions or old.versions,
            "commands": tuple(dict.fromkeys((*old.commands, *new.commands))),
        }
    )


def _one_table(
    old: tuple[AtTime, ...], new: tuple[AtTime, ...], outcome: Outcome | None
) -> tuple[tuple[AtTime, ...], list[str]]:
    """The points that stand in one table, by time, and what is said of others.

    A table is of one metric, the same samples and chips, against one network. Of two series the one that can be
    held against the budget is kept, else the one with more times, else the new one.
    """
    bases = {_basis(point) for point in new}
    if all(_basis(point) in bases for point in old) or not new:
        times = {point.evaluation.t_s: point for point in (*old, *new)}
        return tuple(times[t] for t in sorted(times)), []
    judged, judging = (of_budget(series[0].evaluation, outcome) for series in (old, new))
    kept, other = (old, new) if (judged, len(old)) > (judging, len(new)) else (new, old)
    told = () if kept is new and judged == judging else other
    return kept, [_apart(point.evaluation, outcome) for point in told]


def _apart(found: Evaluation, outcome: Outcome | None) -> str:
    """A point that is not in the table over time, with what it is against and rests on."""
    lost = f"{drop_text(found.drop, found.percent, 'absolute')} against {network_against(found, outcome)}"
    basis = f"{samples_basis(found)}, {counted(found.draws, 'draw')}"
    digital = f"digital {found.metric} {metric_value(found.baseline, found.percent)}"
    point = f"{time_text(found.t_s)}: {found.drop_word} {lost} ({basis}, {digital})"
    return f"measured apart from the series over time: {point}"


def _basis(point: AtTime) -> tuple[object, ...]:
    """Properties that figures over time must share to stand in one table."""
    found = point.evaluation
    of_samples = found.samples, found.data, found.skipped, found.calibrated
    return found.metric, found.baseline, found.against, found.draws, found.seed, found.confidence, *of_samples


def _measured(report: Report) -> bool:
    return report.front is not None and bool(report.front.verified)


_FRONT = "front"


@dataclass(frozen=True)
class StoredFront:
    """A front and what it was measured with.

    Attributes:
        source: hash of the network.
        hardware: what the user named, a preset or a file.
        command: the options that say what a placement does: samples, hardware, copies and chips, as on the command
            line.
        machine: that hardware, as it was read; None in fronts that were kept without it.
    """

    source: str
    hardware: str
    command: tuple[str, ...]
    front: Front
    machine: Hardware | None = None

    def is_of(self, plan: Plan) -> bool:
        """Whether it was measured on the plan's machine, whatever that is called, and was calibrated for layers.

        Outputs that were not calibrated, since that did harm, do not make it another machine.
        """
        left_out = plan.outcome is not None and plan.outcome.harmful_calibration is not None
        return self.is_on(plan.hardware, {"compensation.outputs": "none"} if left_out else {})

    def is_on(self, machine: Hardware, same: Mapping[str, object] = MappingProxyType({})) -> bool:
        """Whether it was measured on a machine, whatever that is called; ``same``: fields that are taken to be so."""
        if self.machine is None:
            return False
        mine, other = ({**one.as_described.numbers, **same} for one in (self.machine, machine))
        return mine == other


@dataclass(frozen=True)
class Answer:
    """Best points of fronts within a budget.

    Attributes:
        stored: the front that has the best verified point.
        verified: the best point that is shown to hold the budget; None if none is.
        estimated: a better one that is only estimated to hold it; None if there is none.
    """

    stored: StoredFront
    verified: FrontPoint | None
    estimated: FrontPoint | None


_ADAPTER = TypeAdapter(StoredFront)
_MEASURED = (ModelForm, Data, MachineOptions, CopiesOptions, Emulating, ReadTime, Chips)
"""Options on which it depends what a placement is measured to do."""


def store_front(folder: Path, key: str, stored: StoredFront) -> None:
    """Keep a front; one of the same settings is replaced."""
    with ResultCache(folder) as cache:
        cache.update(_FRONT, f"{stored.source} {key}", lambda _: _ADAPTER.dump_json(stored))


def keep_front(front: Front, source: str, asked: ParetoOptions, folder: Path) -> None:
    """Keep a front beside the results, with the options that say what a placement does.

    It replaces one of the same options, also of those that say which placements there are.
    """
    _model, *command = flags_of(asked, *_MEASURED)  # its hash tells the model
    searched = flags_of(asked, Selection, Ranking, GoalOptions)
    facts = {"command": [*command, *searched], "objective": front.objective, "limits": dict(front.limits)}
    machine = machine_of(asked)
    stored = StoredFront(source, str(asked.hardware or machine.name), tuple(command), front, machine)
    store_front(folder, fingerprint(facts), stored)


def read_fronts(folder: Path, source: str) -> list[StoredFront]:
    """The fronts of a network, the newest first; those that another version of lhc wrote otherwise are passed over.

    Raises:
        UsageError: there are none, or it is no folder.
    """
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; fronts are read from the folder of results that --work-dir names")
    found = []
    with ResultCache(folder) as cache:
        for text in cache.documents(_FRONT, f"{source} "):
            with suppress(ValidationError):
                found.append(_ADAPTER.validate_json(text))
    if not found:
        raise UsageError(
            f"{folder}: holds no front of this network; 'lhc pareto MODEL --work-dir {folder}' measures one"
        )
    return found


def newest_front(folder: Path, plan: Plan) -> Front | None:
    """The front that was measured last of this network on this machine, one of the plan's objective before others.

    Its points are of the age at which the plan was judged.
    """
    try:
        stored = read_fronts(folder, plan.source)
    except UsageError:
        return None
    fronts = [one.front for one in stored if one.front.verified and one.is_of(plan)]
    if plan.outcome is not None:
        fronts = [one for one in fronts if all(_at(point) == plan.outcome.t_s for point in one.verified)]
    objective = None if plan.outcome is None else plan.outcome.objective
    return min(fronts, key=lambda front: front.objective != objective, default=None)


def _at(point: FrontPoint) -> float | None:
    return None if point.evaluation is None else point.evaluation.t_s


def answer(
    fronts: list[StoredFront], max_drop: float, objective: str | None = None, machine: Hardware | None = None
) -> Answer:
    """The best that is verified within a budget, and what is estimated to be better, on the newest front.

    Args:
        objective: what is to be best; what the newest front was measured for by default.
        machine: that it is to be on; by default that of the newest front.

    Raises:
        UsageError: no front has that objective, or is on that machine.
    """
    if machine is not None:
        kept = ", ".join(dict.fromkeys(one.hardware for one in fronts))
        fronts = [one for one in fronts if one.is_on(machine)]
        if not fronts:
            raise UsageError(f"--hardware {machine.name}: no front on it is kept; measured are: {kept}")
    objective = objective or fronts[0].front.objective
    stored = next((one for one in fronts if one.front.objective == objective), None)
    if stored is None:
        kept = ", ".join(dict.fromkeys(one.front.objective for one in fronts))
        raise UsageError(f"no front of objective {objective} is kept; measured are: {kept}")
    front = stored.front

    def worth(point: FrontPoint) -> float:
        found = point.value(objective)
        return float("-inf") if found is None else found if objective == "macs" else -found

    holding = [p for p in front.verified if p.evaluation is not None and _bound(p) <= max_drop]
    verified = max(holding, key=worth, default=None)
    hoped = [
        p
        for p in front.points
        if p.evaluation is None
        and p.predicted_drop is not None
        and p.predicted_drop <= max_drop
        and (verified is None or worth(p) > worth(verified))
    ]
    return Answer(stored, verified, max(hoped, key=worth, default=None))


def verifying_command(model: str, found: Answer, max_drop: Drop) -> str | None:
    """The command that verifies what is estimated to be better: exactly these layers, judged against the budget."""
    if found.estimated is None:
        return None
    layers = [part for name in found.estimated.analog for part in ("--include", glob.escape(name))]
    fixed = ["--strategy", "all-analog", "--max-drop", str(max_drop)]
    if found.stored.front.objective == "tiles":
        fixed += ["--max-tiles", str(found.estimated.tiles)]
    return shlex.join(["lhc", "partition", model, *found.stored.command, *fixed, *layers])


def _bound(point: FrontPoint) -> float:
    assert point.evaluation is not None
    interval = point.evaluation.drop_interval
    return float("inf") if interval is None else interval[1]
