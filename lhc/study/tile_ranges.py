"""Ranges that tiles are calibrated to before anything is measured, and how great sums in their columns are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.hardware import Hardware
from lhc.samples.task import count_samples
from lhc.study.state import Study

__all__ = ["CalibrateRanges", "calibrated"]

CALIBRATION_SAMPLES = 256
SUM_SAMPLES = 16


@dataclass(frozen=True)
class CalibrateRanges:
    """Find the static input ranges of the tiles, where the hardware has them."""

    name: ClassVar[str] = "calibrate-ranges"
    requires: ClassVar[frozenset[str]] = frozenset({"qualified", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"ranges"})

    def apply(self, study: Study) -> Study:
        """The study with ranges of all layers that may be analog."""
        return calibrated(study, study.measurable)


def calibrated(study: Study, names: Sequence[str]) -> Study:
    """The study with static input ranges, and ranges of ADCs, of these layers, from the ranking samples.

    Where the hardware has them; those that are there already stay. Of layers with copies whose saturating vectors are
    read again it has how great their sums are, for costs.
    """
    plan, machine = study.plan, study.plan.hardware
    inputs = [name for name in names if name not in plan.ranges] if machine.needs_calibration else []
    adcs = [name for name in names if machine.for_layer(name).adc.range == "layer"] if machine.calibrates_adcs else []
    sums = [name for name in names if name in plan.copies and name not in plan.sums and _reads_again(machine, name)]
    if not inputs and not adcs and not sums:
        return study
    from lhc.runtime.calibration import calibrate_adcs, calibrate_ranges, calibrate_sums  # loads PyTorch

    bench = study.bench(study.splits.rank.head(CALIBRATION_SAMPLES))
    if inputs:
        blocks = ((count_samples(feeds), feeds) for _, feeds in bench.blocks())
        plan = plan.with_ranges(calibrate_ranges(study.model, study.graph, machine, inputs, blocks))
    if adcs:
        blocks = ((count_samples(feeds), feeds) for _, feeds in bench.blocks())
        bounds = calibrate_adcs(study.model, study.graph, machine, adcs, blocks, plan.ranges)
        plan = plan.model_copy(update={"hardware": machine.with_adc_bounds(bounds)})
    if sums:
        few = study.bench(study.splits.rank.head(SUM_SAMPLES))
        blocks = ((count_samples(feeds), feeds) for _, feeds in few.blocks())
        found = calibrate_sums(study.model, study.graph, plan.hardware, sums, blocks, plan.ranges, few.t_s)
        plan = plan.with_sums(found)
    return replace(study, plan=plan)


def _reads_again(machine: Hardware, name: str) -> bool:
    adc = machine.for_layer(name).adc
    return adc.bound_management == "iterative" and adc.bound is not None
