"""``lhc partition``: place every layer."""

from dataclasses import replace
from functools import partial

from lhc.cli.framework.output import (
    check_file,
    default_output,
    emit,
    end_by,
    notes,
    say,
    told_written,
    write,
)
from lhc.cli.framework.progress import dry_run, watched
from lhc.options.by_command import PartitionOptions
from lhc.options.declaration.option_fields import taken_by
from lhc.options.output_options import PartitionOutput
from lhc.support.files import alone_in


def partition(asked: PartitionOptions, shown: PartitionOutput) -> None:
    """Decide for every layer whether it runs on tiles, within the loss you can afford. Annotates the model.

    $ lhc partition digits
        the network in the package: a minute, nothing else needed
    $ lhc partition model.onnx --data samples.npz --max-drop 1%
        your own network; it may lose one point of accuracy
    $ lhc partition model.onnx --data samples.npz --retrain --report out.html
        train under the noise as well, and write a report
    """
    from lhc.cli.framework.report_option import check_report, report_measured
    from lhc.commands.partition import partition as run
    from lhc.commands.partition import pipeline
    from lhc.onnx_io import check_output, held_in, retrained_from
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.plan.summary import held_text
    from lhc.report.exports.json_documents import partition_document
    from lhc.report.wording.infeasibility import infeasibility_lines
    from lhc.report.wording.model_file import renaming_notes
    from lhc.report.wording.placement import partition_head

    steps = pipeline(asked)  # options that cannot go together are refused before any file is looked at
    if shown.show_pipeline:
        say(str(steps))
        return
    opened = loaded_model(asked)
    asked = replace(asked, model=opened)
    if shown.dry_run:
        dry_run(asked, shown.chosen)
        return
    from lhc.commands.report import report_of

    notes(renaming_notes(opened.model.renamed))
    where = shown.out or default_output(opened, ".lhc.onnx")
    force = shown.force or (asked.retrain and retrained_from(where, opened.model))
    check_output(where, opened.model, force, shown.external_data)
    check_file(shown.plan_out, force)
    check_report(shown.report, force)
    with watched(asked, shown.quiet) as watching:
        result = run.of(watching)
    notes([*([] if result.ranking is None else result.ranking.notes), *result.notes])
    # With other weights it is another network; that its place is free was checked above.
    force = force or (asked.retrain and where.exists())
    with alone_in(where.parent):
        before = held_in(where)
        result.save(where, **taken_by(result.save, shown) | {"force": force})
        if shown.plan_out is not None:
            write(shown.plan_out, result.plan.to_yaml())
    head = partition_head(result, shown.verbose)
    emit(partition_document(result), result.as_table(), result.summary, shown.chosen, head)
    told_written(where, before, held_text(result.summary, result.plan.outcome))
    report_measured(partial(report_of, result, name=where.name), watching.work_dir, shown.report)
    end_by(result.plan.outcome, "plan was", infeasibility_lines(result.infeasibility, result.plan))
