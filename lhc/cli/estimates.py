"""What ``--dry-run`` says: how much work there is, and how long it will take."""

from typing import TYPE_CHECKING

from lhc.cli.output import emit
from lhc.support.numbers import counted, work_text
from lhc.support.tables import Table

if TYPE_CHECKING:
    from lhc.study.effort import Effort

__all__ = ["emit_estimate"]


def emit_estimate(found: "Effort", form: str) -> None:
    """An estimate on stdout: one row a step, and a line that sums them up; or one JSON document."""
    rows = [[step.what, str(step.units), str(step.kept), work_text(step.seconds)] for step in found.steps]
    processes = counted(found.processes, "process", "processes")
    footer = (
        f"{found.layers} layers, {found.samples} samples, {found.draws} draws: {found.units} units of work,"
        f" {found.kept} of them finished before; about {work_text(found.seconds)} in {processes}"
    )
    document = {
        "dry_run": True,
        "layers": found.layers,
        "samples": found.samples,
        "draws": found.draws,
        "units": found.units,
        "kept": found.kept,
        "processes": found.processes,
        "seconds": found.seconds,
        "steps": [
            {"what": step.what, "units": step.units, "kept": step.kept, "seconds": step.seconds} for step in found.steps
        ],
    }
    emit(document, Table(["step", "units", "finished before", "in one process"], rows, right=(1, 2, 3)), footer, form)
