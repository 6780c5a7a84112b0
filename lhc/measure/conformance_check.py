"""A placement's emulation checked on the samples that judge it: the engine ``fast`` against ``aihwkit``."""

from lhc.measure.evaluator import Bench
from lhc.measure.work_context import Block, Setting
from lhc.plan import Conformance
from lhc.runtime import Position
from lhc.runtime.lazy_programming import chip_on_demand

__all__ = ["SAMPLES", "conformance_on", "placement_conformance"]

SAMPLES = 4
"""First samples whose activations are multiplied by both engines."""


def placement_conformance(bench: Bench, placement: frozenset[str]) -> Conformance:
    """How both engines agree on the layers of a placement, on the first chip, without calibration of its outputs.

    Args:
        bench: samples and machine; its engine is ``fast``.
        placement: the analog layers, at least one.
    """
    block = bench.block(slice(0, min(SAMPLES, len(bench.task))))
    return conformance_on(block, bench.setting, placement, bench.t_s)


def conformance_on(block: Block, setting: Setting, placement: frozenset[str], t_s: float) -> Conformance:
    """The same on these samples, or on as many of them as one call of the network takes.

    Args:
        t_s: time of inference, in seconds after the first read.
    """
    from lhc.runtime.engines.conformance import check_conformance

    executor = setting.executor(placement)
    where, feeds = next(block.calls(setting.call_samples, setting.batch is not None))
    state = chip_on_demand(executor, setting.hardware, setting.seed, 0, t_s)
    position = Position(0, setting.taken(where))
    return check_conformance(executor, setting.hardware, state, setting.seed, 0, feeds, position)
