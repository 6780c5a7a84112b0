"""``lhc smooth``: move outliers of activations into weights."""

from dataclasses import replace

from lhc.cli.framework.output import default_output, emit, hint, hints
from lhc.cli.framework.progress import reporter
from lhc.options.by_command import SmoothOptions
from lhc.options.output_options import SmoothOutput


def smooth(asked: SmoothOptions, shown: SmoothOutput) -> None:
    """Move outliers of activations into weights, where the hardware's tiles gain by it.

    The network computes the same but for rounding. What is written is an ordinary network, for every other command.

    $ lhc smooth model.onnx --data samples.npz --hardware lionheart
        a transformer whose activations have outliers; then 'lhc partition model.smooth.onnx --data samples.npz'
    """
    from lhc.commands.smooth import smooth as run
    from lhc.onnx_io import check_output
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.exports.json_documents import smoothing_document
    from lhc.report.wording.model_file import placement_left_out

    opened = loaded_model(asked)
    where = shown.out or default_output(opened, ".smooth.onnx")
    check_output(where, opened.model, shown.force, "copy")
    with reporter(shown.quiet) as progress:
        result = run.of(replace(asked, model=opened, progress=progress))
    result.save(where, force=shown.force)
    emit(smoothing_document(result), result.as_table(), f"{result.legend}\n{result.summary}", shown.chosen)
    hints(placement_left_out(opened.model))
    hint(f"written: {where}")
