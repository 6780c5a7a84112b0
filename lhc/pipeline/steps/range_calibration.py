"""Ranges that tiles are calibrated to before anything is measured, and how great sums in their columns are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.evaluation_context import calibration_block
from lhc.measure.preflight_checks import MeasureSums
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.runtime.onnxruntime.sessions import Array
from lhc.support.number_formatting import counted

CALIBRATION_SAMPLES = 256
SUM_SAMPLES = 16
FEW_SAMPLES = 16
"""Calibration samples whose ranges are warned of."""


@dataclass(frozen=True)
class CalibrateRanges:
    """Find the static input ranges of the tiles, where the hardware has them, and what costs of copies rest on."""

    name: ClassVar[str] = "calibrate-ranges"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"ranges"})

    def apply(self, state: StateT) -> StateT:
        """The state with ranges of all layers that may be analog, and with sums of those that have copies."""
        return _with_sums(calibrated(state, state.measurable))


def calibrated(state: StateT, names: Sequence[str]) -> StateT:
    """The state with static input ranges, signs of inputs, and ranges of ADCs, of these layers, from ranking samples.

    Where the hardware has them; those that are there already stay. So do ranges of the digital products' numbers.
    """
    state = with_arithmetic(state)
    plan, machine = state.plan, state.plan.hardware
    known = plan.ranges
    inputs = [name for name in names if name not in known] if machine.needs_calibration else []
    adcs = [name for name in names if machine.for_layer(name).adc.to_calibrate] if machine.calibrates_adcs else []
    signs = [name for name in names if machine.for_layer(name).dac.to_calibrate] if machine.needs_calibration else []
    if not inputs and not adcs and not signs:
        return state
    from lhc.runtime.calibration.converter_ranges import (  # loads PyTorch
        calibrate_adcs,
        calibrate_ranges,
        calibrate_signs,
    )

    if inputs:
        blocks = RankingBlocks(state, CALIBRATION_SAMPLES)
        plan = plan.with_ranges(calibrate_ranges(state.model, state.graph, machine, inputs, blocks))
    if signs:
        blocks = RankingBlocks(state, CALIBRATION_SAMPLES)
        machine = machine.with_signs(calibrate_signs(state.model, state.graph, signs, blocks))
        plan = plan.model_copy(update={"hardware": machine})
    if adcs:
        blocks = RankingBlocks(state, CALIBRATION_SAMPLES)
        bounds, columns = calibrate_adcs(state.model, state.graph, machine, adcs, blocks, plan.ranges)
        plan = plan.model_copy(update={"hardware": machine.with_adc_bounds(bounds, columns)})
    return replace(state, plan=plan)


def with_arithmetic(state: StateT) -> StateT:
    """The state with the arithmetic of its digital products, on samples that calibrate chips, where there are such."""
    plan, machine = state.plan, state.plan.hardware
    if plan.digital is not None or machine.digital.precision == "as-file":
        return state
    from lhc.runtime.digital_precision.activation_ranges import digital_arithmetic

    found = digital_arithmetic(state.model, state.graph, machine.digital, DigitalBlocks(state))
    if found is None:
        state.opened.warn("the file is quantised already: its digital products keep the file's own precision")
        return state
    if found.ranges and found.samples < FEW_SAMPLES:
        few = counted(found.samples, "sample")
        state.opened.warn(
            f"int8 ranges of digital products are of {few}: what is beyond them is clipped;"
            " more samples widen them, and --digital-precision as-file does without"
        )
    return replace(state, plan=plan.model_copy(update={"digital": found}))


def _with_sums(state: StateT) -> StateT:
    """The state with how great sums are of the layers with copies whose saturating vectors are read again."""
    plan, machine, copies, known = state.plan, state.plan.hardware, state.plan.copies, state.plan.sums
    names = [one for one in state.measurable if one in copies and one not in known]
    names = [name for name in names if machine.for_layer(name).adc.reads_again]
    if not names:
        return state
    found = RankingBlocks(state, SUM_SAMPLES).evaluator.checked(MeasureSums(tuple(names), state.t_s), SUM_SAMPLES)
    sums = {name: tuple(row) for name, row in zip(names, found.tolist(), strict=True)}
    return replace(state, plan=plan.with_sums(sums))


class DigitalBlocks:
    """Samples that ranges of digital tensors are found on: those that calibrate chips, else the first that rank."""

    def __init__(self, state: PreparedNetwork) -> None:
        self._ranking = RankingBlocks(state, CALIBRATION_SAMPLES)
        given = state.splits.calibrate if state.calibrates and state.calibrating is None else state.calibrating
        few = None if given is None else given.head(state.calibration_samples)
        self._calibrating = None if few is None else calibration_block(few)

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Array]]]:
        if self._calibrating is None:
            yield from self._ranking
            return
        context = self._ranking.evaluator.context
        for where, feeds in self._calibrating.calls(context.call_samples, context.batch is not None):
            yield context.taken(where), feeds


class RankingBlocks:
    """The first samples that find ranges, and how many each block has; they are read anew at every pass.

    Those that rank, or those that calibrate where they are apart from the ones that judge.
    """

    def __init__(self, state: PreparedNetwork, count: int) -> None:
        samples = (state.splits.rank if state.calibrating is None else state.calibrating).head(count)
        # No chip is programmed for it.
        self.evaluator = replace(state.without_output_correction, fills=False).evaluator(samples)

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Array]]]:
        return ((self.evaluator.context.taken(where), feeds) for where, feeds in self.evaluator.blocks())
