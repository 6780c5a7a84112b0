"""``lhc widen``: write columns several times, in columns of tiles that are free anyway."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import default_output, emit, hint
from lhc.options.commands import WidenOptions
from lhc.options.declare import option, options
from lhc.options.printed import Printing, Replacing


@options
class WidenOutput(Printing, Replacing):
    """What ``lhc widen`` writes."""

    PANEL: ClassVar[str] = "Output"

    out: Path | None = option(
        "By default <stem>.wide.onnx beside MODEL; weights in a file beside it, where those of MODEL are.",
        default=None,
        short="-o",
        metavar="OUT.onnx",
        result="result.save(path)",
    )


def widen(asked: WidenOptions, shown: WidenOutput) -> None:
    """Write columns of products several times, in free columns of their tiles. The mean of the copies counts.

    The network computes the same; what is written is an ordinary network, for every other command.
    """
    from lhc.commands.widen import widen as run
    from lhc.onnx_io import check_output
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    where = shown.out or default_output(opened, ".wide.onnx")
    check_output(where, opened.model, shown.force, "copy")
    result = run.of(replace(asked, model=opened))
    result.save(where, force=shown.force)
    document = {"hardware": result.hardware.name, "layers": [asdict(one) for one in result.layers]}
    emit(document, result.as_table(), result.summary, shown.chosen)
    hint(f"written: {where}")


command = terminal_command(
    "widen",
    widen,
    WidenOptions,
    WidenOutput,
    examples=(
        (
            "lhc widen model.onnx --exclude head --most 4",
            "a convolutional network of few channels; then 'lhc partition model.wide.onnx --data samples.npz'",
        ),
    ),
)
