"""A placement's emulation checked on the samples that judge it: the engine ``fast`` against ``aihwkit``."""

from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.work_context import Block, WorkContext
from lhc.plan import Conformance
from lhc.runtime import Position
from lhc.runtime.lazy_programming import lazily_programmed_chip

__all__ = ["SAMPLES", "conformance_on", "placement_conformance"]

SAMPLES = 4
"""First samples whose activations are multiplied by both engines."""


def placement_conformance(evaluator: PlacementEvaluator, placement: frozenset[str]) -> Conformance:
    """How both engines agree on the layers of a placement, on the first chip, without calibration of its outputs.

    Args:
        evaluator: samples and machine; its engine is ``fast``.
        placement: the analog layers, at least one.
    """
    block = evaluator.block(slice(0, min(SAMPLES, len(evaluator.task))))
    return conformance_on(block, evaluator.context, placement, evaluator.t_s)


def conformance_on(block: Block, context: WorkContext, placement: frozenset[str], t_s: float) -> Conformance:
    """The same on these samples, or on as many of them as one call of the network takes.

    Args:
        t_s: time of inference, in seconds after the first read.
    """
    from lhc.runtime.engines.conformance import check_conformance

    executor = context.executor(placement)
    where, feeds = next(block.calls(context.call_samples, context.batch is not None))
    state = lazily_programmed_chip(executor, context.hardware, context.seed, 0, t_s)
    position = Position(0, context.taken(where))
    return check_conformance(executor, context.hardware, state, context.seed, 0, feeds, position)
