"""``lhc smooth``: move outliers of activations into weights."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import default_output, emit, hint
from lhc.cli.progress import reporter
from lhc.options.commands import SmoothOptions
from lhc.options.declare import option, options
from lhc.options.printed import Replacing, Watching


@options
class SmoothOutput(Watching, Replacing):
    """What ``lhc smooth`` writes."""

    PANEL: ClassVar[str] = "Output"

    out: Path | None = option(
        "By default <stem>.smooth.onnx beside MODEL; weights in a file beside it, where those of MODEL are.",
        default=None,
        short="-o",
        metavar="OUT.onnx",
        result="result.save(path)",
    )


def smooth(asked: SmoothOptions, shown: SmoothOutput) -> None:
    """Move outliers of activations into weights, where the hardware's tiles gain by it. The network computes the same.

    What is written is an ordinary network, for every other command.
    """
    from lhc.commands.smooth import smooth as run
    from lhc.onnx_io import check_output
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    where = shown.out or default_output(opened, ".smooth.onnx")
    check_output(where, opened.model, shown.force, "copy")
    with reporter(shown.quiet) as progress:
        result = run.of(replace(asked, model=opened, progress=progress))
    result.save(where, force=shown.force)
    document = {
        "hardware": result.hardware.name,
        "inputs": [asdict(one) for one in result.inputs],
        "samples": result.samples,
        "difference": result.difference,
    }
    emit(document, result.as_table(), f"{result.legend}\n{result.summary}", shown.chosen)
    hint(f"written: {where}")


command = terminal_command(
    "smooth",
    smooth,
    SmoothOptions,
    SmoothOutput,
    examples=(
        (
            "lhc smooth model.onnx --data samples.npz --hardware lionheart",
            "a transformer whose activations have outliers; then 'lhc partition model.smooth.onnx --data samples.npz'",
        ),
    ),
)
