"""Store of reports in the folder of results, so that a report is made without measuring again.

One document a plan, named by the SHA-256 of the plan: what a later command measures of the same plan is put in, and
what is there stays.
"""

from hashlib import sha256
from pathlib import Path

from lhc.errors import ConfigError, UsageError
from lhc.plan import Outcome, Plan
from lhc.report.document.report import Report
from lhc.report.exports.formats import parse_report
from lhc.report.wording.outcome import network_against, of_budget, samples_basis
from lhc.results import AtTime, Evaluation
from lhc.store import ResultCache
from lhc.support.number_formatting import counted, drop_text, metric_value, time_text

__all__ = ["merged", "newest_report", "store_report", "stored_report", "with_stored"]

KIND = "report"


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
        cache.update(KIND, _name(report.plan), put_in)
    return whole


def stored_report(work_dir: Path, plan: Plan) -> Report | None:
    """Stored report of exactly this plan; None where there is none.

    Raises:
        ConfigError: another version of lhc wrote it.
    """
    with ResultCache(work_dir) as cache:
        found = cache.documents(KIND, _name(plan))
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
        found = cache.documents(KIND)
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

    A table is of one metric, the same samples and as many chips, against one network. Of two series the one that can be
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
    return found.metric, found.baseline, found.against, found.samples, found.draws, found.calibrated


def _measured(report: Report) -> bool:
    return report.front is not None and bool(report.front.verified)
