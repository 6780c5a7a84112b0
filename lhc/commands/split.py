"""``lhc.split``: the digital and analog sub-models of a network, for other back ends."""

from pathlib import Path

from lhc.commands.compile import placement_of
from lhc.lowering import Chip, check_split_output
from lhc.lowering import split as write
from lhc.options.by_command import SplitOptions
from lhc.options.declaration.python_signature import keywords


@keywords(SplitOptions)
def split(options: SplitOptions) -> dict[str, object]:
    """Write a network's digital and analog sub-models, with an index and the conductances, for other back ends.

    A model without a placement is partitioned first, with these samples and this budget.

    Returns:
        The index, as in ``index.json``.
    """
    folder = Path(options.folder)
    check_split_output(folder)
    found, _ = placement_of(options)
    chip = Chip(options.seed, options.draw, options.t_s)
    return write(found.model, found.graph, found.plan, folder, chip, found.calibration)
