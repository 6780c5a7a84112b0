"""``lhc split``: digital and analog parts as models of their own."""

from dataclasses import replace
from pathlib import Path

from lhc.cli.framework.output import emit_json, hint, hints, say
from lhc.cli.framework.progress import watched
from lhc.options.by_command import SplitOptions
from lhc.options.output_options import Json


def split(asked: SplitOptions, shown: Json) -> None:
    """Write digital and analog parts as models of their own. An index lists tiles and their conductances.

    A model without a placement is partitioned first, which needs samples.
    """
    from lhc.commands.split import split as run
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.wording.model_file import doubts

    opened = loaded_model(asked)
    hints(doubts(opened.model))
    with watched(replace(asked, model=opened), quiet=True) as watching:
        index = run.of(watching)
    folder = Path(asked.folder)
    if shown.json:
        emit_json(index | {"folder": str(folder)})
    else:
        digital, analog = (len(list(folder.glob(f"{kind}*"))) for kind in ("digital", "analog"))
        say(f"{digital} digital and {analog} analog sub-models, index.json, conductances.npz")
    hint(f"written: {folder}")
