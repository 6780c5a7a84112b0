"""``lhc split``: digital and analog parts as models of their own."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from lhc.cli.build import terminal_command
from lhc.cli.output import emit_json, hint, hints, say
from lhc.cli.progress import watched
from lhc.options.commands import SplitOptions
from lhc.options.declare import option, options


@options
class SplitOutput:
    """What ``lhc split`` prints."""

    PANEL: ClassVar[str] = "Output"

    json: bool = option("Print JSON.", default=False, result="the index that is returned")


def split(asked: SplitOptions, shown: SplitOutput) -> None:
    """Write digital and analog parts as models of their own. An index lists tiles and their conductances.

    A model without a placement is partitioned first, which needs samples.
    """
    from lhc.commands.split import split as run
    from lhc.report.placement_lines import doubts
    from lhc.study.source import open_model

    opened = open_model(asked.model, dequantize=asked.dequantize)
    hints(doubts(opened.model))
    with watched(replace(asked, model=opened), quiet=True) as watching:
        index = run.of(watching)
    folder = Path(asked.folder)
    if shown.json:
        emit_json(index | {"folder": str(folder)})
    else:
        files = sorted(path.name for path in folder.iterdir())
        parts = {kind: sum(name.startswith(kind) for name in files) for kind in ("digital", "analog")}
        say(f"{parts['digital']} digital and {parts['analog']} analog sub-models, index.json, conductances.npz")
    hint(f"written: {folder}")


command = terminal_command("split", split, SplitOptions, SplitOutput)
