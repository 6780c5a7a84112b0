"""Check the emulation of a placement, the engine ``fast`` against ``aihwkit``, and write into its plan what was found.

The comparison is `lhc.runtime.engines.conformance_check`, what it finds `lhc.plan.conformance_result`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.measure.evaluation_context import Block, WorkContext, calibration_block
from lhc.measure.evaluator import PlacementEvaluator
from lhc.options.by_command import PlacingFirst
from lhc.options.declaration.value_parsing import Engine
from lhc.pipeline.inputs.model_source import loaded_model
from lhc.pipeline.inputs.placement_source import NetworkPlacement
from lhc.pipeline.pipeline_state import StateT
from lhc.plan import Conformance, Plan
from lhc.support.version import VERSION

SAMPLES = 4
"""First samples whose activations are multiplied by both engines."""


@dataclass(frozen=True)
class CheckEmulation:
    """Compare the engine ``fast`` with ``aihwkit`` on every analog layer; nothing where ``aihwkit`` computed all."""

    name: ClassVar[str] = "check-emulation"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset({"conformance"})

    def apply(self, state: StateT) -> StateT:
        """The state whose plan says how engines agree."""
        if state.engine != "fast" or not state.plan.analog:
            return state
        evaluator = state.evaluator(state.splits.judged.head(SAMPLES), limited=False)
        found = placement_conformance(evaluator, state.plan.analog)
        return replace(state, plan=state.plan.model_copy(update={"conformance": found}))


@dataclass(frozen=True)
class CheckedEmulation:
    """Agreement of the emulation of a placed network with its definition.

    Attributes:
        conformance: None where nothing was compared: by the engine ``aihwkit``, or without samples.
        engine: that the machine takes.
        engine_reason: why that one; None where it is the default one.
        carried: the figure is that of the plan, which was written for this network by this version of lhc.
    """

    conformance: Conformance | None = None
    engine: Engine = "fast"
    engine_reason: str | None = None
    carried: bool = False

    def put_into(self, plan: Plan) -> Plan:
        """The plan with this figure."""
        return plan.model_copy(update={"conformance": self.conformance})


def checked_emulation(placed: NetworkPlacement, options: PlacingFirst) -> CheckedEmulation:
    """The figure that the plan carries, or a new one where that is of another network or version, or missing.

    Args:
        options: say which samples there are, and which chip is looked at.
    """
    plan = placed.plan
    if not plan.analog:
        return CheckedEmulation()
    from lhc.runtime.engines.registry import choose_engine

    choice = choose_engine("auto", plan.hardware, plan.analog)
    if plan.conformance is not None and (plan.source, plan.lhc_version) == (placed.model.source, VERSION):
        return CheckedEmulation(plan.conformance, choice.name, choice.why, carried=True)
    samples = _first_samples(options) if choice.name == "fast" else None
    if samples is None:
        return CheckedEmulation(None, choice.name, choice.why)
    t_s = plan.hardware.t_inference_s if options.t_s is None else options.t_s
    context = WorkContext.unscored(placed.model, placed.graph, plan, options.seed)
    return CheckedEmulation(_conformance_on(samples, context, plan.analog, t_s), choice.name, choice.why)


def _first_samples(options: PlacingFirst) -> Block | None:
    """Some samples; None where there are none."""
    opened = loaded_model(options)
    if options.data is None and opened.entry is None:
        return None
    return calibration_block(opened.chosen(options).head(SAMPLES))


def placement_conformance(evaluator: PlacementEvaluator, placement: frozenset[str]) -> Conformance:
    """Agreement of both engines on the layers of a placement, on the first chip, without calibration of its outputs.

    Args:
        evaluator: samples and machine; its engine is ``fast``.
        placement: the analog layers, at least one.
    """
    block = evaluator.block(slice(0, min(SAMPLES, len(evaluator.task))))
    return _conformance_on(block, evaluator.context, placement, evaluator.t_s)


def _conformance_on(block: Block, context: WorkContext, placement: frozenset[str], t_s: float) -> Conformance:
    """The same on these samples, or on as many of them as one call of the network takes.

    Args:
        t_s: time of inference, in seconds after the first read.
    """
    from lhc.runtime.engines.conformance_check import check_conformance
    from lhc.runtime.engines.protocol import Position
    from lhc.runtime.lazy_programming import lazily_programmed_chip

    executor = context.executor(placement)
    where, feeds = next(block.calls(context.call_samples, context.batch is not None))
    state = lazily_programmed_chip(executor, context.hardware, context.seed, 0, t_s)
    position = Position(0, context.taken(where))
    return check_conformance(executor, context.hardware, state, context.seed, 0, feeds, position)
