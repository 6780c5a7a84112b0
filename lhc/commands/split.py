"""``lhc.split``: the digital and analog sub-models of a network, for other back ends."""

from pathlib import Path

from lhc.commands.compile import placement_of
from lhc.lowering import Chip, check_split_output
from lhc.lowering import split as write
from lhc.options.by_command import SplitOptions
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.placement_source import NetworkPlacement


@keywords(SplitOptions)
def split(options: SplitOptions) -> dict[str, object]:
    """Write a network's digital and analog sub-models, with an index and the conductances, for other back ends.

    A model without a placement is partitioned first, with these samples and this budget.

    Returns:
        The index, as in ``index.json``.
    """
    check_split_output(Path(options.folder))
    found, _ = placement_of(options)
    return write_parts(found, options)


def write_parts(found: NetworkPlacement, options: SplitOptions) -> dict[str, object]:
    """Write the sub-models of a network that is placed; gives the index."""
    chip = Chip(options.seed, options.draw, options.t_s)
    return write(found.model, found.graph, found.plan, Path(options.folder), chip, found.calibration)
