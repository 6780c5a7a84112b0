"""``lhc.compile``: a network as an ordinary ONNX file that computes as one chip does."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from lhc.commands.partition import placed_by
from lhc.lowering import CompiledModel, compile_chips
from lhc.options.by_command import CompileOptions, PartitionOptions, PlacingFirst
from lhc.options.declaration.option_fields import part
from lhc.options.declaration.python_signature import keywords
from lhc.pipeline.analysis_and_partition_results import PartitionResult
from lhc.pipeline.inputs.model_source import LoadedModel, loaded_model
from lhc.pipeline.inputs.placement_source import NetworkPlacement, calibration_samples, given_placement
from lhc.pipeline.steps.verify.conformance_step import checked_emulation


@keywords(CompileOptions)
def compile(options: CompileOptions) -> CompiledModel:
    """A network on one chip as an ordinary ONNX model, which runs and saves itself.

    A model without a placement is partitioned first, with these samples and this budget. An annotated one needs samples
    for static ranges alone, but where the machine corrects outputs the chip does worse if none calibrate it.

    Raises:
        UsageError: an option that makes no sense; samples are needed and not given.
        ModelError: the model cannot be read or placed, or not converted as its noise needs it.
    """
    options = replace(options, model=loaded_model(options))
    found, _ = placement_of(options)
    checked = replace(found, plan=checked_emulation(found, options).put_into(found.plan))
    return next(compile_draws(checked, [options.draw], options))


def compile_draws(found: NetworkPlacement, draws: Sequence[int], options: CompileOptions) -> Iterator[CompiledModel]:
    """The same network on several chips, by the numbers of their programmings, one after the other."""
    chips = partial(compile_chips, found.model, found.graph, found.plan, calibration=found.calibration)
    return chips(seed=options.seed, draws=draws, t_s=options.t_s, noise=options.noise)


def placement_of(options: PlacingFirst) -> tuple[NetworkPlacement, PartitionResult | None]:
    """The network with its placement, and the result of the search where one was made."""
    found = given_placement(options)
    if not isinstance(found, LoadedModel):
        return found, None
    # Of the options that all of these commands have: `noise` of ``lhc compile`` is not that of a training.
    search = part(part(options, PlacingFirst), PartitionOptions)
    search = search if search.hardware is not None else replace(search, hardware="lionheart")
    result = placed_by(search, found)
    calibration = calibration_samples(found, options, result.plan)
    return NetworkPlacement(result.source, result.facts, result.plan, *calibration), result
