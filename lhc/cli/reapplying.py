"""The sub-command that puts annotations back: reapply."""

from pathlib import Path
from typing import Annotated

import typer

from lhc.cli.options import Force, Form, Json
from lhc.cli.output import check_form, emit, hint

__all__ = ["reapply"]


def reapply(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="What another tool made of an annotated model.")],
    original: Annotated[
        Path | None,
        typer.Option("--from", metavar="ORIGINAL.lhc.onnx", help="Where MODEL lost its metadata: who has it."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="OUT.onnx", help="By default <stem>.lhc.onnx beside MODEL."),
    ] = None,
    force: Force = False,
    form: Form = "table",
    json: Json = False,
) -> None:
    """Put a plan back after an optimiser or converter dropped it. Says what was fused or is gone."""
    from lhc.api import reapply as run
    from lhc.cli import documents
    from lhc.opening import open_model
    from lhc.outcomes import check_output, plan_table

    form = check_form(form, json)
    opened = open_model(model)
    where = output or _default_output(Path(model))
    check_output(where, opened.model, force)
    result = run(opened, original)
    for note in result.notes:
        hint(f"note: {note}")
    result.save(where, force=force)
    document = documents.partition(result) | {"notes": list(result.notes)}
    emit(document, plan_table(result.plan), result.summary, form)
    hint(f"written: {where}")


def _default_output(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.onnx')}.lhc.onnx")
