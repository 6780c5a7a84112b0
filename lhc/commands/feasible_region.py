"""``lhc.feasible_region``: which numbers of the machine hold the budget, ``lhc robustness --vary`` of the terminal."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lhc.commands.partition import partition
from lhc.commands.robustness import PlacementAgain, measured_again
from lhc.errors import NotFiniteError, UsageError
from lhc.hardware import Hardware
from lhc.options.by_command import PartitionOptions, RegionOptions
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.inputs.run_inputs import told_how
from lhc.pipeline.inputs.varied_fields import overridden, varied_fields, with_values
from lhc.pipeline.steps.explain.feasible_region import Measured, find_region
from lhc.pipeline.steps.prepare import on_machine
from lhc.report.tables.command_results import RegionResult
from lhc.results import Evaluation
from lhc.support.number_formatting import field_text

TIME = "t_inference_s"


@keywords(RegionOptions)
def feasible_region(options: RegionOptions) -> RegionResult:
    """Machines on which a placement holds its budget, by one or two of their numbers.

    The boundary is found by measuring: by bisection along the first field, for every value of the second. Samples and
    chips are the same for every machine: those of the verification, where the data are the same. The placement and its
    copies stay, as far as the tiles hold these likewise. With ``search_anew`` the placement is searched for every
    machine, and has to put as large a share of MACs on tiles as the given one.

    Raises:
        UsageError: the machine has no such number, or a value is out of its bounds.
    """
    with measured_again(options) as placed:
        machine = placed.state.plan.hardware.with_open_ranges
        fields = varied_fields(options.vary, machine)
        for field in fields:
            if kept := overridden(machine, field.path):
                placed.state.opened.warn(f"layers {', '.join(kept)} keep the {field.path} of their override")
        share = placed.state.plan.mac_fraction_of(placed.analog)

        def measure(values: tuple[float, ...]) -> Measured:
            other = with_values(machine, fields, values)
            pairs = zip(fields, values, strict=True)
            what = ", ".join(f"{field.path} {field_text(field.path, value)}" for field, value in pairs)
            try:
                if options.search_anew:
                    return _searched(options, placed, other, what)
                return _evaluated(options, placed, other, what), share
            except NotFiniteError:
                return None, share

        found = find_region(fields, measure, placed.budget, share if options.search_anew else None)
        return RegionResult(**vars(found))


def on_machines(options: RegionOptions, machines: Iterable[Hardware]) -> Iterator[Evaluation]:
    """A placement on several machines, on samples and chips as `feasible_region` takes them."""
    with measured_again(options) as placed:
        for machine in machines:
            yield _evaluated(options, placed, machine, machine.name)


def _evaluated(options: RegionOptions, placed: PlacementAgain, machine: Hardware, what: str) -> Evaluation:
    """The placement on a machine."""
    state, analog = on_machine(placed.state, machine, placed.asked)
    if len(state.splits.judged) != len(placed.state.splits.judged):
        raise UsageError(f"{what}: other samples would be judged, so that machines cannot be compared")
    state = replace(state, t_s=_time(options, placed, machine))
    evaluator = replace(state.evaluator(placed.evaluator.task), draws=placed.chips)
    budget, chips = placed.budget, range(placed.first, placed.first + placed.chips)
    found = evaluator.evaluate(analog, budget.relative, what, None, budget.confidence, chips)
    return told_how(found, state.calibrated_on if analog else 0, state)


def _time(options: RegionOptions, placed: PlacementAgain, machine: Hardware) -> float:
    """Time of inference on a machine, in seconds: that of the placement, unless it is varied itself."""
    varied = any(text.startswith(f"{TIME}=") for text in options.vary)
    return machine.t_inference_s if varied else placed.state.t_s


def _searched(options: RegionOptions, placed: PlacementAgain, machine: Hardware, what: str) -> Measured:
    """The placement that a search finds on a machine, as its verification measured it, and its share of MACs."""
    state, budget = placed.state, placed.budget
    state.options.progress(f"searching a placement for {what}", 0, 1)
    asked = part(
        placed.asked,
        PartitionOptions,
        model=state.opened,
        hardware=machine,
        objective="macs",
        explain=False,
        max_drop=f"{100 * budget.max_drop:.12g}%" if budget.percentage else budget.max_drop,
        drop_type=budget.drop_type,
        generalize=budget.generalize,
        yield_share=budget.share,
        t_inference=_time(options, placed, machine),
    )
    result = partition.of(asked)
    own = replace(options, model=replace(state.opened, model=result.source), placement=result.plan, hardware=None)
    own = replace(own, all_analog=False, max_drop=None, drop_type=None, yield_share=None, t_inference=None)
    with measured_again(own) as again:
        return _evaluated(own, again, result.plan.hardware, what), result.plan.analog_mac_fraction
