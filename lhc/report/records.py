"""What was measured of placed models, kept in the folder of results so that reports are made without measuring again.

One file a plan, ``reports/<digits>.json``, named by the SHA-256 of the plan: what a later command measures of the same
plan is put in, and what is there stays.
"""

from hashlib import sha256
from pathlib import Path

from lhc.errors import ConfigError, UsageError
from lhc.files import write_file
from lhc.plan import Plan
from lhc.report.document import Report, read_report

__all__ = ["FOLDER", "keep", "kept", "merged", "newest"]

FOLDER = "reports"
"""Within the folder of results."""
_DIGITS = 16


def _path(work_dir: Path, plan: Plan) -> Path:
    return work_dir / FOLDER / f"{sha256(plan.model_dump_json().encode()).hexdigest()[:_DIGITS]}.json"


def keep(work_dir: Path, report: Report) -> Report:
    """Put a report with those of earlier commands on the same plan, and give back what they say together.

    Raises:
        UsageError: the folder cannot be written.
        ConfigError: an earlier one cannot be read.
    """
    path = _path(work_dir, report.plan)
    whole = merged(kept(work_dir, report.plan), report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path.parent}: cannot be made: {error.strerror or error}; choose another --work-dir"
        ) from error
    write_file(path, lambda file: file.write(whole.to_json().encode()))
    return whole


def kept(work_dir: Path, plan: Plan) -> Report | None:
    """What earlier commands measured of exactly this plan.

    Raises:
        ConfigError: it cannot be read.
    """
    path = _path(work_dir, plan)
    return read_report(path) if path.is_file() else None


def newest(work_dir: Path) -> tuple[Report, int]:
    """The report that was put in last, and how many there are.

    Raises:
        UsageError: there is none.
        ConfigError: it cannot be read.
    """
    paths = sorted((work_dir / FOLDER).glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not paths:
        raise UsageError(f"{work_dir}: holds no report; 'lhc partition --work-dir {work_dir}' puts one there")
    return read_report(paths[-1]), len(paths)


def merged(old: Report | None, new: Report) -> Report:
    """Two reports of one plan as one: what the new one measured counts, what only the old one has stays.

    Raises:
        ConfigError: they are of different plans.
    """
    if old is None:
        return new
    if old.plan != new.plan:
        raise ConfigError("two reports of different plans cannot become one")
    metrics = {point.evaluation.metric for point in new.times}  # of another metric nothing stands beside them
    earlier = [point for point in old.times if not metrics or point.evaluation.metric in metrics]
    times = {point.evaluation.t_s: point for point in (*earlier, *new.times)}
    return new.model_copy(
        update={
            "costs": new.costs or old.costs,
            "front": old.front if old.front is not None and old.front.verified and not _measured(new) else new.front,
            "times": tuple(times[t] for t in sorted(times)),
            "robustness": new.robustness or old.robustness,
            "attribution": new.attribution or old.attribution,
            "infeasibility": new.infeasibility or old.infeasibility,
            "notes": tuple(dict.fromkeys((*old.notes, *new.notes))),
            "versions": new.versions or old.versions,
            "commands": tuple(dict.fromkeys((*old.commands, *new.commands))),
        }
    )


def _measured(report: Report) -> bool:
    return report.front is not None and bool(report.front.verified)
