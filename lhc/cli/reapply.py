"""``lhc reapply``: put a plan back."""

from lhc.cli.framework.output import default_output, emit, hint, notes
from lhc.options.declaration.option_fields import taken_by
from lhc.options.output_options import ReapplyOptions


def reapply(asked: ReapplyOptions) -> None:
    """Put a plan back that an optimiser or converter dropped. It tells which layers were fused or are gone."""
    from lhc.commands.reapply import reapply as run
    from lhc.onnx_io import check_output
    from lhc.pipeline.inputs.model_source import open_model
    from lhc.report.exports.json_documents import placement_document

    opened = open_model(asked.model)
    where = asked.out or default_output(opened, ".lhc.onnx")
    check_output(where, opened.model, asked.force)
    result = run(opened, asked.original, asked.hardware)
    notes(result.notes)
    result.save(where, **taken_by(result.save, asked))
    document = placement_document(result) | {"notes": list(result.notes)}
    emit(document, result.as_table(), result.summary, asked.chosen)
    hint(f"written: {where}")
