"""What was measured of placed models, kept in the folder of results so that reports are made without measuring again.

One document a plan, named by the SHA-256 of the plan: what a later command measures of the same plan is put in, and
what is there stays.
"""

from hashlib import sha256
from pathlib import Path

from lhc.errors import ConfigError, UsageError
from lhc.plan import Plan
from lhc.report.document import Report
from lhc.report.formats import parse_report
from lhc.report.text import samples_basis
from lhc.results import AtTime, Evaluation
from lhc.store import ResultCache
from lhc.support.numbers import counted, drop_text, metric_value, time_text

__all__ = ["keep", "kept", "merged", "newest", "with_earlier"]

KIND = "report"


def _name(plan: Plan) -> str:
    return sha256(plan.model_dump_json().encode()).hexdigest()


def keep(work_dir: Path, report: Report) -> Report:
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


def kept(work_dir: Path, plan: Plan) -> Report | None:
    """What earlier commands measured of exactly this plan.

    Raises:
        ConfigError: another version of lhc wrote it.
    """
    with ResultCache(work_dir) as cache:
        found = cache.documents(KIND, _name(plan))
    return parse_report(found[0], str(work_dir)) if found else None


def with_earlier(work_dir: Path, report: Report) -> Report:
    """A report with what was measured of the same plan before; a warning where that cannot be read."""
    try:
        return merged(kept(work_dir, report.plan), report)
    except ConfigError as error:
        lost = f"what was measured of it before cannot be read: {error}"
        return report.model_copy(update={"warnings": (*report.warnings, lost)})


def newest(work_dir: Path) -> tuple[Report, int]:
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
    times, apart = _one_table(old.times, new.times)
    return new.model_copy(
        update={
            "costs": new.costs or old.costs,
            "front": old.front if old.front is not None and old.front.verified and not _measured(new) else new.front,
            "times": times,
            "robustness": new.robustness or old.robustness,
            "attribution": new.attribution or old.attribution,
            "infeasibility": new.infeasibility or old.infeasibility,
            "notes": tuple(dict.fromkeys((*old.notes, *new.notes, *apart))),
            "versions": new.versions or old.versions,
            "commands": tuple(dict.fromkeys((*old.commands, *new.commands))),
        }
    )


def _one_table(old: tuple[AtTime, ...], new: tuple[AtTime, ...]) -> tuple[tuple[AtTime, ...], list[str]]:
    """The points that stand in one table, by time, and what is said of new ones that do not.

    A table is of one metric, the same samples and as many chips, against one network: of two series the one with more
    times is kept, the new one where both have as many.
    """
    bases = {_basis(point) for point in new}
    earlier = [point for point in old if not bases or _basis(point) in bases]
    if not earlier and len(old) > len(new):
        return old, [_apart(point.evaluation) for point in new]
    times = {point.evaluation.t_s: point for point in (*earlier, *new)}
    return tuple(times[t] for t in sorted(times)), []


def _apart(found: Evaluation) -> str:
    """A point that is of no longer series, with what it rests on."""
    lost = drop_text(found.drop, found.percent, "absolute")
    basis = f"{samples_basis(found)}, {counted(found.draws, 'draw')}"
    digital = f"digital {found.metric} {metric_value(found.baseline, found.percent)}"
    point = f"{time_text(found.t_s)}: {found.drop_word} {lost} ({basis}, {digital})"
    return f"measured apart from the longer series over time: {point}"


def _basis(point: AtTime) -> tuple[object, ...]:
    """What figures over time must share to stand in one table."""
    found = point.evaluation
    return found.metric, found.baseline, found.against, found.samples, found.draws, found.calibrated


def _measured(report: Report) -> bool:
    return report.front is not None and bool(report.front.verified)
