"""``lhc split``: digital and analog parts as models of their own."""

from dataclasses import replace
from pathlib import Path

from lhc.cli.framework.output import emit_json, end_by, hint, hints, notes, say
from lhc.cli.framework.progress import watched
from lhc.options.by_command import SplitOptions
from lhc.options.output_options import Json


def split(asked: SplitOptions, shown: Json) -> None:
    """Write digital and analog parts as models of their own. An index lists tiles and their conductances.

    A model without a placement is partitioned first, which needs samples.
    """
    from lhc.commands.compile import placement_of
    from lhc.commands.split import write_parts
    from lhc.lowering import check_split_output
    from lhc.pipeline.inputs.model_source import loaded_model
    from lhc.report.wording.model_file import doubts

    opened = loaded_model(asked)
    hints(doubts(opened.model))
    folder = Path(asked.folder)
    check_split_output(folder)
    with watched(replace(asked, model=opened), quiet=True) as watching:
        placed, result = placement_of(watching)
        index = write_parts(placed, watching)
    if result is not None:
        notes(result.notes)
        hint(result.summary)
    if shown.json:
        emit_json(index | {"folder": str(folder)})
    else:
        digital, analog = (len(list(folder.glob(f"{kind}*"))) for kind in ("digital", "analog"))
        say(f"{digital} digital and {analog} analog sub-models, index.json, conductances.npz")
    hint(f"written: {folder}")
    end_by(None if result is None else result.plan.outcome, "parts were")
