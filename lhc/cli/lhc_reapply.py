"""``lhc reapply``: put a plan back."""

from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit, hint, notes
from lhc.options.declare import argument, option, options
from lhc.options.printed import Carrying, Printing, Replacing
from lhc.options.subjects import MachineOptions


@options
class ReapplyOptions(Printing, Carrying, Replacing, MachineOptions):
    """Of ``lhc reapply``."""

    PANEL: ClassVar[str] = "Output"

    model: str = argument("What another tool made of an annotated model.", kw_only=False, metavar="MODEL")
    original: Path | None = option(
        "Where MODEL lost its metadata: who has it; or onnx-mlir's settings (.json) or onnxruntime's by names (.txt).",
        default=None,
        flag="--from",
        metavar="ORIGINAL.lhc.onnx",
    )
    out: Path | None = option(
        "By default <stem>.lhc.onnx beside MODEL.",
        default=None,
        short="-o",
        metavar="OUT.onnx",
        result="result.save(path)",
    )


def reapply(asked: ReapplyOptions) -> None:
    """Put a plan back after an optimiser or converter dropped it. Says what was fused or is gone."""
    from lhc.commands.reapply import reapply as run
    from lhc.onnx_io import check_output
    from lhc.report.json_documents import placement_document
    from lhc.study.source import open_model

    opened = open_model(asked.model)
    path = Path(asked.model)
    where = asked.out or path.with_name(f"{path.name.removesuffix('.onnx')}.lhc.onnx")
    check_output(where, opened.model, asked.force)
    result = run(opened, asked.original, asked.hardware)
    notes(result.notes)
    result.save(where, force=asked.force, layer_ann=asked.layer_ann, device_configurations=asked.device_configurations)
    document = placement_document(result) | {"notes": list(result.notes)}
    emit(document, result.as_table(), result.summary, asked.chosen)
    hint(f"written: {where}")


command = terminal_command("reapply", reapply, ReapplyOptions)
