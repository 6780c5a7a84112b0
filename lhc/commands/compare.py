"""Several machines side by side: the same network and samples placed on each."""

from dataclasses import replace

from lhc.commands.partition import partition
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.options.commands import CompareOptions, PartitionOptions
from lhc.options.declare import part
from lhc.options.signature import keywords
from lhc.study.outcome import PartitionResult

__all__ = ["compare"]


@keywords(CompareOptions)
def compare(options: CompareOptions) -> tuple[PartitionResult, ...]:
    """What `partition` finds on each of several machines, in the order in which they are given.

    Samples, seeds and budget are the same for all; each is judged at its own time of inference, unless one is given.

    Raises:
        UsageError: fewer than two machines, or two of one name.
    """
    machines = [Hardware.load(one) for one in options.hardware]
    names = [machine.name for machine in machines]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"--hardware: two machines or more are compared, of different names; got {', '.join(names)}")
    if options.checkpoint is not None:
        raise UsageError("--checkpoint keeps the training for one machine: retrain on each by 'lhc partition'")
    asked = part(options, PartitionOptions)
    return tuple(partition.of(replace(asked, hardware=machine)) for machine in machines)
