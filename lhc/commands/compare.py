"""Several machines side by side: the same network and samples placed on each."""

from dataclasses import replace

from lhc.commands.partition import partition
from lhc.commands.robustness import at_ages
from lhc.errors import UsageError
from lhc.hardware import Hardware
from lhc.options.by_command import CompareOptions, PartitionOptions, RobustnessOptions
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.report.tables.comparison import Comparison


@keywords(CompareOptions)
def compare(options: CompareOptions) -> Comparison:
    """Results of `partition` on each of several machines, in the given order.

    Samples, seeds and budget are the same for all; each is judged at its own time of inference, unless one is given.
    Ages at which the devices of a machine are not known are left out for it.

    Raises:
        UsageError: fewer than two machines, or two of one name; an age below 0.
    """
    machines, opened = machines_of(options), loaded_model(options)
    asked = (part(options, PartitionOptions, model=opened, hardware=machine) for machine in machines)
    results = map(partition.of, asked)
    return Comparison(_at_ages(result, opened, options) for result in results)


def machines_of(options: CompareOptions) -> list[Hardware]:
    """The machines that are compared.

    Raises:
        UsageError: fewer than two, or two of one name.
    """
    machines = [Hardware.load(one) for one in options.hardware]
    names = [machine.name for machine in machines]
    if len(set(names)) < max(len(names), 2):
        got = f"got {', '.join(names)}" if names else "none is given"
        raise UsageError(
            f"--hardware: two machines or more are compared, of different names; {got}: give --hardware twice or more,"
            " each a preset or a file"
        )
    return machines


def _at_ages(result: PartitionResult, opened: LoadedModel, options: CompareOptions) -> PartitionResult:
    """A result with its placement at other times, as far as the devices are known at them."""
    plan = result.plan
    known = list(filter(plan.hardware.knows, options.ages_s))
    if not known or plan.outcome is None or not plan.analog:
        return result
    once = plan.model_copy(update={"hardware": plan.hardware.calibrated_once})
    given = part(options, RobustnessOptions, model=replace(opened, model=result.source), hardware=None)
    given = replace(given, placement=once, max_drop=None, drop_type=None)
    return replace(result, ages=at_ages(given, known))
