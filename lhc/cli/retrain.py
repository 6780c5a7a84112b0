"""``lhc retrain``: train a placed model."""

from dataclasses import replace

from lhc.cli.framework.output import default_output, emit, end_by, notes, told_written
from lhc.cli.framework.progress import dry_run, watched
from lhc.options.by_command import RetrainOptions
from lhc.options.declaration.option_fields import taken_by
from lhc.options.output_options import RetrainOutput


def retrain(asked: RetrainOptions, shown: RetrainOutput) -> None:
    """Train a placed model under the noise of its tiles. The weights are kept if they are better.

    $ lhc retrain model.lhc.onnx --data samples.npz --steps 200
        weights that stand the noise better, kept only if they do
    """
    from lhc.commands.retrain import retrain as run
    from lhc.onnx_io import check_output, held_in, retrained_from
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.plan.summary import held_text
    from lhc.report.exports.json_documents import retraining_document
    from lhc.report.wording.infeasibility import infeasibility_lines
    from lhc.report.wording.placement import partition_head

    opened = loaded_model(asked)
    asked = replace(asked, model=opened)
    if shown.dry_run:
        dry_run(asked, shown.chosen)
        return
    where = shown.out or default_output(opened, ".retrained.lhc.onnx")
    force = shown.force or retrained_from(where, opened.model)
    check_output(where, opened.model, force, shown.external_data)
    with watched(asked, shown.quiet) as watching:
        result = run.of(watching)
    notes(result.notes)
    # The output was checked against the input before the training; a file that is there holds that network.
    before = held_in(where)
    result.save(where, **taken_by(result.save, shown) | {"force": force or where.exists()})
    head = partition_head(result, shown.verbose)
    emit(retraining_document(result), result.as_table(), result.summary, shown.chosen, head)
    told_written(where, before, held_text(result.summary, result.plan.outcome))
    end_by(result.plan.outcome, "model was", infeasibility_lines(result.infeasibility, result.plan))
