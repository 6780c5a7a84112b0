"""A placement's emulation checked on the samples that judge it: the engine ``fast`` against ``aihwkit``."""

from lhc.measure.bench import Bench
from lhc.plan import Conformance
from lhc.runtime import Position
from lhc.runtime.on_demand import chip_on_demand

__all__ = ["SAMPLES", "placement_conformance"]

SAMPLES = 4
"""First samples whose activations are multiplied by both engines."""


def placement_conformance(bench: Bench, placement: frozenset[str]) -> Conformance:
    """How both engines agree on the layers of a placement, on the first chip, without calibration of its outputs.

    Args:
        bench: samples and machine; its engine is ``fast``.
        placement: the analog layers, at least one.
    """
    from lhc.runtime.engines.conformance import check_conformance

    setting = bench.setting
    executor = setting.executor(placement)
    block = bench.block(slice(0, min(SAMPLES, len(bench.task))))
    where, feeds = next(block.calls(setting.call_samples, setting.batch is not None))
    state = chip_on_demand(executor, setting.hardware, setting.seed, 0, bench.t_s)
    position = Position(0, setting.taken(where))
    return check_conformance(executor, setting.hardware, state, setting.seed, 0, feeds, position)
