"""Sub-commands that show what was measured, report and diff, and the option --report of those that measure."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lhc.cli.options import Force, Json, WorkDir
from lhc.cli.output import check_file, emit_json, hint
from lhc.errors import LhcError, UsageError

if TYPE_CHECKING:
    from lhc.api.reporting import ReportSource
    from lhc.exploration import Attribution, Front, Infeasibility, Robustness
    from lhc.plan import Plan
    from lhc.report.document import Report
    from lhc.results import Evaluation

__all__ = ["ReportOption", "check_report", "diff", "is_judged_output", "report", "report_measured"]


ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="OUT.html", help="Also write a report (.html, .md or .json)."),
]


def report(
    source: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|DIR", help="An annotated model, a folder of results, or a report as .json."),
    ] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="Where to: .html, .md or .json; .netron.json for Netron, .node_data.json for Model Explorer."
            " Repeatable; Markdown on stdout by default.",
        ),
    ] = None,
    work_dir: WorkDir = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of reports.")] = False,
    force: Force = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of Markdown.")] = False,
) -> None:
    """Show a placed model: decision, reasons, certainty, cost. Measures nothing."""
    from lhc.api.reporting import report_of
    from lhc.report.document import Report
    from lhc.report.markdown import markdown
    from lhc.report.saving import save_report
    from lhc.store import default_work_dir

    if schema:
        typer.echo(Report.json_schema())
        return
    if source is None:
        raise UsageError("name an annotated model, or a folder of results (--work-dir of the command that measured)")
    for path in outputs or ():
        check_report(path, force)
    found = report_of(source, work_dir=work_dir or default_work_dir())
    for warning in found.warnings:
        hint(f"warning: {warning}")
    for path in outputs or ():
        save_report(found, path)
        hint(f"written: {path}")
    if not outputs:
        typer.echo(found.to_json() if json else markdown(found), nl=False)


def diff(
    before: Annotated[str, typer.Argument(metavar="A.lhc.onnx", help="An annotated model.")],
    after: Annotated[str, typer.Argument(metavar="B.lhc.onnx", help="Another one.")],
    json: Json = False,
) -> None:
    """Show what differs between two placed models. Compares layers, sensitivities, outcome, hardware."""
    from lhc.api.reporting import diff as run

    found = run(before, after)
    if json:
        emit_json(found.document())
        return
    if found.notice is not None:
        typer.echo(f"{before}, {after}: {found.notice}\n")
    if found.layers and not found.unrelated:
        typer.echo(found.table().render() + "\n")
    typer.echo("\n".join(found.lines()))


def is_judged_output(plan: "Plan | None", output: str | None) -> bool:
    """Whether an output is the one that a placement was judged by; None is. Of plans of earlier versions none is known.

    Args:
        plan: the placement, if there is one.
        output: what the user wants scored.
    """
    outcome = None if plan is None else plan.outcome
    return output is None or outcome is None or outcome.output in (None, output)


def check_report(path: Path, force: bool, own: bool = True) -> None:
    """Refuse a report before any work is done.

    Args:
        path: where it goes.
        force: replace a file.
        own: whether the placement, the hardware and the output of a model's annotations are measured.

    Raises:
        UsageError: its name says no kind, the file exists (unless ``force``), or its folder does not; or something else
            than what the model carries is measured.
    """
    from lhc.report.saving import check_kind

    check_kind(path)
    check_file(path, force)
    if not own:
        raise UsageError("--report is about the placement, the hardware and the output that a model carries")


def report_measured(
    source: "ReportSource",
    name: str,
    work_dir: str | Path | None,
    path: Path | None,
    *,
    times: "Sequence[Evaluation]" = (),
    front: "Front | None" = None,
    robustness: "Robustness | None" = None,
    attribution: "Attribution | None" = None,
    infeasibility: "Infeasibility | None" = None,
) -> None:
    """Keep what was measured of a placement, and write the report that was asked for.

    What was measured is safe already: where the folder of results cannot take it, that is said and no error.

    Args:
        source: what `partition` returned, or the model that was run.
        name: how the model is called.
        work_dir: folder of results.
        path: where the report goes; None: nowhere.
        times: the placement at several times.
        front: the measured trade-off.
        robustness: of the placement.
        attribution: of its layers' damage.
        infeasibility: why the budget cannot be met.
    """
    from lhc.api.reporting import report_of
    from lhc.report.saving import save_report

    def made(folder: str | Path | None) -> "Report":
        return report_of(
            source,
            name=name,
            times=times,
            front=front,
            robustness=robustness,
            attribution=attribution,
            infeasibility=infeasibility,
            command=_command(),
            work_dir=folder,
        )

    try:
        found = made(work_dir)
    except LhcError as error:
        hint(f"warning: the report is not kept for later: {error}")
        if path is None:
            return
        found = made(None)
    if path is not None:
        save_report(found, path)
        hint(f"written: {path}")


def _command() -> str:
    """The command line, where it is lhc's."""
    return shlex.join(["lhc", *sys.argv[1:]]) if Path(sys.argv[0]).name in ("lhc", "__main__.py") else ""
