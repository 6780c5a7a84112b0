"""``lhc widen``: write columns several times, in columns of tiles that are free anyway."""

from dataclasses import replace

from lhc.cli.framework.output import default_output, emit, hint, hints
from lhc.options.by_command import WidenOptions
from lhc.options.output_options import WidenOutput


def widen(asked: WidenOptions, shown: WidenOutput) -> None:
    """Copy columns of weights into free columns of their tiles.

    The mean of the copies counts, so the network computes the same but for rounding. A layer that stays digital then
    multiplies once for every copy: --exclude it. What is written is an ordinary network, for every other command.

    $ lhc widen model.onnx --exclude head --most 4
        a convolutional network of few channels; then 'lhc partition model.wide.onnx --data samples.npz'
    """
    from lhc.commands.widen import widen as run
    from lhc.onnx_io import check_output
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.exports.json_documents import widening_document
    from lhc.report.wording.model_file import placement_left_out

    opened = loaded_model(asked)
    where = shown.out or default_output(opened, ".wide.onnx")
    check_output(where, opened.model, shown.force, "copy")
    result = run.of(replace(asked, model=opened))
    result.save(where, force=shown.force)
    emit(widening_document(result), result.as_table(), result.summary, shown.chosen)
    hints(placement_left_out(opened.model))
    hint(f"written: {where}")
